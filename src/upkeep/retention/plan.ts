import { type Interval, union, without } from '../../model/interval.ts'
import type { StreamBase } from '../../model/pruned.ts'
import type { SegmentEntry, SnapshotEntry, Timeline } from '../../model/timeline.ts'
import { MIN_ULID, type Ulid } from '../../model/ulid.ts'
import { reachOf } from '../../restore/reach.ts'
import { reachableIntervals } from '../../restore/verdict.ts'
import { isNeeded, type KeptSnapshot, keptOf, type Retained } from './kept.ts'
import type { RetentionInput } from './promises.ts'

/** What a pruning would take: a value, computed without reading any data. */
export interface PrunePlan {
  /** What stays of the snapshots, and why. */
  readonly kept: readonly KeptSnapshot[]
  /** What goes. */
  readonly snapshots: readonly SnapshotEntry[]
  readonly segments: readonly SegmentEntry[]
  /** Of what goes, as stored. */
  readonly bytes: number
  /** Moments that can be restored now, and not afterwards: in order, apart from each other. */
  readonly unreachable: readonly Interval[]
  /** The same with the stamps of all events that go, but for what was pruned before. */
  readonly pruned: readonly Interval[]
  /** By stream: from where on it is whole. */
  readonly bases: ReadonlyMap<string, StreamBase>
}

/** The plan for a timeline and its segments, in any order. */
export async function planPrune(
  input: RetentionInput,
  segments: AsyncIterable<SegmentEntry> | Iterable<SegmentEntry>,
): Promise<PrunePlan> {
  const kept = keptOf(input)
  if (kept === null) return nothing(input.timeline)
  const going: SegmentEntry[] = []
  for await (const segment of segments) if (!isNeeded(segment, kept)) going.push(segment)
  return planOf(input.timeline, kept, going)
}

function planOf(timeline: Timeline, kept: Retained, segments: readonly SegmentEntry[]): PrunePlan {
  const staying = new Set(kept.snapshots.map(({ snapshot }) => snapshot))
  const snapshots = timeline.snapshots.filter((snapshot) => !staying.has(snapshot))
  const events = union(segments.map(({ firstUlid, lastUlid }) => ({ from: firstUlid, through: lastUlid })))
  const unreachable = without(momentsOf(timeline), momentsOf(after(timeline, staying, events)))
  return {
    kept: kept.snapshots,
    snapshots,
    segments,
    bytes: [...segments, ...snapshots].reduce((sum, { bytes }) => sum + bytes, 0),
    unreachable,
    pruned: without(union([...unreachable, ...events]), timeline.pruned ?? []),
    bases: basesOf(segments),
  }
}

/** Whether nothing would go. */
export function isEmptyPlan({ segments, snapshots }: PrunePlan): boolean {
  return segments.length === 0 && snapshots.length === 0
}

/** Snapshots that remain in the place of something that goes: it is made from them afterwards, or not at all. */
export function restedOn({ kept, segments, snapshots }: PrunePlan): readonly SnapshotEntry[] {
  let before: Ulid = MIN_ULID
  const rested: SnapshotEntry[] = []
  for (const { snapshot } of kept) {
    const [after, through] = [before, snapshot.ulid]
    const isBetween = segments.some(({ firstUlid, lastUlid }) => lastUlid > after && firstUlid <= through)
    if (isBetween || snapshots.some(({ ulid }) => ulid > after && ulid < through)) rested.push(snapshot)
    before = snapshot.ulid
  }
  return rested
}

function nothing({ snapshots }: Timeline): PrunePlan {
  const kept = snapshots.map((snapshot) => ({ snapshot, why: ['no snapshot is whole'] }))
  return { kept, snapshots: [], segments: [], bytes: 0, unreachable: [], pruned: [], bases: new Map() }
}

/** Whatever gaps there are: those stay what they are. */
function momentsOf(timeline: Timeline): readonly Interval[] {
  return union(reachableIntervals(timeline, reachOf(timeline), () => false))
}

function after(timeline: Timeline, staying: ReadonlySet<SnapshotEntry>, events: readonly Interval[]): Timeline {
  const pruned = events.map((range) => ({ ...range, at: range.from, by: '' }))
  const snapshots = timeline.snapshots.filter((snapshot) => staying.has(snapshot))
  return { ...timeline, snapshots, pruned: [...(timeline.pruned ?? []), ...pruned] }
}

function basesOf(segments: readonly SegmentEntry[]): ReadonlyMap<string, StreamBase> {
  const bases = new Map<string, StreamBase>()
  for (const { stream, lastSequence, lastUlid, chain } of segments) {
    const known = bases.get(stream)
    if (known === undefined || known.sequence < lastSequence)
      bases.set(stream, { sequence: lastSequence, ulid: lastUlid, chain: chain.value })
  }
  return bases
}
