import type { Environment } from '../store/encryption/secret.ts'
import { type Keeping, keepingOf } from '../store/keeping.ts'
import type { StoreSpec } from '../store/open.ts'
import type { Undeleted } from '../store/refusals.ts'
import { forgetGenerations, SELDOM } from '../timeline/forget.ts'
import { placeOf } from './opening.ts'
import { openToRead } from './starting.ts'

/** What upkeep has done. */
export interface UpkeepReport {
  /** Old generations of the catalogue whose files went; what they said is in later ones, and their heads can still be compared. */
  readonly forgotten: number
  /** Files that were deleted. */
  readonly deleted: number
  /** Files that the store did not let go: they do no harm, and are tried again the next time. */
  readonly refused: readonly Undeleted[]
  /** What the store keeps of what is deleted. */
  readonly keeping: Keeping
}

/**
 * Looks after a store, once: what nobody needs any more is let go. No moment, no head and no event changes. Whoever captures does
 * it by itself; this is for those who capture without the right to delete. Errors: those of the store.
 */
export async function upkeepOf(
  spec: string | StoreSpec,
  environment: Environment = process.env,
): Promise<UpkeepReport> {
  const { opened, timeline } = await openToRead(await placeOf(spec, environment))
  await timeline.refresh()
  const { generations, files, refused } = await forgetGenerations(opened.store, timeline, SELDOM)
  return { forgotten: generations, deleted: files, refused, keeping: await keepingOf(opened.store, []) }
}
