import { hasCode, TidemarkError } from '../base/errors.ts'
import type { ObjectStore } from './object-store.ts'

/** An object that a store does not let go. */
export interface Undeleted {
  readonly key: string
  /** What the store said. */
  readonly message: string
  /** Until when it is locked: RFC 3339, or `held` where a legal hold has no end; null: not known. */
  readonly until: string | null
}

/** Names of objects in a message, at most. */
const MOST_NAMED = 3

/** The error of a deletion of which the store has refused these, at least one, and has done the rest. `details.refused` has all of them. */
export function deletionRefused(refused: readonly Undeleted[], cause?: unknown): TidemarkError {
  const named = refused.slice(0, MOST_NAMED).map(({ key, until }) => `'${key}'${untilText(until)}`)
  const more = refused.length > MOST_NAMED ? ` and ${refused.length - MOST_NAMED} more` : ''
  return new TidemarkError(
    'STORE_DENIED',
    `${named.join(', ')}${more} cannot be deleted, and stay as they are: ${refused[0]?.message}`,
    {
      hint: 'Check the rights (schemas/s3-policy of the package has what it takes), and locks on these objects: where one ends, the same command deletes them then.',
      details: { refused },
      cause,
    },
  )
}

function untilText(until: string | null): string {
  if (until === null) return ''
  return until === 'held' ? ' (under a legal hold)' : ` (locked until ${until})`
}

/**
 * Deletes what the store lets go, and returns the rest; where a store does not tell which keys it has refused, each is deleted by
 * itself. Errors: those of `delete` other than a refusal.
 */
export async function deleteAllowed(
  store: Pick<ObjectStore, 'delete'>,
  keys: readonly string[],
): Promise<readonly Undeleted[]> {
  try {
    await store.delete(keys)
    return []
  } catch (error) {
    const refused = refusalsIn(error)
    if (refused !== null) return refused
    if (!hasCode(error, 'STORE_DENIED')) throw error
    const [only, ...others] = keys
    if (only !== undefined && others.length === 0) return [{ key: only, message: error.message, until: null }]
  }
  const refused: Undeleted[] = []
  for (const key of new Set(keys)) refused.push(...(await deleteAllowed(store, [key])))
  return refused
}

/** What the error of a deletion names as refused; null where it names nothing. */
export function refusalsIn(error: unknown): readonly Undeleted[] | null {
  if (!hasCode(error, 'STORE_DENIED')) return null
  const { refused } = error.details
  return Array.isArray(refused) && refused.length > 0 && refused.every(isRefusal) ? refused : null
}

function isRefusal(value: unknown): value is Undeleted {
  if (typeof value !== 'object' || value === null) return false
  const { key, message, until } = value as Partial<Undeleted>
  return typeof key === 'string' && typeof message === 'string' && (until === null || typeof until === 'string')
}
