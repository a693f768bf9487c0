import { applyChange } from '../model/apply-change.ts'
import { sealedRanges } from '../model/sealed-ranges.ts'
import { totalsOf } from '../model/segment-index.ts'
import type { StreamEntry, Timeline, TimelineChange } from '../model/timeline.ts'
import { lastUlidAt, lastWholeMs, type Ulid, ulidTime } from '../model/ulid.ts'

/** Which moments of a timeline can be restored: everything from `earliest` to `latest`, both inclusive. */
export interface Reach {
  /** Null while there is no snapshot. */
  readonly earliest: Ulid | null
  /** Null, too, while an open stream may hold events from before `earliest`: then nothing can be restored yet. */
  readonly latest: Ulid | null
  /**
   * The open stream that sets `latest`: it may hold events that are not in the store yet. Null: no stream is open, and
   * `latest` is the last stamp of the timeline, since whoever writes next stamps after that and nothing else.
   */
  readonly openStream: StreamEntry | null
}

/**
 * The reach of `timeline`. A moment is reachable only when no event can appear at or before it any more:
 * every closed stream is complete, an open one is complete up to its `sealedThrough`.
 */
export function reachOf(timeline: Timeline): Reach {
  const earliest = earliestOf(timeline)
  if (earliest === null) return { earliest, latest: null, openStream: null }
  let openStream: StreamEntry | null = null
  for (const stream of timeline.streams) {
    if (stream.state !== 'open') continue
    if (openStream === null || stream.sealedThrough < openStream.sealedThrough) openStream = stream
  }
  const bound = openStream?.sealedThrough ?? endOf(timeline)
  // A baseline has seen writes of other processes in part: it is a state only together with their events until its end.
  return { earliest, latest: bound < earliest ? null : bound, openStream }
}

/**
 * The reach as times that can be typed as moments, RFC 3339, or null where nothing is reachable: what is reachable of
 * the last millisecond only in part is not told.
 */
export function reachTimes({ earliest, latest }: Reach): { readonly earliest: string; readonly latest: string } | null {
  if (earliest === null || latest === null) return null
  const first = ulidTime(earliest)
  return {
    earliest: new Date(first).toISOString(),
    latest: new Date(Math.max(first, lastWholeMs(latest))).toISOString(),
  }
}

/** The same where a whole millisecond of it is reachable; null where the history is shorter: then no time can be given. */
export function wholeTimes(reach: Reach): ReturnType<typeof reachTimes> {
  const { earliest, latest } = reach
  return earliest === null || latest === null || lastUlidAt(ulidTime(earliest)) > latest ? null : reachTimes(reach)
}

/**
 * The timeline as it would be if everything were committed that is known: `owners` are the owners of open streams, by stream,
 * that have answered that they are complete up to `through`.
 */
export function answered(timeline: Timeline, through: Ulid, owners: ReadonlyMap<string, string>): Timeline {
  const streams = timeline.streams.map((stream): StreamEntry => {
    const isMeant = stream.state === 'open' && owners.get(stream.id) === stream.owner
    return isMeant && stream.sealedThrough < through ? { ...stream, sealedThrough: through } : stream
  })
  return { ...timeline, streams }
}

/** The same where no stream is open, and whoever opens one stamps behind `through`. */
export function closedThrough(timeline: Timeline, through: Ulid): Timeline {
  const change = closingThrough(timeline, through)
  return change === null ? timeline : { ...applyChange(timeline, change), generation: timeline.generation }
}

/**
 * What makes every moment up to `ulid` final where no stream is open: a closed stream that says that nothing of it is there up
 * to then, which whoever writes next starts behind. Null where that is so already, a stream is open, or none can say it.
 */
export function closingThrough(timeline: Timeline, ulid: Ulid): TimelineChange | null {
  if (timeline.streams.some(({ state }) => state === 'open') || ulid <= endOf(timeline)) return null
  // Where the last event is missing, the gap would grow with it.
  const isWhole = (stream: StreamEntry): boolean => {
    const end = sealedRanges(stream).at(-1)?.lastSequence ?? 0
    return end === stream.lastSequence && (stream.shed ?? []).every(({ before }) => before !== null)
  }
  const stream = timeline.streams.findLast(isWhole)
  return stream === undefined ? null : { putStreams: [{ ...stream, sealedThrough: ulid }] }
}

function earliestOf(timeline: Timeline): Ulid | null {
  const moments = timeline.snapshots.map(({ consistentFrom }) => consistentFrom)
  return moments.length === 0 ? null : moments.reduce((a, b) => (a < b ? a : b))
}

/** The last stamp that the timeline knows of. */
function endOf(timeline: Timeline): Ulid {
  let end = totalsOf(timeline.segments).lastUlid
  for (const { sealedThrough } of timeline.streams) end = maxUlid(end, sealedThrough)
  for (const { consistentFrom } of timeline.snapshots) end = maxUlid(end, consistentFrom)
  return end
}

function maxUlid(a: Ulid, b: Ulid): Ulid {
  return a > b ? a : b
}
