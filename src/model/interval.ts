import { MIN_ULID, previousUlid, type Ulid } from './ulid.ts'

/** Moments between two stamps, both inclusive. */
export interface Interval {
  readonly from: Ulid
  readonly through: Ulid
}

/** The intervals as few as they can be, in order; those that overlap or touch are one. */
export function union(intervals: readonly Interval[]): readonly Interval[] {
  const result: Interval[] = []
  for (const one of intervals.toSorted((a, b) => (a.from < b.from ? -1 : 1))) {
    const last = result.at(-1)
    if (last === undefined || isApart(last, one)) result.push(one)
    else if (one.through > last.through) result[result.length - 1] = { ...last, through: one.through }
  }
  return result
}

/** What of `intervals` is in none of `others`; both in order, and apart from each other. */
export function without(intervals: readonly Interval[], others: readonly Interval[]): readonly Interval[] {
  const result: Interval[] = []
  for (const { from, through } of intervals) {
    let rest: Ulid | null = from
    for (const other of others) {
      if (rest === null || other.through < rest || other.from > through) continue
      if (other.from > rest) result.push({ from: rest, through: previousUlid(other.from) })
      rest = other.through < through ? nextUlid(other.through) : null
    }
    if (rest !== null) result.push({ from: rest, through })
  }
  return result
}

/** Whether there is something between an interval and one that begins later. */
export function isApart(a: Interval, b: Interval): boolean {
  return b.from > MIN_ULID && previousUlid(b.from) > a.through
}

const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** The ULID just after `ulid` in order, which must not be the last. */
function nextUlid(ulid: Ulid): Ulid {
  const end = /[^Z]Z*$/.exec(ulid)?.index ?? 0
  const next = DIGITS.charAt(DIGITS.indexOf(ulid.charAt(end)) + 1)
  return ulid.slice(0, end) + next + '0'.repeat(ulid.length - end - 1)
}
