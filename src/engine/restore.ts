import { TidemarkError } from '../base/errors.ts'
import { type Item, isUnreadable } from '../model/event.ts'
import { type Comparison, compareStates } from '../restore/difference.ts'
import type { MergedItem } from '../restore/merge.ts'
import type { Plan } from '../restore/plan.ts'
import { type Preview, summarize } from '../restore/preview.ts'
import { replay, replayChanges } from '../restore/replay.ts'
import type { Difference, ItemState, Selection, Target } from '../restore/target.ts'
import type { Archive, Reached } from './archive.ts'
import type { InPlace } from './in-place.ts'

/** How a restore is done. */
export interface RestoreRun {
  readonly selection: Selection
  /** A target that holds anything is refused without it. */
  readonly overwrite: boolean
  /** Compare and report, write nothing. */
  readonly dryRun: boolean
  /** The target is the database whose history this is; else null. */
  readonly inPlace: InPlace | null
  readonly onProgress: (progress: Progress) => void
}

/** How far a restore has come. */
export interface Progress {
  readonly rows: number
  /** What the plan says will pass; the merge may end earlier. */
  readonly totalRows: number
  readonly bytes: number
  readonly totalBytes: number
}

/** What a restore did, or would do. */
export interface RestoreResult {
  readonly moment: string
  readonly target: string
  readonly plan: Plan
  readonly preview: Preview
  /** False for a dry run. */
  readonly written: boolean
  /**
   * What was damaged in the database itself at the moment, the first 1,000: there is nothing to put back, and a live target
   * keeps what it has. Files get its image, which says so.
   */
  readonly unreadable: readonly Item[]
  /** Of a restore in place that was written: the moment before it, to take it back; else null. */
  readonly before: string | null
}

const MOST_UNREADABLE = 1000

/**
 * Brings `target` to the state of a moment that was reached. Errors: `TARGET_NOT_EMPTY`, those of the target and of
 * replay; a target that takes whole states is then as it was, one that takes differences may be partly restored, and
 * the same restore completes it.
 */
export async function restoreInto(
  archive: Archive,
  { bound, plan }: Reached,
  target: Target,
  run: RestoreRun,
): Promise<RestoreResult> {
  await refuseUnlessEmpty(target, run)
  const wanted = counted(replay(archive.sources, plan, run.selection), plan, run.onProgress)
  const compared = kept(compareStates(target.scan(affected(target, run)), teed(wanted, target, run)), target, run)
  const unreadable: Item[] = []
  let isBegun = false
  const begin = async (): Promise<void> => {
    if (!isBegun) await run.inPlace?.begin()
    isBegun = true
  }
  const write = async ({ differences }: Comparison): Promise<void> => {
    if (run.dryRun || target.takes !== 'differences' || differences.length === 0) return
    await begin()
    await target.write(differences)
  }
  const readable = withoutUnreadable(compared, target, (items) => {
    unreadable.push(...items.slice(0, MOST_UNREADABLE - unreadable.length))
  })
  const preview = await summarize(readable, laterChanges(archive, plan, run), write)
  if (!run.dryRun) {
    await begin()
    await target.finish(run.selection)
  }
  const before = run.dryRun ? null : (run.inPlace?.before ?? null)
  return { moment: bound.label, target: target.name, plan, preview, written: !run.dryRun, unreadable, before }
}

/** Takes what has nothing that could be put back from what is written to a live target. */
async function* withoutUnreadable(
  comparisons: AsyncIterable<Comparison>,
  { takes }: Target,
  tell: (items: readonly Item[]) => void,
): AsyncGenerator<Comparison> {
  for await (const { differences, unchanged } of comparisons) {
    const damaged = differences.filter(({ after }) => after !== null && isUnreadable(after))
    tell(damaged.map(({ kind, resource, id }) => ({ kind, resource, id })))
    yield damaged.length === 0 || takes === 'states'
      ? { differences, unchanged }
      : { differences: differences.filter((difference) => !damaged.includes(difference)), unchanged }
  }
}

/** What of the target the restore touches: one that takes whole states loses whatever is not restored. */
function affected({ takes }: Target, { selection }: RestoreRun): Selection {
  return takes === 'states' ? {} : selection
}

async function refuseUnlessEmpty(target: Target, run: RestoreRun): Promise<void> {
  if (run.overwrite || run.dryRun) return
  for await (const batch of target.scan(affected(target, run))) {
    const held = batch.find(({ kind, resource }) => kind !== 'schema' || resource !== '')
    if (held === undefined) continue
    throw new TidemarkError(
      'TARGET_NOT_EMPTY',
      `${target.name} holds data already (${held.resource}). Nothing was changed.`,
      {
        hint: 'Look at what would change with dryRun: true (--dry-run), then allow it with overwrite: true (--yes).',
        details: { target: target.name, resource: held.resource },
      },
    )
  }
}

/** What the history did after the moment, where that can explain differences. */
async function* laterChanges(archive: Archive, plan: Plan, run: RestoreRun): AsyncGenerator<readonly MergedItem[]> {
  if (run.inPlace === null) return
  const { segments, through } = await archive.segmentsAfter(plan.moment)
  yield* replayChanges(archive.sources, segments, plan.moment, through, run.selection)
}

/** Hands every state to a target that takes whole states, on its way to the comparison. */
async function* teed(
  states: AsyncIterable<readonly ItemState[]>,
  target: Target,
  { dryRun }: RestoreRun,
): AsyncGenerator<readonly ItemState[]> {
  for await (const batch of states) {
    if (!dryRun && target.takes === 'states' && batch.length > 0) await target.write(batch.map(wholeState))
    yield batch
  }
}

function wholeState({ kind, resource, id, image }: ItemState): Difference {
  return { kind, resource, id, before: null, after: image }
}

/** Where single records are restored, schemas and sequences are added where they are missing and otherwise left alone. */
async function* kept(
  comparisons: AsyncIterable<Comparison>,
  { takes }: Target,
  { selection }: RestoreRun,
): AsyncGenerator<Comparison> {
  const all = selection.ids === undefined || takes === 'states'
  for await (const { differences, unchanged } of comparisons) {
    yield { differences: all ? differences : differences.filter(isRecordOrMissing), unchanged }
  }
}

function isRecordOrMissing({ kind, before }: Difference): boolean {
  return kind === 'record' || before === null
}

async function* counted(
  states: AsyncIterable<readonly ItemState[]>,
  { rows: totalRows, bytes: totalBytes }: Plan,
  onProgress: (progress: Progress) => void,
): AsyncGenerator<readonly ItemState[]> {
  let rows = 0
  let bytes = 0
  for await (const batch of states) {
    rows += batch.length
    for (const { image } of batch) bytes += image.json.length
    yield batch
    onProgress({ rows, totalRows, bytes, totalBytes })
  }
}
