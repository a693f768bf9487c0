import { hasCode, TidemarkError } from '../base/errors.ts'
import { isNodeKey, parseRunFileKey, parseSegmentKey, prefixOfSnapshotKey } from '../format/keys.ts'
import { keepingOf } from '../store/keeping.ts'
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
        if (!hasCode(error, 'OBJECT_NOT_FOUND')) throw error
        if (await names(key)) throw missingFile(key, error)
        if (isNodeKey(key)) throw wentOn(key, error)
        throw isSegmentFile(key) || prefixOfSnapshotKey(key) !== null ? replacedMeanwhile(key, error) : error
      }
    },
    head: (key) => store.head(key),
    list: (prefix, options) => store.list(prefix, options),
    delete: (keys) => store.delete(keys),
    keeping: (keys) => keepingOf(store, keys),
  }
}

/** A node goes long after the catalogue has others in its place. */
function wentOn(key: string, cause: unknown): TidemarkError {
  return new TidemarkError(
    'STORE_UNAVAILABLE',
    `The catalogue went on for so long while it was read that ${key} is no part of it any more. Nothing was changed.`,
    { hint: 'Type the same command again.', details: { key }, cause },
  )
}

function isSegmentFile(key: string): boolean {
  return parseSegmentKey(key) !== null || parseRunFileKey(key) !== null
}

/** What was merged stays for a grace, what held a record that was erased does not. */
function replacedMeanwhile(key: string, cause: unknown): TidemarkError {
  return new TidemarkError(
    'OBJECT_NOT_FOUND',
    `${key} was replaced while it was to be read: it was merged, pruned, or held a record that was erased.`,
    { hint: 'Type the same command again: it reads what took its place.', details: { key }, cause },
  )
}

function missingFile(key: string, error: unknown): unknown {
  const isSegment = isSegmentFile(key)
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
