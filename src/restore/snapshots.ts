import type { SnapshotEntry } from '../model/timeline.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { SnapshotReader } from './snapshot-reader.ts'

/** Opens snapshots of a store; the manifest of the last one used is kept, since snapshots never change. */
export class Snapshots {
  readonly #store: ObjectStore
  #last: { readonly key: string; readonly reader: Promise<SnapshotReader> } | null = null

  constructor(store: ObjectStore) {
    this.#store = store
  }

  /** Errors: `SNAPSHOT_CORRUPT`, and those of the store. */
  open({ prefix, manifestSha256 }: SnapshotEntry): Promise<SnapshotReader> {
    const key = `${prefix}${manifestSha256}`
    if (this.#last?.key === key) return this.#last.reader
    const reader = SnapshotReader.open(this.#store, prefix, manifestSha256)
    const opened = { key, reader }
    this.#last = opened
    reader.catch(() => {
      // The caller has the error; the next call tries again.
      if (this.#last === opened) this.#last = null
    })
    return reader
  }
}
