import { hasCode, TidemarkError } from '../base/errors.ts'
import type { ObjectStore } from './object-store.ts'

/** The retry wrapper takes a lost answer for a put of ours: a store is judged by so many answers in a row. */
const PUTS = 3

/**
 * Proves that a store makes conditional puts, by putting the object of `key` again, which must be refused: one request.
 * The bytes are those that are there, so that nothing changes where the store ignores the condition. Errors:
 * `STORE_UNSUPPORTED`.
 */
export async function requireConditionalPuts(store: ObjectStore, name: string, key: string): Promise<void> {
  const bytes = await store.get(key)
  for (let i = 0; i < PUTS; i++) {
    try {
      await store.put(key, bytes, { ifAbsent: true })
    } catch (error) {
      if (hasCode(error, 'OBJECT_EXISTS')) return
      throw error
    }
  }
  throw conditionsUnsupported(`The store at ${name}`, 'replaces what is there all the same')
}

/** The error of a store without conditional puts: two writers would overwrite each other's commits in silence. */
export function conditionsUnsupported(where: string, what: string, cause?: unknown): TidemarkError {
  return new TidemarkError(
    'STORE_UNSUPPORTED',
    `${where} makes no conditional puts (If-None-Match): it ${what}. ` +
      "Writers would lose each other's commits, so nothing is captured into it.",
    {
      hint: 'Use a store that honours If-None-Match on PutObject: AWS S3, Ceph, MinIO, R2, or a file: store.',
      cause,
    },
  )
}
