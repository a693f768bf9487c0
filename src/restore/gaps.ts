import { TidemarkError } from '../base/errors.ts'
import { type Gap, isSameGap, type KnownGap, knownGap } from '../model/gap.ts'
import { sealedRanges } from '../model/sealed-ranges.ts'
import type { ShedRange, SnapshotEntry, StreamEntry, Timeline } from '../model/timeline.ts'
import { lastUlidAt, type Ulid, ulidTime } from '../model/ulid.ts'
import { isCutOff, isPrunedGap } from './pruned.ts'

/** Every gap of the timeline: the holes in the sequences of its streams, and the losses that were declared. */
export function gapsOf(timeline: Timeline): readonly KnownGap[] {
  const holes = timeline.streams.flatMap(holesOf)
  const losses = timeline.losses.map(
    ({ stream, firstSequence, after, through }): Gap => ({
      stream,
      firstSequence,
      lastSequence: null,
      afterUlid: after,
      beforeUlid: through,
    }),
  )
  const gaps = [...holes, ...losses].filter((gap) => !isPrunedGap(timeline, gap))
  return gaps.map((gap) => knownGap(gap, timeline.acknowledgements))
}

/** What is missing between the segments of a stream, and what it says it did not record. */
function holesOf(stream: StreamEntry): Gap[] {
  const { id, openedAt, lastSequence, sealedThrough, sealed, shed = [] } = stream
  if (sealed === undefined && shed.length === 0) return []
  const gaps: Gap[] = []
  let expected = 1
  let afterUlid = openedAt
  const hole = (lastMissing: number, beforeUlid: Ulid): void => {
    if (expected > lastMissing) return
    gaps.push({ stream: id, firstSequence: expected, lastSequence: lastMissing, afterUlid, beforeUlid })
  }
  for (const known of [...sealedRanges(stream), ...shed].sort((a, b) => a.firstSequence - b.firstSequence)) {
    // What is before unrecorded writes and not in the store yet is not missing.
    if ('firstUlid' in known) hole(known.firstSequence - 1, known.firstUlid)
    else hole(Math.min(known.firstSequence - 1, lastSequence), known.after)
    if (!('firstUlid' in known)) gaps.push(shedGap(id, known, sealedThrough))
    if (known.lastSequence < expected) continue
    expected = known.lastSequence + 1
    afterUlid = 'firstUlid' in known ? known.lastUlid : (known.before ?? afterUlid)
  }
  hole(lastSequence, sealedThrough)
  return gaps
}

/** Writes that still go on unrecorded do so for as long as anything is known of the stream. */
function shedGap(stream: string, { firstSequence, lastSequence, after, before }: ShedRange, end: Ulid): Gap {
  const beforeUlid = before ?? (end > after ? end : after)
  return { stream, firstSequence, lastSequence, afterUlid: after, beforeUlid }
}

/**
 * The gaps that touch the state of `moment` when it is made from `snapshot`: those that begin before the moment and end
 * after the snapshot, and those that the snapshot itself was made through.
 */
export function exceptionsOf(
  timeline: Timeline,
  snapshot: SnapshotEntry,
  moment: Ulid,
  gaps: readonly KnownGap[] = gapsOf(timeline),
): readonly KnownGap[] {
  const since = gaps.filter(({ afterUlid, beforeUlid }) => beforeUlid > snapshot.ulid && afterUlid < moment)
  const inside = (snapshot.except ?? []).filter((gap) => !since.some((other) => isSameGap(gap, other)))
  return [...inside.map((gap) => knownGap(gap, timeline.acknowledgements)), ...since]
}

/** A snapshot to begin with, and the gaps that touch what is made from it. */
export interface Start {
  readonly snapshot: SnapshotEntry
  readonly except: readonly KnownGap[]
}

/**
 * The best snapshot to make the state of `moment` from: the last that no gap touches, else the last that only
 * acknowledged gaps touch, else the last; null where there is none.
 */
export function startOf(timeline: Timeline, moment: Ulid): Start | null {
  const gaps = gapsOf(timeline)
  const starts = timeline.snapshots
    .filter((snapshot) => snapshot.consistentFrom <= moment && !isCutOff(timeline.pruned, snapshot, moment))
    .map((snapshot) => ({ snapshot, except: exceptionsOf(timeline, snapshot, moment, gaps) }))
  return (
    starts.findLast(({ except }) => except.length === 0) ??
    starts.findLast(({ except }) => except.every(isAcknowledged)) ??
    starts.at(-1) ??
    null
  )
}

/**
 * From where on the events say everything that `snapshot`, which `startOf` gave for `moment`, says of an item that they are about:
 * the ULID of an earlier snapshot from which the same state is made, with no gap and nothing pruned since, and no database read in
 * between; its own where there is none. `from`: where the events begin that somebody reads; nothing is gained before it.
 */
export function sameSince(timeline: Timeline, { snapshot, except }: Start, moment: Ulid, from: Ulid): Ulid {
  let since = snapshot
  if (except.length > 0 || snapshot.ulid <= from) return since.ulid
  const gaps = gapsOf(timeline)
  for (const earlier of timeline.snapshots.filter(({ ulid }) => ulid < snapshot.ulid).reverse()) {
    if (since.ulid <= from) break
    const isWhole =
      since.consistentFrom === since.ulid &&
      earlier.consistentFrom <= since.ulid &&
      !isCutOff(timeline.pruned, earlier, moment) &&
      exceptionsOf(timeline, earlier, moment, gaps).length === 0
    if (!isWhole) break
    since = earlier
  }
  return since.ulid
}

/** Whether whoever captures the database should read it whole: no snapshot gives a state without gaps any more. */
export function needsBaseline(timeline: Timeline): boolean {
  const start = startOf(timeline, lastUlidAt(2 ** 48 - 1))
  return start === null || start.except.length > 0
}

/** Whether somebody knows of it. */
export function isAcknowledged({ acknowledged }: KnownGap): boolean {
  return acknowledged !== null
}

/** `4-9` or `4-`, as it is typed. */
function rangeText({ firstSequence, lastSequence }: Gap): string {
  return `${firstSequence}-${lastSequence ?? ''}`
}

/** The error for a state that a gap touches which nobody has acknowledged. */
export function gapError(gap: Gap): TidemarkError {
  const { stream, firstSequence, lastSequence, afterUlid, beforeUlid } = gap
  const what =
    lastSequence === null
      ? `Events from ${firstSequence} on of stream ${stream} are lost, and nobody knows how many`
      : `Events ${firstSequence} to ${lastSequence} of stream ${stream} are missing`
  const between = `between ${iso(afterUlid)} and ${iso(beforeUlid)}`
  return new TidemarkError(
    'HISTORY_GAP',
    `${what} (${between}); a state after them cannot be told for certain. Nothing was changed.`,
    {
      hint:
        `Moments up to ${iso(afterUlid)}, and those after the next baseline, are reachable. To go on without these events: ` +
        `tidemark gap acknowledge ${stream} ${rangeText(gap)} --reason <why> --name <who>`,
      details: { stream, firstSequence, lastSequence },
    },
  )
}

function iso(ulid: Ulid): string {
  return new Date(ulidTime(ulid)).toISOString()
}
