import type { SnapshotEntry, Timeline } from '../../src/model/timeline.ts'
import { ulidTime } from '../../src/model/ulid.ts'
import { entryOf, type World } from './reach-world.ts'

/** What is missing, by the truth: later than `from`, not later than `to`, both milliseconds. */
export interface TrueGap {
  readonly stream: string
  readonly first: number
  readonly last: number | null
  readonly from: number
  readonly to: number
}

interface Note {
  readonly stream: string
  readonly first: number
  readonly last: number | null
  readonly at: number
}

/**
 * What can be restored, told from what the test did and from the truth, and from nothing that the engine concludes. Of the
 * timeline it takes only what was written there as data: where streams, snapshots and segments are.
 */
export class Oracle {
  readonly #world: World
  /** Losses that were declared or noticed, whether anything was lost or not. */
  readonly losses: TrueGap[] = []
  readonly #notes: Note[] = []
  /** By the ULID of a snapshot that was made from history: what was missing in it. */
  readonly #inside = new Map<string, readonly TrueGap[]>()

  constructor(world: World) {
    this.#world = world
  }

  /** The end of a stream is lost from now on. */
  loseEnd(timeline: Timeline, stream: string): void {
    const { lastSequence, sealedThrough } = entryOf(timeline, stream)
    const from = ulidTime(sealedThrough)
    this.losses.push({ stream, first: lastSequence + 1, last: null, from, to: Math.max(from, this.#world.now) })
  }

  acknowledge({ stream, first, last }: TrueGap): void {
    this.#notes.push({ stream, first, last, at: this.#world.now })
  }

  isAcknowledged(gap: TrueGap): boolean {
    return this.#notes.some(({ stream, first, last, at }) => {
      if (stream !== gap.stream) return false
      if (gap.last === null) return last === null && first === gap.first && gap.to <= at
      return last !== null && first <= gap.first && last >= gap.last
    })
  }

  /** Every gap: the runs of lost writes that the store once had, and the declared losses. */
  gaps(timeline: Timeline): readonly TrueGap[] {
    const all = [...timeline.streams.flatMap(({ id }) => this.#holesOf(timeline, id)), ...this.losses]
    return all.filter((gap) => !isPrunedGap(timeline, gap))
  }

  #holesOf(timeline: Timeline, stream: string): TrueGap[] {
    const { openedAt, sealedThrough, lastSequence } = entryOf(timeline, stream)
    const writes = this.#world.written.filter((write) => write.stream === stream && write.sequence <= lastSequence)
    const holes: TrueGap[] = []
    let from = ulidTime(openedAt)
    for (let i = 0; i < writes.length; i++) {
      const write = writes[i]
      if (write === undefined) break
      if (!write.lost) {
        from = write.at
        continue
      }
      const first = write.sequence
      while (writes[i + 1]?.lost === true) i++
      const next = writes[i + 1]
      holes.push({ stream, first, last: writes[i]?.sequence ?? first, from, to: next?.at ?? ulidTime(sealedThrough) })
    }
    return holes
  }

  /** The gaps that touch the state of a millisecond that is made from a snapshot. */
  touching(timeline: Timeline, { ulid }: SnapshotEntry, at: number): readonly TrueGap[] {
    const inside = this.#inside.get(ulid) ?? []
    return [...inside, ...this.gaps(timeline).filter(({ from, to }) => to > ulidTime(ulid) && from <= at)]
  }

  /** Notes what is missing in a snapshot that was made from history. */
  madeFromHistory(before: Timeline, ulid: string): void {
    const at = ulidTime(ulid)
    const starts = before.snapshots.filter((start) => start.consistentFrom <= ulid && !isCutOff(before, start, at))
    const touched = starts.map((start) => this.touching(before, start, at))
    const clean = touched.some((gaps) => gaps.length === 0)
    const known = touched.findLast((gaps) => gaps.every((gap) => this.isAcknowledged(gap)))
    if (!clean && known !== undefined) this.#inside.set(ulid, known)
  }

  /** Whether a millisecond could be made once, and what it would be made from or of was pruned. */
  wasPruned({ snapshots, pruned = [] }: Timeline, at: number): boolean {
    const isWithin = pruned.some(({ from, through }) => ulidTime(from) <= at && ulidTime(through) > at)
    const start = snapshots.some(({ consistentFrom }) => ulidTime(consistentFrom) <= at)
    return isWithin && !start
  }

  /** The verdict on a millisecond, and whether a restore goes on. */
  verdict(timeline: Timeline, at: number): { verdict: 'yes' | 'except' | 'no'; goesOn: boolean } {
    const no = { verdict: 'no', goesOn: false } as const
    const starts = timeline.snapshots.filter(
      (start) => ulidTime(start.consistentFrom) <= at && !isCutOff(timeline, start, at),
    )
    if (starts.length === 0) return no
    const least = Math.min(...timeline.snapshots.map(({ consistentFrom }) => ulidTime(consistentFrom)))
    const open = timeline.streams.filter(({ state }) => state === 'open')
    const end = Math.min(...open.map(({ sealedThrough }) => ulidTime(sealedThrough) - 1))
    if (open.length > 0 ? at > Math.max(end, least - 1) : at > this.#world.now) return no
    const touched = starts.map((start) => this.touching(timeline, start, at))
    if (touched.some((gaps) => gaps.length === 0)) return { verdict: 'yes', goesOn: true }
    return { verdict: 'except', goesOn: touched.some((gaps) => gaps.every((gap) => this.isAcknowledged(gap))) }
  }
}

/** Whether events behind a snapshot, and not behind a millisecond, were pruned. */
function isCutOff({ pruned = [] }: Timeline, { consistentFrom }: SnapshotEntry, at: number): boolean {
  return pruned.some(({ from, through }) => through >= consistentFrom && ulidTime(from) <= at)
}

/** Whether a gap lies in what was pruned, and touches no state that can still be made. */
function isPrunedGap(timeline: Timeline, { from, to }: TrueGap): boolean {
  const lies = timeline.pruned?.some((range) => ulidTime(range.from) <= to && ulidTime(range.through) >= from)
  if (lies !== true) return false
  return !timeline.snapshots.some((start) => ulidTime(start.ulid) < to && !isCutOff(timeline, start, from))
}
