import type { SegmentEntry, SnapshotEntry, Timeline } from '../../model/timeline.ts'
import type { Ulid } from '../../model/ulid.ts'
import { exceptionsOf, gapsOf } from '../../restore/gaps.ts'
import { isCutOff } from '../../restore/pruned.ts'
import { goodSnapshots, type Need, needsOf, type RetentionInput } from './promises.ts'

/** A snapshot that stays, and why. */
export interface KeptSnapshot {
  readonly snapshot: SnapshotEntry
  readonly why: readonly string[]
}

/** Events that are needed: those in `(after, through]`. */
export interface NeededEvents {
  readonly after: Ulid
  readonly through: Ulid
}

/** What stays. */
export interface Retained {
  /** By `ulid`, ascending. */
  readonly snapshots: readonly KeptSnapshot[]
  /** In order, apart from each other. */
  readonly events: readonly NeededEvents[]
}

/** What must stay for every promise; null where everything must. */
export function keptOf(input: RetentionInput): Retained | null {
  const needs = needsOf(input)
  if (needs === null) return null
  const { timeline, damaged } = input
  const starts = new Starts(input)
  const why = new Map<SnapshotEntry, Set<string>>()
  const events: NeededEvents[] = []
  const keep = (snapshot: SnapshotEntry, through: Ulid, reason: string): void => {
    why.set(snapshot, (why.get(snapshot) ?? new Set()).add(reason))
    const { ulid, consistentFrom } = snapshot
    events.push({ after: ulid, through: through > consistentFrom ? through : consistentFrom })
  }
  for (const need of needs) {
    for (const snapshot of starts.of(need)) keep(snapshot, need.through, need.why)
  }
  // Nothing goes on the strength of damage.
  for (const snapshot of timeline.snapshots)
    if (damaged.has(snapshot.prefix)) keep(snapshot, snapshot.consistentFrom, 'damaged')
  const snapshots = timeline.snapshots.flatMap((snapshot) => {
    const reasons = why.get(snapshot)
    return reasons === undefined ? [] : [{ snapshot, why: [...reasons] }]
  })
  return { snapshots, events: joined(events) }
}

/** Whether a segment has events that are needed. */
export function isNeeded(
  { firstUlid, lastUlid }: Pick<SegmentEntry, 'firstUlid' | 'lastUlid'>,
  { events }: Retained,
): boolean {
  return events.some(({ after, through }) => lastUlid > after && firstUlid <= through)
}

/** Finds the snapshots that moments are made from. */
class Starts {
  readonly #timeline: Timeline
  readonly #gaps: ReturnType<typeof gapsOf>
  readonly #good: ReadonlySet<SnapshotEntry>
  readonly #sound: readonly SnapshotEntry[]

  constructor(input: RetentionInput) {
    const { timeline, damaged } = input
    this.#timeline = timeline
    this.#gaps = gapsOf(timeline)
    this.#good = new Set(goodSnapshots(input))
    this.#sound = timeline.snapshots.filter(({ prefix }) => !damaged.has(prefix))
  }

  /**
   * The snapshot that the first moment is made from, and every one within: they keep restores short, and behind a gap they are
   * what the moments are made from.
   */
  of({ from, through }: Need): readonly SnapshotEntry[] {
    const within = this.#sound.filter(({ consistentFrom }) => consistentFrom > from && consistentFrom <= through)
    const usable = this.#sound.filter(
      (snapshot) => snapshot.consistentFrom <= from && !isCutOff(this.#timeline.pruned, snapshot, from),
    )
    const clean = usable.findLast((one) => exceptionsOf(this.#timeline, one, from, this.#gaps).length === 0)
    if (clean !== undefined) return [clean, ...within]
    // A gap is before the moment, whatever it is made from: what it is made from when the gap is acknowledged stays,
    // and so does the last snapshot that none touches.
    const good = usable.findLast((one) => this.#good.has(one))
    const last = usable.at(-1)
    return [...new Set([...(good === undefined ? [] : [good]), ...(last === undefined ? [] : [last]), ...within])]
  }
}

function joined(events: readonly NeededEvents[]): readonly NeededEvents[] {
  const result: NeededEvents[] = []
  for (const one of events.toSorted((a, b) => (a.after < b.after ? -1 : 1))) {
    const last = result.at(-1)
    if (last === undefined || one.after > last.through) result.push(one)
    else if (one.through > last.through) result[result.length - 1] = { ...last, through: one.through }
  }
  return result
}
