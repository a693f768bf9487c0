import type { Environment } from '../store/encryption/secret.ts'
import type { StoreSpec } from '../store/open.ts'
import { forgetGenerations, SELDOM } from '../timeline/forget.ts'
import { placeOf } from './opening.ts'
import { openToRead } from './starting.ts'

/** What upkeep has done. */
export interface UpkeepReport {
  /** Old generations of the catalogue whose files went; what they said is in later ones, and their heads can still be compared. */
  readonly forgotten: number
  /** Files that were deleted. */
  readonly deleted: number
}

/**
 * Looks after a store, once: what nobody needs any more is let go. No moment, no head and no event changes. Whoever captures does
 * it by itself; this is for those who capture without the right to delete. Errors: `STORE_DENIED`, and those of opening a store.
 */
export async function upkeepOf(
  spec: string | StoreSpec,
  environment: Environment = process.env,
): Promise<UpkeepReport> {
  const { opened, timeline } = await openToRead(await placeOf(spec, environment))
  const { generations, files } = await forgetGenerations(opened.store, timeline, SELDOM)
  return { forgotten: generations, deleted: files }
}
