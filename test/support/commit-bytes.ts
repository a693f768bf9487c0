import { HEADS_PREFIX, NODE_PREFIX, TIMELINE_PREFIX } from '../../src/format/keys.ts'
import type { Body, ByteRange, ListOptions, ObjectInfo, ObjectStore, PutOptions } from '../../src/store/object-store.ts'

/** Bytes that one commit may put, whatever it commits and whatever the history is. */
export const MOST_COMMIT_BYTES = 65_536

/** Of a process: counts what each of its commits puts into the catalogue, with nodes, lists of heads, and the root that ends it. */
export class CommitBytes implements ObjectStore {
  readonly #store: ObjectStore
  readonly #onCommit: (bytes: number) => void | Promise<void>
  #bytes = 0

  /** `onCommit` hears of each attempt to commit a generation, when it is in the store or was refused. */
  constructor(store: ObjectStore, onCommit: (bytes: number) => void | Promise<void>) {
    this.#store = store
    this.#onCommit = onCommit
  }

  async put(key: string, body: Body, options?: PutOptions): Promise<void> {
    const isRoot = key.startsWith(TIMELINE_PREFIX)
    if (isRoot || key.startsWith(NODE_PREFIX) || key.startsWith(HEADS_PREFIX)) {
      if (!(body instanceof Uint8Array)) throw new Error(`${key} is put in parts`)
      this.#bytes += body.length
    }
    const bytes = this.#bytes
    if (isRoot) this.#bytes = 0
    try {
      await this.#store.put(key, body, options)
    } finally {
      if (isRoot) await this.#onCommit(bytes)
    }
  }

  get(key: string, range?: ByteRange): Promise<Uint8Array> {
    return this.#store.get(key, range)
  }

  head(key: string): Promise<ObjectInfo | null> {
    return this.#store.head(key)
  }

  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    return this.#store.list(prefix, options)
  }

  delete(keys: readonly string[]): Promise<void> {
    return this.#store.delete(keys)
  }
}
