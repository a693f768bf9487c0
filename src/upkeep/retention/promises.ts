import type { SnapshotEntry, Timeline } from '../../model/timeline.ts'
import { firstUlidAt, lastUlidAt, MIN_ULID, previousUlid, type Ulid, ulidTime } from '../../model/ulid.ts'
import { exceptionsOf, gapsOf } from '../../restore/gaps.ts'
import { reachOf } from '../../restore/reach.ts'
import { periodsIn, TIERS } from './periods.ts'
import type { Rules } from './policy.ts'

/** Moments that must stay reachable, each one from `from` to `through`, both inclusive, and why. */
export interface Need {
  readonly from: Ulid
  readonly through: Ulid
  readonly why: string
}

/** What promises are reckoned from. */
export interface RetentionInput {
  readonly timeline: Timeline
  readonly rules: Rules
  readonly nowMs: number
  /** Prefixes of snapshots that were read and are damaged: no promise rests on one. */
  readonly damaged: Pick<ReadonlySet<string>, 'has'>
}

/** After every event. */
export const END: Ulid = lastUlidAt(2 ** 48 - 1)

/**
 * The moment that ages count from: the newest event, which a stopped capture leaves where it is; not later than now, since a
 * clock that was ahead for a while may have stamped it.
 */
function anchorOf({ timeline: { streams, snapshots }, nowMs }: RetentionInput): Ulid {
  let newest = streams.reduce((last, { lastUlid }) => (lastUlid > last ? lastUlid : last), MIN_ULID)
  if (newest === MIN_ULID) newest = snapshots.at(-1)?.ulid ?? MIN_ULID
  const now = lastUlidAt(nowMs)
  return newest < now ? newest : now
}

/**
 * Snapshots that a promise can rest on, oldest first: whole, without a gap that touches them, not from the future. The last
 * of them is the floor of everything: it stays, with all behind it.
 */
export function goodSnapshots({ timeline, nowMs, damaged }: RetentionInput): readonly SnapshotEntry[] {
  const gaps = gapsOf(timeline)
  const now = lastUlidAt(nowMs)
  return timeline.snapshots
    .filter(({ prefix, consistentFrom }) => !damaged.has(prefix) && consistentFrom <= now)
    .filter((snapshot) => exceptionsOf(timeline, snapshot, snapshot.consistentFrom, gaps).length === 0)
    .sort((a, b) => (a.consistentFrom < b.consistentFrom ? -1 : 1))
}

/** Everything that is promised; null where no snapshot could bear it, and so nothing may go. */
export function needsOf(input: RetentionInput): readonly Need[] | null {
  const { timeline, rules } = input
  const good = goodSnapshots(input)
  const newest = good.at(-1)
  if (newest === undefined) return null
  const anchor = anchorOf(input)
  const needs: Need[] = [{ from: newest.consistentFrom, through: END, why: 'newest' }]
  // A stream that nobody can ask may stop what is reachable before that: then it is all that can be restored now.
  const { latest } = reachOf(timeline)
  if (latest !== null && latest < newest.consistentFrom)
    needs.push({ from: latest, through: latest, why: 'last reachable' })
  if (rules.windowMs !== null) needs.push({ from: before(anchor, rules.windowMs), through: END, why: 'window' })
  for (const { name, ulid } of timeline.marks ?? []) needs.push({ from: ulid, through: ulid, why: `mark ${name}` })
  for (const { id, from, through, until } of timeline.holds ?? [])
    if (until === null || until >= anchor) needs.push({ from, through, why: `hold ${id}` })
  needs.push(...restoring(timeline), ...bySnapshot(good, rules, anchor))
  return needs
}

/** What a restore in place that was broken off is finished with, and taken back with. */
function restoring({ epochs }: Timeline): readonly Need[] {
  return epochs.flatMap(({ restoring, restored, startedAt }) => {
    if (restoring === undefined) return []
    const moments = [...(restored === null ? [] : [restored]), previousUlid(startedAt)]
    return moments.map((moment) => ({ from: moment, through: moment, why: 'restore under way' }))
  })
}

/** The moments of single snapshots: by calendar, by number and by age. */
function bySnapshot(good: readonly SnapshotEntry[], rules: Rules, anchor: Ulid): readonly Need[] {
  const own = ({ consistentFrom }: SnapshotEntry, why: string): Need => ({
    from: consistentFrom,
    through: consistentFrom,
    why,
  })
  const newestFirst = good.toReversed()
  const needs = newestFirst.slice(0, rules.count).map((snapshot) => own(snapshot, 'count'))
  if (rules.maxAgeMs !== null) {
    const oldest = before(anchor, rules.maxAgeMs)
    needs.push(...good.filter((one) => one.consistentFrom >= oldest).map((one) => own(one, 'maxAge')))
  }
  const periodOf = periodsIn(rules.timeZone)
  for (const tier of TIERS) {
    const periods = new Map<string, SnapshotEntry>()
    for (const snapshot of newestFirst) {
      const period = periodOf(tier, ulidTime(snapshot.consistentFrom))
      if (periods.size >= (rules.tiers.get(tier) ?? 0)) break
      if (!periods.has(period)) periods.set(period, snapshot)
    }
    for (const snapshot of periods.values()) needs.push(own(snapshot, tier))
  }
  return needs
}

function before(anchor: Ulid, ms: number): Ulid {
  return firstUlidAt(Math.max(0, ulidTime(anchor) - ms))
}
