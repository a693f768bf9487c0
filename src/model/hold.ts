import { lastUlidAt, MIN_ULID, type Ulid } from './ulid.ts'

/** Moments that no policy may make unreachable, each one from `from` to `through`, both inclusive. */
export interface Hold {
  readonly id: Ulid
  readonly from: Ulid
  readonly through: Ulid
  /** It ends by itself when the history has come to this stamp; null: when it is removed. */
  readonly until: Ulid | null
  readonly reason: string
  /** Who asked for it, where that was told. */
  readonly by: string | null
}

/** After every stamp. */
const END: Ulid = lastUlidAt(2 ** 48 - 1)

/**
 * Retention is paused: everything is held, since nobody knows for certain what was promised. A repair makes such a hold where a part
 * of what the catalogue said was lost; somebody who knows ends it.
 */
export function pauseOf(id: Ulid, reason: string): Hold {
  return { id, from: MIN_ULID, through: END, until: null, reason, by: null }
}

/** Whether a hold is of everything there is. */
export function isPause({ from, through }: Pick<Hold, 'from' | 'through'>): boolean {
  return from === MIN_ULID && through === END
}
