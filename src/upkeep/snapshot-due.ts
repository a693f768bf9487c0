import { eventsAtMostAfter } from '../model/segment-index.ts'
import type { SnapshotEntry, Timeline } from '../model/timeline.ts'
import { lastUlidAt, type Ulid, ulidTime } from '../model/ulid.ts'
import { isAcknowledged, startOf } from '../restore/gaps.ts'
import type { Plan } from '../restore/plan.ts'
import { eventsAfter, type SegmentNodes } from '../timeline/segments.ts'

/** When whoever captures makes a snapshot by itself: whichever comes first, and never where nothing was captured since. */
export interface SnapshotPolicy {
  /** Milliseconds since the last one. Default: 24 hours. */
  readonly everyMs?: number
  /** Events since the last one, which a restore of `latest` has to replay. Default: 1,000,000. */
  readonly events?: number
}

/**
 * A million events are replayed in seconds, and a snapshot, which copies what nothing happened to, is not made so often that
 * it costs more than they did. Once a day, so that a database of few writes has one of every day, too.
 */
const SNAPSHOT_DEFAULTS: Required<SnapshotPolicy> = { everyMs: 24 * 3_600_000, events: 1_000_000 }

/** The end of time: of the last snapshot, whatever came after it. */
const LAST: Ulid = lastUlidAt(2 ** 48 - 1)
/** Each process that captures waits so much of the time and the events longer than the one before it, up to so many. */
const TURN = 1 / 4
const MOST_TURNS = 4

/** Who asks, and when. */
export interface Asking {
  /** Id of its stream. */
  readonly stream: string
  readonly nowMs: number
}

/**
 * The snapshot after which one is due that this process should make, or null. Of several that capture one store the first to
 * have begun makes it; where it does not, another does, later: nothing has to be agreed upon. Without a request, unless
 * so many events may be there that they are to be counted.
 */
export async function dueAfter(
  nodes: SegmentNodes,
  timeline: Timeline,
  { everyMs = SNAPSHOT_DEFAULTS.everyMs, events = SNAPSHOT_DEFAULTS.events }: SnapshotPolicy,
  { stream, nowMs }: Asking,
): Promise<SnapshotEntry | null> {
  const start = startOf(timeline, LAST)
  // Through a gap that nobody knows of no snapshot is made: a baseline is due.
  if (start === null || !start.except.every(isAcknowledged)) return null
  const { snapshot } = start
  const turn = turnOf(timeline, snapshot.ulid, stream)
  if (turn === null) return null
  if (nowMs - ulidTime(snapshot.consistentFrom) >= everyMs * turn) return snapshot
  if (eventsAtMostAfter(timeline.segments, snapshot.ulid) < events * turn) return null
  const found = await eventsAfter(nodes, timeline.segments, snapshot.ulid)
  return found >= events * turn ? snapshot : null
}

/** Null where this process has captured nothing since. */
function turnOf({ streams }: Timeline, since: Ulid, stream: string): number | null {
  const capturing = streams.filter(({ state, lastUlid }) => state === 'open' && lastUlid > since)
  const at = capturing.findIndex(({ id }) => id === stream)
  return at < 0 ? null : 1 + Math.min(at, MOST_TURNS) * TURN
}

/** Whether a snapshot that is due has enough in it: a stream that nobody can ask may hold back what can be reached. */
export function isWorthwhile(
  { moment, snapshot, rows }: Plan,
  { everyMs = SNAPSHOT_DEFAULTS.everyMs, events = SNAPSHOT_DEFAULTS.events }: SnapshotPolicy,
): boolean {
  return (
    (rows - snapshot.records) * 2 >= events || (ulidTime(moment) - ulidTime(snapshot.consistentFrom)) * 2 >= everyMs
  )
}

/** The snapshot from which the end of the history is made, and the events since, which a restore of it replays. */
export interface Replayed {
  readonly snapshot: SnapshotEntry
  readonly events: number
}

/** Null without a snapshot; reads a few nodes of the catalogue at most. */
export async function replayedAtTheEnd(nodes: SegmentNodes, timeline: Timeline): Promise<Replayed | null> {
  const start = startOf(timeline, LAST)
  if (start === null) return null
  const { snapshot } = start
  return { snapshot, events: await eventsAfter(nodes, timeline.segments, snapshot.ulid) }
}

/** Whether a snapshot that was due after another is wanted still: nobody else has made one since. */
export function isStillAfter(timeline: Timeline, { ulid }: SnapshotEntry): boolean {
  return startOf(timeline, LAST)?.snapshot.ulid === ulid
}
