import type { LateStamps, ShedRange } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'

/** `shed` with a hole behind the others: one with the last where that still goes on and no event came in between. */
export function withHole(shed: readonly ShedRange[], first: number, last: number, after: Ulid): readonly ShedRange[] {
  if (last < first) return shed
  const previous = shed.at(-1)
  const goesOn = previous !== undefined && previous.before === null && previous.lastSequence === first - 1
  if (goesOn) return [...shed.slice(0, -1), { ...previous, lastSequence: last }]
  return [...shed, { firstSequence: first, lastSequence: last, after, before: null }]
}

/**
 * What the timeline lists and what the journal shows, as one: the timeline knows when a hole ended, the journal how
 * far it went since the last commit.
 */
export function joinShed(listed: readonly ShedRange[], found: readonly ShedRange[]): readonly ShedRange[] {
  let joined = listed
  for (const { firstSequence, lastSequence, after } of found) {
    const last = joined.at(-1)
    const rest = last === undefined ? firstSequence : Math.max(firstSequence, last.lastSequence + 1)
    const later = last?.before != null && last.before > after ? last.before : after
    joined = withHole(joined, rest, lastSequence, later)
  }
  return joined
}

/** Whether the timeline lists for a stream what its journal holds. */
export function sameRanges(listed: readonly ShedRange[] = [], own: readonly ShedRange[] = []): boolean {
  return listed.length === own.length && listed.every((range, i) => sameRange(range, own[i]))
}

function sameRange({ firstSequence, lastSequence, before }: ShedRange, other: ShedRange | undefined): boolean {
  return firstSequence === other?.firstSequence && lastSequence === other.lastSequence && before === other.before
}

/** The same ranges, where `late` says that what was captured before its end comes behind moments that were reachable. */
export function shedBehind(ranges: readonly ShedRange[], late: LateStamps | undefined): readonly ShedRange[] {
  if (late === undefined) return ranges
  return ranges.map((range) => {
    const { after, before } = range
    return {
      ...range,
      after: after > late.after ? after : late.after,
      before: before === null || before > late.through ? before : late.through,
    }
  })
}
