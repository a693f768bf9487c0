import { LIMITS } from '../../base/limits.ts'
import type { SegmentEntry, SegmentFile } from '../../model/timeline.ts'
import { firstUlidAt, type Ulid, ulidTime } from '../../model/ulid.ts'

/** Width of the windows of each level from 1 on, milliseconds: 5 minutes, an hour, a day, 30 days. */
const WINDOWS: readonly number[] = [300_000, 3_600_000, 86_400_000, 2_592_000_000]

/** The beginning of the window of the highest level that a moment is in: what begins before it is in windows that are over, at every level. */
export function openSince(complete: Ulid): Ulid {
  const width = WINDOWS.at(-1) ?? 1
  return firstUlidAt(Math.floor(ulidTime(complete) / width) * width)
}

/** Bounds of one merge. */
export interface MergeBounds {
  /** Segments and runs that are merged at once. */
  readonly inputs: number
  /** Their events together: who verifies a run has 83 bytes of each in memory. */
  readonly events: number
  /** Their bytes together, as stored. */
  readonly bytes: number
}

const BOUNDS: MergeBounds = { inputs: 256, events: LIMITS.runEvents / 2, bytes: 256 * 1024 * 1024 }

/** Bytes of a stored event above which a segment is left as it is: there is nothing to gain, and much to hold in memory. */
const LARGE_EVENT = 1024 * 1024

/** A segment of level 0, or all files of a run in the order of their items. */
export type MergeUnit = readonly SegmentEntry[]

/** What is merged into one run next: a value, computed without reading any data. */
export interface CompactionPlan {
  /** Of the run. */
  readonly level: number
  /** Oldest first. */
  readonly units: readonly MergeUnit[]
}

/** Events of a unit, and its bytes as stored. */
interface Size {
  readonly events: number
  readonly bytes: number
}

/**
 * The next merge, or null where there is nothing to gain: of the lowest level that has one, the oldest. Only windows that are
 * over are merged: `complete` is a moment up to which nothing can be added any more. A window has what begins in it. The
 * same segments, in any order, give the same plan.
 */
export function planCompaction(
  segments: readonly SegmentEntry[],
  complete: Ulid,
  bounds: MergeBounds = BOUNDS,
): CompactionPlan | null {
  const units = unitsOf(segments)
  for (const [i, width] of WINDOWS.entries()) {
    const level = i + 1
    const lower = units.filter((unit) => levelOf(unit) < level && isMergeable(unit))
    const windows = Map.groupBy(lower, (unit) => Math.floor(beginOf(unit) / width))
    for (const [window, inside] of [...windows].sort(([a], [b]) => a - b)) {
      if ((window + 1) * width > ulidTime(complete)) continue
      const found = groupsOf(inside, bounds).find((group) => group.length > 1)
      if (found !== undefined) return { level, units: found }
    }
  }
  return null
}

/** Segments and runs, oldest first; files of a run in the order of their keys, which is that of their items. */
function unitsOf(segments: readonly SegmentEntry[]): readonly MergeUnit[] {
  const runs = new Map<string, SegmentEntry[]>()
  const units: SegmentEntry[][] = []
  for (const entry of segments) {
    const known = 'run' in entry ? runs.get(entry.run.key) : undefined
    if (known !== undefined) {
      known.push(entry)
      continue
    }
    const unit = [entry]
    units.push(unit)
    if ('run' in entry) runs.set(entry.run.key, unit)
  }
  for (const unit of units) unit.sort((a, b) => (a.key < b.key ? -1 : 1))
  const ordered = units.map((unit) => ({ unit, order: `${firstUlidOf(unit)} ${unit[0]?.key}` }))
  return ordered.sort((a, b) => (a.order < b.order ? -1 : 1)).map(({ unit }) => unit)
}

function firstUlidOf(unit: readonly SegmentFile[]): Ulid {
  return unit.reduce((least, { firstUlid }) => (firstUlid < least ? firstUlid : least), 'Z')
}

function beginOf(unit: MergeUnit): number {
  return ulidTime(firstUlidOf(unit))
}

function levelOf(unit: MergeUnit): number {
  return unit[0]?.level ?? 0
}

function isMergeable(unit: MergeUnit): boolean {
  const events = unit.reduce((sum, entry) => sum + entry.events, 0)
  return events > 0 && sizeOf(unit).bytes / events <= LARGE_EVENT
}

/** Of a segment with erased events, these count too: their rows in the chain are checked like the others. */
function sizeOf(unit: MergeUnit): Size {
  return unit.reduce(
    (sum, entry) => ({
      events: sum.events + ('run' in entry ? entry.events : entry.lastSequence - entry.firstSequence + 1),
      bytes: sum.bytes + entry.bytes,
    }),
    { events: 0, bytes: 0 },
  )
}

/** Splits units, oldest first, where one merge would have too much. */
function groupsOf(units: readonly MergeUnit[], bounds: MergeBounds): readonly (readonly MergeUnit[])[] {
  const groups: MergeUnit[][] = []
  let [group, events, bytes]: [MergeUnit[], number, number] = [[], 0, 0]
  for (const unit of units) {
    const size = sizeOf(unit)
    const fits =
      group.length < bounds.inputs && events + size.events <= bounds.events && bytes + size.bytes <= bounds.bytes
    if (!fits && group.length > 0) {
      groups.push(group)
      ;[group, events, bytes] = [[], 0, 0]
    }
    group.push(unit)
    events += size.events
    bytes += size.bytes
  }
  return [...groups, group]
}
