import { messageOf } from '../base/errors.ts'

/** What a store keeps of objects after they were deleted. */
export type Keeping =
  /** Nothing: the bytes are gone, as far as the store goes. */
  | { readonly versions: 'none' }
  /** Nobody can tell; `why` is for people. */
  | { readonly versions: 'unknown'; readonly why: string }
  /** Their bytes, as older versions, which no listing shows. */
  | KeptVersions

/** How long older versions stay, and what lets them go. */
export interface KeptVersions {
  readonly versions: 'kept'
  /** Days after the deletion when the store lets an older version go by itself; null: never; `unknown`: its rules may not be read. */
  readonly expireDays: number | null | 'unknown'
  /**
   * Before this time (RFC 3339) nobody can let all of the objects go that were asked about, whatever rules there are; `held`: not
   * before somebody ends a legal hold. Null: no lock is known.
   */
  readonly lockedUntil: string | null
  /** What a person does to have older versions go: one sentence. */
  readonly todo: string
}

/** A store that may tell what it keeps. */
interface Keeper {
  keeping?(keys: readonly string[]): Promise<Keeping>
}

/** What the store keeps, if these objects are deleted. Errors: those of the store, but for a right that is missing. */
export function keepingOf(store: Keeper, keys: readonly string[]): Promise<Keeping> {
  return store.keeping?.(keys) ?? Promise.resolve({ versions: 'unknown', why: 'this kind of store does not tell' })
}

/** The same where something is to be done in any case: what failed is told as `unknown`. */
export async function keepingNow(store: Keeper, keys: readonly string[]): Promise<Keeping> {
  try {
    return await keepingOf(store, keys)
  } catch (error) {
    return { versions: 'unknown', why: messageOf(error) }
  }
}
