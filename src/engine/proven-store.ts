import { keepingOf } from '../store/keeping.ts'
import type { ObjectStore } from '../store/object-store.ts'

/** `store`, of which nothing is asked before `prove` has resolved once; while it rejects, so does everything that is asked. */
export function provenStore(store: ObjectStore, prove: () => Promise<void>): ObjectStore {
  let isProven = false
  let proving: Promise<void> | null = null
  const proven = async (): Promise<void> => {
    if (isProven) return
    proving ??= prove().finally(() => {
      proving = null
    })
    await proving
    isProven = true
  }
  return {
    put: async (key, body, options) => {
      await proven()
      return store.put(key, body, options)
    },
    get: async (key, range) => {
      await proven()
      return store.get(key, range)
    },
    head: async (key) => {
      await proven()
      return store.head(key)
    },
    list: async function* (prefix, options) {
      await proven()
      yield* store.list(prefix, options)
    },
    delete: async (keys) => {
      await proven()
      return store.delete(keys)
    },
    keeping: async (keys) => {
      await proven()
      return keepingOf(store, keys)
    },
  }
}
