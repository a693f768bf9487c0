import { hasCode, TidemarkError } from '../base/errors.ts'
import type { Erasure } from '../model/erasure.ts'
import type { Item } from '../model/event.ts'
import { lastUlidAt } from '../model/ulid.ts'
import { findVersion } from '../restore/lookup.ts'
import { planRestore } from '../restore/plan.ts'
import { type Keeping, keepingNow } from '../store/keeping.ts'
import { type ErasurePlan, filesOfPlan, planErasure, raced, rewriteWithout } from '../upkeep/erase.ts'
import { destroyKey } from '../upkeep/erase-keys.ts'
import type { Archive } from './archive.ts'
import { type ErasedJournals, forgetEverywhere } from './journal-erasure.ts'

/** An erasure that loses so often to others who write gives up. */
const MOST_ATTEMPTS = 5

/** Why a record is erased, and whether it is. */
export interface EraseOptions {
  /** For the ledger, which keeps it for ever: no personal data. */
  readonly reason: string
  /** Who asks, for the ledger. */
  readonly by?: string
  /**
   * `keys` destroys the key of the record, `rewritten` takes it out of every file. Default: `keys` where the store was
   * made with record keys, else `rewritten`.
   */
  readonly mode?: Erasure['mode']
  /** Plan only. Default: false. */
  readonly dryRun?: boolean
}

/** What an erasure reads and writes, and the ledger's entry; null for a dry run. */
export interface EraseResult {
  /** `keys`: the key of the record is destroyed, and the files of the plan stay as they are. */
  readonly mode: Erasure['mode']
  readonly plan: Omit<ErasurePlan, 'item' | 'streams'>
  readonly entry: Erasure | null
  /** Null for a dry run. */
  readonly journals: ErasedJournals | null
  /** What the place keeps, in spite of the erasure, of the files with the record, or with `keys` of the keyrings with its key. */
  readonly keeping: Keeping
}

/**
 * Erases a record from the history: everything of it up to now, for good. Errors: `RECORD_EXISTS` while the database
 * still has it, `RECORD_NOT_FOUND` where the history never did, `MOMENT_UNREACHABLE` while another process may hold
 * events of it that are not in the store; `RECORD_KEYS_NEEDED` where the store has none and `mode` asks for them;
 * `ERASURE_RACED`, `ERASURE_INCOMPLETE`.
 */
export async function eraseRecord(archive: Archive, item: Item, options: EraseOptions): Promise<EraseResult> {
  const { timeline } = archive.seams
  for (let attempt = 1; ; attempt++) {
    const began = (await timeline.refresh()).erasures.length
    try {
      return await eraseOnce(archive, item, options)
    } catch (error) {
      // While others erase, what was looked at may be out of date when it is to be committed, or no longer be there.
      const isGone = hasCode(error, 'OBJECT_NOT_FOUND') && (await timeline.refresh()).erasures.length > began
      if (!(isGone || hasCode(error, 'ERASURE_RACED'))) throw error
      if (attempt === MOST_ATTEMPTS) throw isGone ? raced(error) : error
    }
  }
}

async function eraseOnce(archive: Archive, item: Item, options: EraseOptions): Promise<EraseResult> {
  const { clock, timeline, recordKeys, name } = archive.seams
  const { mode = recordKeys === null ? 'rewritten' : 'keys' } = options
  const keys = mode === 'keys' ? (recordKeys ?? noKeys(name)) : null
  // Everything that was written until now must be in the store: nothing of the record can come after this.
  await requireTold(archive, item)
  const { bound, timeline: known } = await archive.locate(Math.floor(clock.now())).catch(whatFailed)
  // It may have been made again since then: what counts is the end of everything that is known.
  const end = await planRestore(archive.sources.nodes, known, lastUlidAt(2 ** 48 - 1))
  if ((await findVersion(archive.sources, end, item))?.image != null) throw stillThere(item)
  const plan = await planErasure(archive.sources, known, item)
  const { item: _, streams: __, ...found } = plan
  if (options.dryRun === true) {
    const keeping = await (keys?.keeping() ?? keepingNow(archive.seams.store, filesOfPlan(plan)))
    return { mode, plan: found, entry: null, journals: null, keeping }
  }
  // First, since everything in them is in the store: broken off, the same command again does all of it.
  const wrote = new Set(plan.streams)
  const { own } = archive.seams
  const journals = await forgetEverywhere(archive.seams, own, { streams: known.streams, wrote })
  const reason = { ulid: bound.ulid, reason: options.reason, by: options.by ?? null }
  const erased =
    keys === null
      ? await rewriteWithout(archive.sources, timeline, plan, reason)
      : await destroyKey({ sources: archive.sources, timeline, recordKeys: keys }, plan, reason, known)
  if (erased === null) throw neverThere(item)
  return { mode, plan: found, journals, ...erased }
}

/** Whatever the clocks say, each stream is asked: an event or an unsettled write that is sealed later would bring the record back. */
async function requireTold(archive: Archive, { kind, resource, id }: Item): Promise<void> {
  const { undecided, unheard } = await archive.seams.complete(null, 'begun')
  const isOpen = undecided.some((other) => other.kind === kind && other.resource === resource && other.id === id)
  if (!isOpen && unheard.length === 0) return
  const why = isOpen
    ? `a process was killed while it wrote ${resource}/${id}, and whether it did is not known`
    : `stream ${unheard[0]} may hold events of it that are not in the store`
  throw new TidemarkError('MOMENT_UNREACHABLE', `The record cannot be erased now: ${why}. Nothing was erased.`, {
    hint: 'Start the application of that process again, which settles what it left; then erase.',
    details: { stream: unheard[0] ?? null },
  })
}

/** Who erases has to write to the store: what keeps him from that is told, not what follows from it. */
function whatFailed(error: unknown): never {
  throw error instanceof TidemarkError && error.cause instanceof TidemarkError ? error.cause : error
}

function noKeys(name: string): never {
  throw new TidemarkError(
    'RECORD_KEYS_NEEDED',
    `The store at ${name} was made without record keys: there is none to destroy. Nothing was erased.`,
    { hint: 'Leave the mode out, or say rewritten: the record is then taken out of every file.' },
  )
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
