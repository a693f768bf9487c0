import type { Body, ByteRange, ListOptions, ObjectInfo, ObjectStore, PutOptions } from '../../src/store/object-store.ts'

/** A store as with an object lock: nothing that is there is ever overwritten or deleted; who tries is told, and counted. */
export class WormStore implements ObjectStore {
  readonly #store: ObjectStore
  refused = 0

  constructor(store: ObjectStore) {
    this.#store = store
  }

  async put(key: string, body: Body, options?: PutOptions): Promise<void> {
    if (options?.ifAbsent !== true && (await this.#store.head(key)) !== null) throw this.#refuse(`overwrite ${key}`)
    return this.#store.put(key, body, options)
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

  async delete(keys: readonly string[]): Promise<void> {
    if (keys.length > 0) throw this.#refuse(`delete ${keys.join(' ')}`)
  }

  #refuse(what: string): Error {
    this.refused++
    return new Error(`a store that keeps everything was asked to ${what}`)
  }
}
