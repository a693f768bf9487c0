import { sha256, utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Epoch, RestoreScope, Timeline } from '../model/timeline.ts'
import { beforeInstant, instantEnd, lastUlidAt, type Ulid, UlidGenerator, ulidTime } from '../model/ulid.ts'
import type { Selection } from '../restore/target.ts'
import type { TimelineLog } from '../timeline/log.ts'
import { endOf } from './streams.ts'

/** A restore into the live database, from before its first write until it is finished. */
export interface InPlace {
  /** After this stamp, what was written was written by others, or by this restore itself before it was broken off. */
  readonly since: Ulid
  /** The database before its first write, also where it was broken off since: a moment, as it can be typed. */
  readonly before: string
  /** What was broken off went from one of these to another: a kill may have left a part of any record of theirs. */
  readonly between: readonly Ulid[]
  /** Notes durably that it is under way. Once, before the first write. */
  begin(): Promise<void>
  /** Notes that it is finished. */
  end(): Promise<void>
}

/** What is restored in place. */
export interface InPlaceRequest {
  readonly restored: Ulid
  readonly selection: Selection
  /** Nothing will be written. */
  readonly dryRun: boolean
  /** A stamp after every event so far, and before every later one of this process. */
  readonly mark: Ulid
}

/** An epoch whose restore is neither finished nor taken back. */
export type Unfinished = Epoch & { readonly restored: Ulid; readonly restoring: RestoreScope }

/** The restores that were begun and neither finished nor taken back; the first is what they all are about. */
export function unfinishedRestores(epochs: readonly Epoch[]): readonly Unfinished[] {
  return epochs.filter((epoch) => isUnfinished(epoch))
}

/**
 * Prepares a restore in place. The same restore that was broken off goes on, and so does one that takes it back. Errors:
 * `RESTORE_UNFINISHED` for any other, unless it only looks.
 */
export async function prepareInPlace(timeline: TimelineLog, request: InPlaceRequest): Promise<InPlace> {
  const { epochs } = await timeline.refresh()
  const [first] = request.dryRun ? unfinishedRestores(epochs) : refuseOther(epochs, request)
  const resumed = resumedBy(epochs, request)
  const startedAt = resumed?.startedAt ?? request.mark
  return {
    since: startedAt,
    before: beforeText(first ?? { startedAt }),
    between: first === undefined ? [] : [beforeInstant(first.startedAt), first.restored],
    begin: async () => {
      await timeline.commit((now) => {
        refuseOther(now.epochs, request)
        return resumedBy(now.epochs, request) === undefined ? { addEpoch: nextEpoch(now.epochs, request) } : null
      })
    },
    end: async () => {
      await timeline.commit((now) => {
        const last = unfinishedRestores(now.epochs).at(-1)
        return last === undefined ? null : { endRestores: last.epoch }
      })
    },
  }
}

/** A stamp after every event so far, where nothing is captured here. */
export function markAfter(timeline: Timeline, clock: Clock): Ulid {
  const ulids = new UlidGenerator(() => clock.now())
  // Epochs are in order, whatever the clock did since the last one.
  for (const ulid of [endOf(timeline), ...timeline.epochs.map((epoch) => epoch.startedAt)]) ulids.advanceTo(ulid)
  return ulids.mark()
}

/** The moment before a restore, as it can be typed. */
export function beforeText({ startedAt }: Pick<Epoch, 'startedAt'>): string {
  return `before:${startedAt}`
}

/** A stamp as a moment that can be typed: as a time where it is the end of one. */
export function stampText(ulid: Ulid): string {
  const ms = ulidTime(ulid)
  return ulid === lastUlidAt(ms) ? new Date(ms).toISOString() : ulid
}

function isUnfinished(epoch: Epoch): epoch is Unfinished {
  return epoch.restored !== null && epoch.restoring !== undefined
}

function nextEpoch(epochs: readonly Epoch[], { restored, selection, mark }: InPlaceRequest): Epoch {
  const epoch = (epochs.at(-1)?.epoch ?? 0) + 1
  return { epoch, startedAt: mark, restored, restoring: scopeOf(selection, mark) }
}

/** Of two that go in opposite directions, only the last has left its work as it was. */
function resumedBy(epochs: readonly Epoch[], request: InPlaceRequest): Unfinished | undefined {
  const last = unfinishedRestores(epochs).at(-1)
  return last !== undefined && isSame(last.restored, request.restored) ? last : undefined
}

/** The restores that were broken off, none of which is in the way. */
function refuseOther(epochs: readonly Epoch[], { restored, selection }: InPlaceRequest): readonly Unfinished[] {
  const open = unfinishedRestores(epochs)
  const [first] = open
  if (first === undefined) return open
  const goesOn = isSame(restored, first.restored) || isBefore(restored, first)
  if (!goesOn || !isSameScope(selection, first)) throw unfinished(first)
  return open
}

/** Bounds within one instant have the same events. */
function isSame(a: Ulid, b: Ulid): boolean {
  return instantEnd(a) === instantEnd(b)
}

/** Whether a moment is the one just before a restore began. */
function isBefore(moment: Ulid, { startedAt }: Epoch): boolean {
  return isSame(moment, startedAt) || moment === beforeInstant(startedAt)
}

/**
 * The scope of a selection, for the timeline. The hash of the ids is salted with the stamp at which the restore began;
 * nobody can tell from it which they were, unless he has them.
 */
function scopeOf({ resources, ids }: Selection, startedAt: Ulid): RestoreScope {
  const sorted = [...new Set(ids)].sort()
  const hash = sha256(utf8(JSON.stringify([startedAt, ...sorted])))
  return {
    ...(resources === undefined ? {} : { resources: [...new Set(resources)].sort() }),
    ...(ids === undefined ? {} : { ids: { count: sorted.length, sha256: hash } }),
  }
}

function isSameScope(selection: Selection, { startedAt, restoring }: Unfinished): boolean {
  const { resources, ids } = scopeOf(selection, startedAt)
  return JSON.stringify(resources) === JSON.stringify(restoring.resources) && ids?.sha256 === restoring.ids?.sha256
}

/** What a restore is about, for people. */
export function scopeText({ resources, ids }: RestoreScope): string {
  const names = resources === undefined ? '' : ` --resource ${resources.map((name) => JSON.stringify(name)).join(' ')}`
  return ids === undefined ? names : `${names} --id <the same ${ids.count}>`
}

function unfinished(open: Unfinished): TidemarkError {
  const { startedAt, restored, restoring } = open
  const began = new Date(ulidTime(startedAt)).toISOString()
  const [finish, takeBack] = [stampText(restored), beforeText(open)]
  const rest = `${scopeText(restoring)} --in-place --yes`
  return new TidemarkError(
    'RESTORE_UNFINISHED',
    `A restore of ${finish} in place, begun at ${began}, was broken off: the database is restored in part. Nothing was changed.`,
    {
      hint: `Finish it (--to ${finish}${rest}) or take it back (--to ${takeBack}${rest}) with \`tidemark restore\`, then restore what you want.`,
      details: { finish, takeBack, startedAt },
    },
  )
}
