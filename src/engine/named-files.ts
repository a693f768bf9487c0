import { hasCode, TidemarkError } from '../base/errors.ts'
import { parseSegmentKey, prefixOfSnapshotKey } from '../format/keys.ts'
import type { ObjectStore } from '../store/object-store.ts'

/**
 * A store of which files are read that the timeline names: one that is not there is damage, and not a name that nobody
 * knows. Errors: `SEGMENT_CORRUPT`, `SNAPSHOT_CORRUPT`, with the error of the store as their cause.
 */
export function namedFiles(store: ObjectStore): ObjectStore {
  return {
    ...(store.secrets === undefined ? {} : { secrets: store.secrets }),
    put: (key, body, options) => store.put(key, body, options),
    get: (key, range) => store.get(key, range).catch((error: unknown) => Promise.reject(missingFile(key, error))),
    head: (key) => store.head(key),
    list: (prefix, options) => store.list(prefix, options),
    delete: (keys) => store.delete(keys),
  }
}

/** Whether a file that was named is not there: somebody has erased it meanwhile, or it is lost. */
export function isMissing(error: unknown): boolean {
  return (
    hasCode(error, 'OBJECT_NOT_FOUND') || (error instanceof TidemarkError && hasCode(error.cause, 'OBJECT_NOT_FOUND'))
  )
}

function missingFile(key: string, error: unknown): unknown {
  if (!hasCode(error, 'OBJECT_NOT_FOUND')) return error
  const isSegment = parseSegmentKey(key) !== null
  if (!isSegment && prefixOfSnapshotKey(key) === null) return error
  return new TidemarkError(
    isSegment ? 'SEGMENT_CORRUPT' : 'SNAPSHOT_CORRUPT',
    `${key} is missing from the store, and the timeline names it. Nothing was used in its place.`,
    {
      hint: 'Put it back from a copy; without one, `tidemark repair` shows how to go on without. Where something was erased this moment, try again.',
      details: { key },
      cause: error,
    },
  )
}
