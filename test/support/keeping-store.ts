import type { MemoryStore } from '../../src/store/memory.ts'
import type { Body, ByteRange, ListOptions, ObjectInfo, ObjectStore, PutOptions } from '../../src/store/object-store.ts'

/** A store that only hides what is deleted, as a bucket does that keeps versions: `kept` still has it. */
export class KeepingStore implements ObjectStore {
  readonly #kept: MemoryStore
  readonly #hidden = new Set<string>()

  constructor(kept: MemoryStore) {
    this.#kept = kept
  }

  put(key: string, body: Body, options?: PutOptions): Promise<void> {
    return this.#kept.put(key, body, options)
  }

  get(key: string, range?: ByteRange): Promise<Uint8Array> {
    return this.#kept.get(this.#hidden.has(key) ? `${key} (hidden)` : key, range)
  }

  async head(key: string): Promise<ObjectInfo | null> {
    return this.#hidden.has(key) ? null : this.#kept.head(key)
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    for await (const info of this.#kept.list(prefix, options)) if (!this.#hidden.has(info.key)) yield info
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) this.#hidden.add(key)
  }
}
