import { keepingOf } from './keeping.ts'
import type { Body, ObjectStore } from './object-store.ts'

/**
 * A store whose errors are told as `translate` makes them. What the stream of a put throws is no error of the store: where it
 * reads another one, its own error says which of the two failed.
 */
export function translatedStore(inner: ObjectStore, translate: (error: unknown) => unknown): ObjectStore {
  const told = async <T>(call: () => Promise<T>): Promise<T> => {
    try {
      return await call()
    } catch (error) {
      throw translate(error)
    }
  }
  return {
    put: async (key, body, options) => {
      if (body instanceof Uint8Array) return told(() => inner.put(key, body, options))
      const broken: unknown[] = []
      try {
        await inner.put(key, watched(body, broken), options)
      } catch (error) {
        throw broken.length === 0 ? translate(error) : broken[0]
      }
    },
    get: (key, range) => told(() => inner.get(key, range)),
    head: (key) => told(() => inner.head(key)),
    list: async function* (prefix, options) {
      try {
        yield* inner.list(prefix, options)
      } catch (error) {
        throw translate(error)
      }
    },
    delete: (keys) => told(() => inner.delete(keys)),
    keeping: (keys) => told(() => keepingOf(inner, keys)),
  }
}

/** The stream as it is; what it throws is noted in `broken`. */
async function* watched(body: Exclude<Body, Uint8Array>, broken: unknown[]): AsyncGenerator<Uint8Array> {
  try {
    yield* body
  } catch (error) {
    broken.push(error)
    throw error
  }
}
