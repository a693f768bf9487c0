import type { SegmentTree } from './timeline.ts'
import { MIN_ULID, type Ulid } from './ulid.ts'

/** What an index has, all in all. */
export interface SegmentTotals {
  readonly segments: number
  readonly events: number
  readonly bytes: number
  /** `MIN_ULID` where there is none. */
  readonly lastUlid: Ulid
}

/** At least the events that are after a ULID: all of what reaches beyond it. Costs nothing, as below. */
export function eventsAtMostAfter({ nodes, tail }: SegmentTree, ulid: Ulid): number {
  const beyond = [...nodes, ...tail].filter(({ lastUlid }) => lastUlid > ulid)
  return beyond.reduce((sum, { events }) => sum + events, 0)
}

/** Costs nothing, however much there is. */
export function totalsOf({ nodes, tail }: SegmentTree): SegmentTotals {
  const parts: readonly SegmentTotals[] = [...nodes, ...tail.map((entry) => ({ ...entry, segments: 1 }))]
  return parts.reduce(
    (sum, { segments, events, bytes, lastUlid }) => ({
      segments: sum.segments + segments,
      events: sum.events + events,
      bytes: sum.bytes + bytes,
      lastUlid: lastUlid > sum.lastUlid ? lastUlid : sum.lastUlid,
    }),
    { segments: 0, events: 0, bytes: 0, lastUlid: MIN_ULID },
  )
}
