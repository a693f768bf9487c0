import { openSegment, type SegmentReader } from '../format/segment/read.ts'
import type { SegmentEntry } from '../model/timeline.ts'
import type { ObjectStore } from '../store/object-store.ts'

/** Bytes of the footers that are kept: a few kilobytes of a small segment, a few hundred of a large one. */
const KEPT_BYTES = 32 * 1024 * 1024

interface Kept {
  readonly reader: Promise<SegmentReader>
  readonly bytes: number
}

/** Opens segments of a store; the footers of the last ones used are kept, since segments never change. */
export class Segments {
  readonly #store: ObjectStore
  readonly #kept = new Map<string, Kept>()
  #bytes = 0

  constructor(store: ObjectStore) {
    this.#store = store
  }

  /** Errors: `SEGMENT_CORRUPT`, and those of the store. */
  open({ key, bytes, footer }: SegmentEntry): Promise<SegmentReader> {
    const known = this.#kept.get(key)
    if (known !== undefined) {
      this.#forget(key)
      this.#keep(key, known)
      return known.reader
    }
    const reader = openSegment({ name: key, bytes, footer, read: (start, end) => this.#store.get(key, { start, end }) })
    reader.catch(() => this.#forget(key)) // the caller has the error; the next call tries again
    this.#keep(key, { reader, bytes: footer.bytes })
    return reader
  }

  /** As the last one used; those used before it go where it is too much. */
  #keep(key: string, kept: Kept): void {
    this.#kept.set(key, kept)
    this.#bytes += kept.bytes
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= KEPT_BYTES || oldest === key) return
      this.#forget(oldest)
    }
  }

  #forget(key: string): void {
    this.#bytes -= this.#kept.get(key)?.bytes ?? 0
    this.#kept.delete(key)
  }
}
