import { TidemarkError } from '../base/errors.ts'
import { OBSERVED } from '../capture/settlement.ts'
import { type Item, imageBytes, isUnreadable, sameImage } from '../model/event.ts'
import type { Ulid } from '../model/ulid.ts'
import { type Comparison, compareStates } from '../restore/difference.ts'
import { Lookahead } from '../restore/lookahead.ts'
import { findEvents } from '../restore/lookup.ts'
import type { MergedItem } from '../restore/merge.ts'
import type { Plan } from '../restore/plan.ts'
import { type Preview, type Sample, sampleOf, summarize } from '../restore/preview.ts'
import { replay, replayChanges } from '../restore/replay.ts'
import { scanned } from '../restore/scanned.ts'
import type { Difference, ItemState, OnConflict, Selection, Target } from '../restore/target.ts'
import type { Archive, Reached } from './archive.ts'
import { ConflictList, type Conflicts, MOST_NAMED } from './conflicts.ts'
import type { InPlace } from './in-place.ts'
import { Writing } from './restore-writing.ts'
import { toldTarget } from './told-target.ts'

/** How a restore is done. */
export interface RestoreRun {
  readonly selection: Selection
  /** A target that holds anything is refused without it. */
  readonly overwrite: boolean
  /** Compare and report, write nothing. */
  readonly dryRun: boolean
  /** Of a dry run: is given every difference, one after the other. */
  readonly onDifference: OnDifference | null
  /** The target is the database whose history this is; else null. */
  readonly inPlace: InPlace | null
  readonly onConflict: OnConflict
  readonly onProgress: (progress: Progress) => void
}

/** What is done with a difference; the next one waits for it. */
export type OnDifference = (difference: Sample) => void | Promise<void>

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
  /** Attributes of single records that had no place in the schema of the target, as `resource.attribute`. */
  readonly unfit: readonly string[]
  /**
   * What others have written since the restore in place began, and before it came to it: as it is now, or overwritten. The
   * history has it in any case.
   */
  readonly conflicts: Conflicts
  /** Of a restore in place that was written: the moment before it, to take it back; else null. */
  readonly before: string | null
}

/**
 * Brings `target` to the state of a moment that was reached. Errors: `TARGET_NOT_EMPTY`, those of the target and of
 * replay; a target that takes whole states is then as it was, one that takes differences may be partly restored, and
 * the same restore completes it.
 */
export async function restoreInto(
  archive: Archive,
  { bound, plan }: Reached,
  given: Target,
  run: RestoreRun,
): Promise<RestoreResult> {
  const target = toldTarget(given, run.inPlace?.before ?? null)
  await refuseUnlessEmpty(target, run)
  const unreadable: Item[] = []
  const conflicts = new ConflictList(run.onConflict)
  const wanted = counted(replay(archive.sources, plan, run.selection), plan, run.onProgress)
  const unfit = new Set<string>()
  const fitting = fitted(wanted, target, run, unfit)
  const compared = kept(compareStates(scanned(target, affected(target, run)), teed(fitting, target, run)), target, run)
  const readable = withoutUnreadable(compared, target, (items) => {
    unreadable.push(...items.slice(0, MOST_NAMED - unreadable.length))
  })
  const history = new LaterHistory(archive, plan, run)
  const mine = run.inPlace === null ? readable : withoutNewer(readable, history, run.inPlace.since, conflicts)
  const writing = new Writing({ archive, target, plan, selection: run.selection, inPlace: run.inPlace, conflicts })
  const later = history.since(run.inPlace === null ? null : plan.moment)
  const preview = await summarize(run.dryRun ? mine : writing.written(mine), later, async ({ differences }) => {
    if (run.onDifference !== null) for (const one of differences) await run.onDifference(sampleOf(one))
  })
  if (!run.dryRun) await writing.finish()
  const before = run.dryRun ? null : (run.inPlace?.before ?? null)
  const result = { moment: bound.label, target: target.name, plan, preview, written: !run.dryRun, unreadable }
  return { ...result, conflicts: conflicts.told, unfit: [...unfit], before }
}

/**
 * Takes out what others have written since the restore in place began, as the history tells: also other processes, and
 * before it was broken off and begun again. What the restore itself has written is no difference any more.
 */
async function* withoutNewer(
  comparisons: AsyncIterable<Comparison>,
  history: LaterHistory,
  since: Ulid,
  conflicts: ConflictList,
): AsyncGenerator<Comparison> {
  const changes = new Lookahead(history.since(since))
  try {
    for await (const comparison of comparisons) {
      for (const difference of comparison.differences) {
        const last = await changes.find(difference)
        if (last === null || !sameImage(last.image, difference.before)) continue
        if (await history.hasChanged(difference, since)) conflicts.tell(difference)
      }
      yield conflicts.restored(comparison)
    }
  } finally {
    await changes.close()
  }
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
  for await (const batch of scanned(target, affected(target, run))) {
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

/** What the history did after the moment, up to when it is first asked for: before the restore itself becomes history. */
class LaterHistory {
  readonly #archive: Archive
  readonly #plan: Plan
  readonly #run: RestoreRun
  #asked: ReturnType<Archive['segmentsAfter']> | null = null

  constructor(archive: Archive, plan: Plan, run: RestoreRun) {
    this.#archive = archive
    this.#plan = plan
    this.#run = run
  }

  /** What it did after a stamp; nothing where there is none. */
  async *since(stamp: Ulid | null): AsyncGenerator<readonly MergedItem[]> {
    if (stamp === null) return
    this.#asked ??= this.#archive.segmentsAfter(this.#plan.moment)
    const { segments, through } = await this.#asked
    const later = segments.filter(({ lastUlid }) => lastUlid > stamp)
    yield* replayChanges(this.#archive.sources, later, stamp, through, this.#run.selection)
  }

  /**
   * Whether somebody has written an item after `stamp` so that it became what it is before. What was only observed may be
   * what a restore itself has left that was killed: nothing, or half of a write.
   */
  async hasChanged(item: Difference, stamp: Ulid): Promise<boolean> {
    this.#asked ??= this.#archive.segmentsAfter(this.#plan.moment)
    const later = (await this.#asked).segments.filter(({ lastUlid }) => lastUlid > stamp)
    for await (const { stamp: at, context, before, after } of findEvents(this.#archive.sources, later, item)) {
      if (at.ulid <= stamp || context.metadata === OBSERVED.metadata) continue
      if (sameImage(after, item.before) && !sameImage(before, after)) return true
    }
    return false
  }
}

/** Single records go into the schemas that the target has. */
async function* fitted(
  states: AsyncIterable<readonly ItemState[]>,
  target: Target,
  { selection }: RestoreRun,
  unfit: Set<string>,
): AsyncGenerator<readonly ItemState[]> {
  for await (const batch of states) {
    const fit = selection.ids === undefined ? undefined : await target.fit?.(batch)
    for (const name of fit?.unfit ?? []) unfit.add(name)
    yield fit?.states ?? batch
  }
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
  let [rows, bytes] = [0, 0]
  for await (const batch of states) {
    rows += batch.length
    for (const { image } of batch) bytes += imageBytes(image)
    yield batch
    onProgress({ rows, totalRows, bytes, totalBytes })
  }
}
