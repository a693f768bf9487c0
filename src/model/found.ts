import type { Context, Image, Item } from './event.ts'
import { isUlid, type Ulid } from './ulid.ts'

/** When a write happened that was not captured: after the last known state, and not after it was read. */
export interface FoundInterval {
  /** The event that left the last known state, or the snapshot that had it. */
  readonly after: Ulid
  /** When the state was read that nobody had captured. */
  readonly before: Ulid
}

/** What a write that was not captured left behind: found in the database, not seen when it happened. */
export interface Finding extends Item {
  /** The last known state; null where the item did not exist. */
  readonly before: Image | null
  readonly after: Image | null
  readonly interval: FoundInterval
}

/** What a finding is to the history: an item more, another state, an item less. */
export type FindingKind = 'added' | 'changed' | 'removed'

/** The kind of a finding. */
export function findingKind({ before, after }: Pick<Finding, 'before' | 'after'>): FindingKind {
  if (before === null) return 'added'
  return after === null ? 'removed' : 'changed'
}

/**
 * The context of an event that was found: nobody is named, and the metadata is
 * `{"tidemark":{"found":true,"after":<ulid>,"before":<ulid>}}`.
 */
export function foundContext({ after, before }: FoundInterval): Context {
  return {
    actor: null,
    transaction: null,
    metadata: JSON.stringify({ tidemark: { found: true, after, before } }),
  }
}

/** The interval of an event that was found; null for one that was seen. */
export function foundInterval({ metadata }: Context): FoundInterval | null {
  if (metadata === null || !metadata.startsWith('{"tidemark":{"found":')) return null
  const value: unknown = JSON.parse(metadata)
  if (!isFound(value)) return null
  const { after, before } = value.tidemark
  return { after, before }
}

function isFound(value: unknown): value is { tidemark: FoundInterval } {
  if (typeof value !== 'object' || value === null || !('tidemark' in value)) return false
  const { tidemark: note } = value
  if (typeof note !== 'object' || note === null || !('found' in note && 'after' in note && 'before' in note)) {
    return false
  }
  const { found, after, before } = note
  return found === true && typeof after === 'string' && typeof before === 'string' && isUlid(after) && isUlid(before)
}
