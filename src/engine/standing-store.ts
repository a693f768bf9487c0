import { hasCode, TidemarkError } from '../base/errors.ts'
import { STORE_FILE } from '../format/keys.ts'
import { keepingOf } from '../store/keeping.ts'
import type { ObjectStore } from '../store/object-store.ts'

/**
 * A store on a file system, whose disk may be unmounted while it is used: then its directory is empty, or none, and would be
 * filled with what nobody finds again once the disk is back. So every put sees before and after it that the store file is
 * there, and where nothing is found, that says something only beside the store file. Errors: also `STORE_UNAVAILABLE`.
 */
export function standingStore(store: ObjectStore, name: string, id: string): ObjectStore {
  const require = async (): Promise<void> => {
    if ((await store.head(STORE_FILE)) === null) throw goneAway(name, id)
  }
  return {
    put: async (key, body, options) => {
      await require()
      await store.put(key, body, options)
      await require()
    },
    get: async (key, range) => {
      try {
        return await store.get(key, range)
      } catch (error) {
        if (hasCode(error, 'OBJECT_NOT_FOUND') && key !== STORE_FILE) await require()
        throw error
      }
    },
    head: async (key) => {
      const found = await store.head(key)
      if (found === null && key !== STORE_FILE) await require()
      return found
    },
    list: async function* (prefix, options) {
      let isEmpty = true
      for await (const found of store.list(prefix, options)) {
        isEmpty = false
        yield found
      }
      if (isEmpty) await require()
    },
    delete: async (keys) => {
      await require()
      await store.delete(keys)
    },
    keeping: (keys) => keepingOf(store, keys),
  }
}

function goneAway(name: string, id: string): TidemarkError {
  return new TidemarkError(
    'STORE_UNAVAILABLE',
    `The store at ${name} has gone away while it was used: store ${id} is not there any more. Nothing was made in its place.`,
    {
      hint: 'Mount or bring back what was there; what is captured meanwhile stays in the journal, and comes into the store then.',
      details: { store: id },
    },
  )
}
