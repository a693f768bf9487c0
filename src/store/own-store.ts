import { messageOf, TidemarkError } from '../base/errors.ts'
import type { ObjectStore } from './object-store.ts'
import { translatedStore } from './translated-store.ts'

/**
 * A store that was handed in. What it throws that is no error of ours says nothing of the data, a broken connection for
 * one: it is `STORE_UNAVAILABLE`, and never taken for damage.
 */
export function ownStore(objects: ObjectStore, url: string): ObjectStore {
  return translatedStore(objects, (error) => {
    if (error instanceof TidemarkError) return error
    return new TidemarkError('STORE_UNAVAILABLE', `The store at ${url} failed: ${messageOf(error)}`, {
      hint: 'Check that it can be reached from here. What it throws that is no TidemarkError is taken for a failure of the connection.',
      cause: error,
    })
  })
}
