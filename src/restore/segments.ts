import { openSegment, type SegmentReader } from '../format/segment/read.ts'
import type { SegmentEntry } from '../model/timeline.ts'
import type { ObjectStore } from '../store/object-store.ts'

/** Open segments whose footers are kept: a few hundred kilobytes each. */
const MOST_OPEN = 64

/** Opens segments of a store; the footers of the last ones used are kept, since segments never change. */
export class Segments {
  readonly #store: ObjectStore
  readonly #open = new Map<string, Promise<SegmentReader>>()

  constructor(store: ObjectStore) {
    this.#store = store
  }

  /** Errors: `SEGMENT_CORRUPT`, and those of the store. */
  open({ key, bytes, footer }: SegmentEntry): Promise<SegmentReader> {
    let reader = this.#open.get(key)
    this.#open.delete(key)
    if (reader === undefined) {
      reader = openSegment({ name: key, bytes, footer, read: (start, end) => this.#store.get(key, { start, end }) })
      reader.catch(() => this.#open.delete(key)) // the caller has the error; the next call tries again
    }
    this.#open.set(key, reader)
    for (const oldest of this.#open.keys()) {
      if (this.#open.size <= MOST_OPEN) break
      this.#open.delete(oldest)
    }
    return reader
  }
}
