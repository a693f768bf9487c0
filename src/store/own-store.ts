import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Body, ByteRange, ListOptions, ObjectInfo, ObjectStore, PutOptions } from './object-store.ts'

/**
 * A store that was handed in. What it throws that is no error of ours says nothing of the data, a broken connection for
 * one: it is `STORE_UNAVAILABLE`, and never taken for damage.
 */
export class OwnStore implements ObjectStore {
  readonly #objects: ObjectStore
  readonly #url: string

  constructor(objects: ObjectStore, url: string) {
    this.#objects = objects
    this.#url = url
  }

  put(key: string, body: Body, options?: PutOptions): Promise<void> {
    if (body instanceof Uint8Array) return this.#ask(() => this.#objects.put(key, body, options))
    return this.#putStream(key, body, options)
  }

  get(key: string, range?: ByteRange): Promise<Uint8Array> {
    return this.#ask(() => this.#objects.get(key, range))
  }

  head(key: string): Promise<ObjectInfo | null> {
    return this.#ask(() => this.#objects.head(key))
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo, void, undefined> {
    const listing = await this.#ask(async () => this.#objects.list(prefix, options)[Symbol.asyncIterator]())
    try {
      for (;;) {
        const next = await this.#ask(() => listing.next())
        if (next.done === true) return
        yield next.value
      }
    } finally {
      await listing.return?.()
    }
  }

  delete(keys: readonly string[]): Promise<void> {
    return this.#ask(() => this.#objects.delete(keys))
  }

  /** What the stream itself throws is its own. */
  async #putStream(key: string, body: AsyncIterable<Uint8Array>, options: PutOptions | undefined): Promise<void> {
    const broken: unknown[] = []
    const watched = async function* (): AsyncGenerator<Uint8Array> {
      try {
        yield* body
      } catch (error) {
        broken.push(error)
        throw error
      }
    }
    try {
      await this.#objects.put(key, watched(), options)
    } catch (error) {
      throw broken.length === 0 ? this.#ours(error) : broken[0]
    }
  }

  async #ask<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call()
    } catch (error) {
      throw this.#ours(error)
    }
  }

  #ours(error: unknown): unknown {
    if (error instanceof TidemarkError) return error
    return new TidemarkError('STORE_UNAVAILABLE', `The store at ${this.#url} failed: ${messageOf(error)}`, {
      hint: 'Check that it can be reached from here. What it throws that is no TidemarkError is taken for a failure of the connection.',
      cause: error,
    })
  }
}
