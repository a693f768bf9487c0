import { TidemarkError } from '../base/errors.ts'
import type { Erasure } from '../model/erasure.ts'
import type { Item } from '../model/event.ts'
import { findVersion } from '../restore/lookup.ts'
import { type ErasurePlan, planErasure, rewriteWithout } from '../upkeep/erase.ts'
import type { Archive } from './archive.ts'

/** Why a record is erased, and whether it is. */
export interface EraseOptions {
  /** For the ledger, which keeps it for ever: no personal data. */
  readonly reason: string
  /** Who asks, for the ledger. */
  readonly by?: string
  /** Plan only. Default: false. */
  readonly dryRun?: boolean
}

/** What an erasure reads and writes, and the ledger's entry; null for a dry run. */
export interface EraseResult {
  readonly plan: Omit<ErasurePlan, 'item'>
  readonly entry: Erasure | null
}

/**
 * Erases a record from the history: everything of it up to now, for good. Errors: `RECORD_EXISTS` while the database
 * still has it, `RECORD_NOT_FOUND` where the history never did, `MOMENT_UNREACHABLE` while another process may hold
 * events of it that are not in the store.
 */
export async function eraseRecord(archive: Archive, item: Item, options: EraseOptions): Promise<EraseResult> {
  const { clock, timeline } = archive.seams
  // Everything that was written until now must be in the store: nothing of the record can come after this.
  const { bound, plan: restore } = await archive.reach(Math.floor(clock.now()))
  if ((await findVersion(archive.sources, restore, item))?.image != null) throw stillThere(item)
  const plan = await planErasure(archive.sources, timeline.timeline, item)
  const { item: _, ...found } = plan
  if (options.dryRun === true) return { plan: found, entry: null }
  const reason = { ulid: bound.ulid, reason: options.reason, by: options.by ?? null }
  const entry = await rewriteWithout(archive.sources, timeline, plan, reason)
  if (entry === null) throw neverThere(item)
  return { plan: found, entry }
}

function stillThere({ resource, id }: Item): TidemarkError {
  return new TidemarkError(
    'RECORD_EXISTS',
    `${resource}/${id} still exists in the database: it would come back with the next snapshot. Nothing was erased.`,
    { hint: 'Delete the record in the database first, then erase its history.' },
  )
}

function neverThere({ resource, id }: Item): TidemarkError {
  return new TidemarkError('RECORD_NOT_FOUND', `The history holds nothing of ${resource}/${id}. Nothing was erased.`, {
    hint: 'Check the name of the resource and the id: `tidemark log <resource>/<id>`.',
  })
}
