import { type Interval, union, without } from '../../model/interval.ts'
import type { StreamBase } from '../../model/pruned.ts'
import type { SegmentEntry, SnapshotEntry, Timeline } from '../../model/timeline.ts'
import { MIN_ULID, type Ulid } from '../../model/ulid.ts'
import { reachOf } from '../../restore/reach.ts'
import { unitsOf } from '../../restore/segments.ts'
import { reachableIntervals } from '../../restore/verdict.ts'
import type { SegmentPart } from '../run-chains.ts'
import { isNeeded, type KeptSnapshot, keptOf, type Retained } from './kept.ts'
import { END, type RetentionInput } from './promises.ts'

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
  /**
   * These, those that could be restored once every stream is complete, and the stamps of all events that go, but for what was
   * pruned before.
   */
  readonly pruned: readonly Interval[]
  /** By stream: from where on it is whole. */
  readonly bases: ReadonlyMap<string, StreamBase>
}

/** Tells what a run has of each stream. */
type PartsOf = (entry: SegmentEntry) => Promise<readonly SegmentPart[]>

/**
 * The plan for a timeline and its segments, in any order. A run goes as a whole, or not at all. `partsOf` is asked for runs that
 * go. `most`: only the oldest so many files and snapshots go, or one run; what is left is for the plan after this one.
 */
export async function planPrune(
  input: RetentionInput,
  segments: AsyncIterable<SegmentEntry> | Iterable<SegmentEntry>,
  partsOf: PartsOf = unmerged,
  most: number = Number.POSITIVE_INFINITY,
): Promise<PrunePlan> {
  const kept = keptOf(input)
  if (kept === null) return nothing(input.timeline)
  const going: SegmentEntry[] = []
  const needed = new Set<string>()
  for await (const segment of segments) {
    if (!isNeeded(segment, kept)) going.push(segment)
    else if ('run' in segment) needed.add(segment.run.key)
  }
  const whole = going.filter((segment) => !('run' in segment && needed.has(segment.run.key)))
  const staying = new Set(kept.snapshots.map(({ snapshot }) => snapshot))
  const snapshots = input.timeline.snapshots.filter((snapshot) => !staying.has(snapshot)).slice(0, most)
  const oldest = oldestOf(whole, most - snapshots.length)
  return planOf(input.timeline, kept, { segments: oldest, snapshots, bases: await basesOf(oldest, partsOf) })
}

/** The oldest of them, of a run all files, until there are `most`. */
function oldestOf(segments: readonly SegmentEntry[], most: number): readonly SegmentEntry[] {
  if (segments.length <= most) return segments
  const oldest: SegmentEntry[] = []
  for (const { entries } of unitsOf(segments).toSorted((a, b) => (a.firstUlid < b.firstUlid ? -1 : 1))) {
    if (oldest.length >= most) break
    oldest.push(...entries)
  }
  return oldest
}

/** What was taken by several plans, one after the other, as one. */
export function joinedPlans(plans: readonly [PrunePlan, ...PrunePlan[]]): PrunePlan {
  return plans.reduce((before, plan) => ({
    kept: plan.kept,
    snapshots: [...before.snapshots, ...plan.snapshots],
    segments: [...before.segments, ...plan.segments],
    bytes: before.bytes + plan.bytes,
    unreachable: union([...before.unreachable, ...plan.unreachable]),
    pruned: union([...before.pruned, ...plan.pruned]),
    bases: new Map([...before.bases, ...plan.bases]),
  }))
}

function unmerged(entry: SegmentEntry): Promise<readonly SegmentPart[]> {
  if ('run' in entry) throw new RangeError(`nobody tells what ${entry.key} has of each stream`)
  return Promise.resolve([entry])
}

function planOf(
  timeline: Timeline,
  kept: Retained,
  { segments, snapshots, bases }: Pick<PrunePlan, 'segments' | 'snapshots' | 'bases'>,
): PrunePlan {
  const going = new Set(snapshots)
  const events = union(segments.map(({ firstUlid, lastUlid }) => ({ from: firstUlid, through: lastUlid })))
  const left = after(timeline, going, events)
  const { latest } = reachOf(timeline)
  const unreachable = without(momentsOf(timeline, latest), momentsOf(left, latest))
  // Nor those that nobody reaches yet, because a stream is stalled before them.
  const gone = without(momentsOf(timeline, END), momentsOf(left, END))
  return {
    kept: kept.snapshots,
    snapshots,
    segments,
    bytes: [...segments, ...snapshots].reduce((sum, { bytes }) => sum + bytes, 0),
    unreachable,
    pruned: without(union([...gone, ...events]), timeline.pruned ?? []),
    bases,
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

/** The moments up to `latest` that snapshots lead to, whatever gaps there are: those stay what they are. */
function momentsOf(timeline: Timeline, latest: Ulid | null): readonly Interval[] {
  return union(reachableIntervals(timeline, { latest }, () => false))
}

function after(timeline: Timeline, going: ReadonlySet<SnapshotEntry>, events: readonly Interval[]): Timeline {
  const pruned = events.map((range) => ({ ...range, at: range.from, by: '' }))
  const snapshots = timeline.snapshots.filter((snapshot) => !going.has(snapshot))
  return { ...timeline, snapshots, pruned: [...(timeline.pruned ?? []), ...pruned] }
}

async function basesOf(segments: readonly SegmentEntry[], partsOf: PartsOf): Promise<PrunePlan['bases']> {
  const bases = new Map<string, StreamBase>()
  for (const segment of segments) {
    for (const { stream, lastSequence, lastUlid, chain } of await partsOf(segment)) {
      const known = bases.get(stream)
      if (known === undefined || known.sequence < lastSequence)
        bases.set(stream, { sequence: lastSequence, ulid: lastUlid, chain: chain.value })
    }
  }
  return bases
}
