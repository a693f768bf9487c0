import { hasCode, TidemarkError } from '../base/errors.ts'
import { parseSegmentKey, prefixOfSnapshotKey } from '../format/keys.ts'
import type { ObjectStore } from '../store/object-store.ts'

/**
 * A store of which files are read that the timeline names: one that is not there is damage, and not a name that nobody
 * knows; unless the timeline names it no more, because something was erased meanwhile. Errors: `SEGMENT_CORRUPT`,
 * `SNAPSHOT_CORRUPT`, with the error of the store as their cause.
 */
export function namedFiles(store: ObjectStore, names: (key: string) => Promise<boolean>): ObjectStore {
  return {
    ...(store.secrets === undefined ? {} : { secrets: store.secrets }),
    put: (key, body, options) => store.put(key, body, options),
    get: async (key, range) => {
      try {
        return await store.get(key, range)
      } catch (error) {
        if (!hasCode(error, 'OBJECT_NOT_FOUND') || !(await names(key))) throw error
        throw missingFile(key, error)
      }
    },
    head: (key) => store.head(key),
    list: (prefix, options) => store.list(prefix, options),
    delete: (keys) => store.delete(keys),
  }
}

function missingFile(key: string, error: unknown): unknown {
  const isSegment = parseSegmentKey(key) !== null
  if (!isSegment && prefixOfSnapshotKey(key) === null) return error
  return new TidemarkError(
    isSegment ? 'SEGMENT_CORRUPT' : 'SNAPSHOT_CORRUPT',
    `${key} is missing from the store, and the timeline names it. Nothing was used in its place.`,
    {
      hint: 'Put it back from a copy; without one, `tidemark repair` shows how to go on without.',
      details: { key },
      cause: error,
    },
  )
}
