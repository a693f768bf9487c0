import type { Ulid } from './ulid.ts'

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
