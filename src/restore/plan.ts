import { TidemarkError } from '../base/errors.ts'
import type { KnownGap } from '../model/gap.ts'
import type { SegmentEntry, SnapshotEntry, Timeline } from '../model/timeline.ts'
import { type Ulid, ulidTime } from '../model/ulid.ts'
import { type SegmentNodes, segmentsBetween } from '../timeline/segments.ts'
import { gapError, isAcknowledged, startOf } from './gaps.ts'

/** What a restore will read: a value, computed from the catalogue without reading any data. */
export interface Plan {
  /** The state up to and including this stamp. */
  readonly moment: Ulid
  readonly snapshot: SnapshotEntry
  /** Those with events after the snapshot and not after the moment, oldest first. */
  readonly segments: readonly SegmentEntry[]
  /** Of the snapshot and of the segments, as stored. */
  readonly bytes: number
  /** Records of the snapshot and events of the segments: what passes through the merge. */
  readonly rows: number
  /** The acknowledged gaps that touch the state: what they did is missing in it. */
  readonly except: readonly KnownGap[]
  /** Entries that the ledger of erasures had: what was erased since may be in these files, or they are gone. */
  readonly erasures: number
}

/**
 * The plan for `moment`, which must be reachable: the nearest snapshot at or before it that no gap touches, and the
 * segments from there, which `nodes` are read for. Errors: as `startOfPlan`.
 */
export async function planRestore(nodes: SegmentNodes, timeline: Timeline, moment: Ulid): Promise<Plan> {
  const { snapshot, except } = startOfPlan(timeline, moment)
  const segments = await segmentsBetween(nodes, timeline.segments, snapshot.ulid, moment)
  return {
    moment,
    snapshot,
    segments,
    bytes: segments.reduce((sum, { bytes }) => sum + bytes, snapshot.bytes),
    rows: segments.reduce((sum, { events }) => sum + events, snapshot.records),
    except,
    erasures: timeline.erasures.length,
  }
}

/**
 * What a plan begins with; nothing is read for it. Errors: `MOMENT_UNREACHABLE` without a snapshot; `HISTORY_GAP` where every way
 * leads through a gap that nobody has acknowledged.
 */
export function startOfPlan(timeline: Timeline, moment: Ulid): Pick<Plan, 'snapshot' | 'except'> {
  const start = startOf(timeline, moment)
  if (start === null) throw noSnapshot(moment)
  const alarm = start.except.find((gap) => !isAcknowledged(gap))
  if (alarm !== undefined) throw gapError(alarm)
  return start
}

/** The error for a moment that no snapshot leads to. */
export function noSnapshot(moment: Ulid): TidemarkError {
  return new TidemarkError(
    'MOMENT_UNREACHABLE',
    `There is no snapshot that ${iso(moment)} can be made from. Nothing was changed.`,
    { hint: 'Run `tidemark status` to see which moments are reachable.' },
  )
}

function iso(ulid: Ulid): string {
  return new Date(ulidTime(ulid)).toISOString()
}
