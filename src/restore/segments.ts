import { openBytes, openSegment, type SegmentReader } from '../format/segment/read.ts'
import type { SegmentEntry } from '../model/timeline.ts'
import type { ObjectStore } from '../store/object-store.ts'

/** Bytes that open segments take which are kept: some ten kilobytes of a small one, a megabyte of a large one. */
const KEPT_BYTES = 64 * 1024 * 1024
/** As far as these, a scan leaves what it has opened: it may come by again, and has all of them in its hands anyway. */
const KEPT_BY_SCANS = KEPT_BYTES / 4

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
  open(entry: SegmentEntry): Promise<SegmentReader> {
    const { key, footer } = entry
    const known = this.#kept.get(key)
    this.#forget(key)
    const kept = known ?? { reader: this.#read(entry), bytes: openBytes(footer.bytes) }
    this.#keep(key, kept)
    return kept.reader
  }

  /** The same for who goes through very many once: nothing that others use makes room for these. */
  scan(entry: SegmentEntry): Promise<SegmentReader> {
    const { key, footer } = entry
    const known = this.#kept.get(key)
    if (known !== undefined) return known.reader
    const kept = { reader: this.#read(entry), bytes: openBytes(footer.bytes) }
    if (this.#bytes + kept.bytes <= KEPT_BY_SCANS) this.#keep(key, kept)
    return kept.reader
  }

  #read({ key, bytes, footer }: SegmentEntry): Promise<SegmentReader> {
    const reader = openSegment({ name: key, bytes, footer, read: (start, end) => this.#store.get(key, { start, end }) })
    reader.catch(() => this.#forget(key)) // the caller has the error; the next call tries again
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
