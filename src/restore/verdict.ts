import type { KnownGap } from '../model/gap.ts'
import type { Interval } from '../model/interval.ts'
import type { Timeline } from '../model/timeline.ts'
import { lastUlidAt, lastWholeMs, type Ulid, ulidTime } from '../model/ulid.ts'
import { exceptionsOf, gapsOf } from './gaps.ts'
import { cutOffOf } from './pruned.ts'
import type { Reach } from './reach.ts'

/** A gap as it is told. Times are RFC 3339. */
export interface GapReport extends KnownGap {
  readonly interval: { readonly from: string; readonly to: string }
}

/** Why a moment cannot be reached. */
export interface Refusal {
  readonly code: string
  readonly message: string
  readonly hint: string
}

/**
 * Whether a moment can be restored. `yes`: everything that happened until then is in the state. `except`: everything but
 * what the gaps took; a restore goes on where all of them are acknowledged, and refuses otherwise. `no`: because of
 * `reason`, with which a restore refuses.
 */
export interface Verdict {
  readonly verdict: 'yes' | 'except' | 'no'
  /** What it was resolved to; null where it was not. `time` is RFC 3339, of the millisecond. */
  readonly moment: { readonly label: string; readonly ulid: Ulid | null; readonly time: string | null }
  readonly gaps: readonly GapReport[]
  readonly reason: Refusal | null
  /** Where the verdict is not `yes`: the nearest whole milliseconds for which it is, RFC 3339, as they can be typed. */
  readonly nearest: { readonly before: string | null; readonly after: string | null }
}

/** A gap with its times. */
export function gapReport(gap: KnownGap): GapReport {
  return { ...gap, interval: { from: timeOf(gap.afterUlid), to: timeOf(gap.beforeUlid) } }
}

/**
 * The moments that can be restored: those for which a snapshot exists that none of the gaps in question touches. Without
 * gaps (`counts` is always true): those whose verdict is `yes`. In order, apart from each other.
 */
export function reachableIntervals(
  timeline: Timeline,
  { latest }: Pick<Reach, 'latest'>,
  counts: (gap: KnownGap) => boolean = () => true,
): readonly Interval[] {
  if (latest === null) return []
  const gaps = gapsOf(timeline)
  const found: Interval[] = []
  for (const snapshot of timeline.snapshots) {
    // What was pruned may be behind what is reachable: a stream is stalled before it.
    const cutOff = cutOffOf(timeline.pruned, snapshot) ?? latest
    // A gap begins to touch behind the stamp before it: what is inside a snapshot begins before the snapshot does.
    const through = exceptionsOf(timeline, snapshot, latest, gaps)
      .filter(counts)
      .reduce((end, { afterUlid }) => (afterUlid < end ? afterUlid : end), cutOff < latest ? cutOff : latest)
    if (snapshot.consistentFrom <= through) found.push({ from: snapshot.consistentFrom, through })
  }
  return joined(found)
}

function joined(intervals: readonly Interval[]): readonly Interval[] {
  const result: Interval[] = []
  for (const interval of intervals.toSorted((a, b) => (a.from < b.from ? -1 : 1))) {
    const last = result.at(-1)
    if (last === undefined || interval.from > last.through) result.push(interval)
    else if (interval.through > last.through) result[result.length - 1] = { ...last, through: interval.through }
  }
  return result
}

/** The first and the last millisecond that, typed as moments, lie in the interval; null where none does. */
export function wholeMilliseconds({
  from,
  through,
}: Interval): { readonly first: number; readonly last: number } | null {
  const [first, last] = [ulidTime(from), lastWholeMs(through)]
  return first <= last && lastUlidAt(last) <= through ? { first, last } : null
}

/** The nearest whole milliseconds in the intervals, on either side of a stamp. */
export function nearestTo(ulid: Ulid, intervals: readonly Interval[]): Verdict['nearest'] {
  let before: number | null = null
  let after: number | null = null
  for (const interval of intervals) {
    const range = wholeMilliseconds(interval)
    if (range === null) continue
    const { first, last } = range
    // The last millisecond that ends before the stamp, and the first that ends behind it.
    const ended = Math.min(last, ulidTime(ulid) - 1)
    if (ended >= first) before = ended
    const next = Math.max(first, ulid < lastUlidAt(ulidTime(ulid)) ? ulidTime(ulid) : ulidTime(ulid) + 1)
    if (after === null && next <= last) after = next
  }
  const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString())
  return { before: iso(before), after: iso(after) }
}

function timeOf(ulid: Ulid): string {
  return new Date(ulidTime(ulid)).toISOString()
}
