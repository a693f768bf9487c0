import { isApart } from './interval.ts'
import { type Ulid, ulidTime } from './ulid.ts'

/** Moments that retention has made unreachable for good: each one from `from` to `through`, both inclusive. */
export interface PrunedRange {
  readonly from: Ulid
  readonly through: Ulid
  /** When; of several prunings, the last of them. */
  readonly at: Ulid
  /** When the first of several prunings was that are told as one; absent: it was one. */
  readonly since?: Ulid
  /** By what: the policy in a few words. */
  readonly by: string
}

/** Prunings that are further apart are not told as one, milliseconds: so the date of a moment is known to that. */
const TOLD_AS_ONE_MS = 90 * 86_400_000

/** The ranges, in order and apart from each other, as few as they can be: those that touch, of one policy, and of one time, are one. */
export function joinedRanges(ranges: readonly PrunedRange[]): readonly PrunedRange[] {
  const result: PrunedRange[] = []
  for (const range of ranges) {
    const last = result.at(-1)
    const both = last === undefined || isApart(last, range) ? null : asOne(last, range)
    if (both === null) result.push(range)
    else result[result.length - 1] = both
  }
  return result
}

function asOne(a: PrunedRange, b: PrunedRange): PrunedRange | null {
  const at = a.at > b.at ? a.at : b.at
  const [first, second] = [a.since ?? a.at, b.since ?? b.at]
  const since = first < second ? first : second
  if (a.by !== b.by || ulidTime(at) - ulidTime(since) > TOLD_AS_ONE_MS) return null
  return { from: a.from, through: b.through, at, ...(since === at ? {} : { since }), by: a.by }
}

/** What retention has taken out of the timeline, and what is deleted once nobody can be reading it any more. */
export interface Condemned {
  /** Of a segment, or the prefix of a snapshot. */
  readonly key: string
  readonly bytes: number
  /** When it was taken out. */
  readonly at: Ulid
  /** Absent: nobody has looked at it since, or only a moment ago. */
  readonly seen?: Waited
}

/**
 * What the clocks of those who looked at something that waits have said, in milliseconds since 1970, since the first look
 * behind which none of them went back.
 */
export interface Waited {
  readonly from: number
  readonly through: number
  /** The most that lies between two looks. */
  readonly longest: number
}

/** From where on the history of a stream is whole: what was before it was pruned. */
export interface StreamBase {
  /** The last sequence before it. */
  readonly sequence: number
  /** No event up to there is later. */
  readonly ulid: Ulid
  /** The hash chain of the stream up to there, lower-case hex. */
  readonly chain: string
}
