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
    return [...timeline.streams.flatMap(({ id }) => this.#holesOf(timeline, id)), ...this.losses]
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
    const starts = before.snapshots.filter(({ consistentFrom }) => consistentFrom <= ulid)
    const touched = starts.map((start) => this.touching(before, start, at))
    const clean = touched.some((gaps) => gaps.length === 0)
    const known = touched.findLast((gaps) => gaps.every((gap) => this.isAcknowledged(gap)))
    if (!clean && known !== undefined) this.#inside.set(ulid, known)
  }

  /** The verdict on a millisecond, and whether a restore goes on. */
  verdict(timeline: Timeline, at: number): { verdict: 'yes' | 'except' | 'no'; goesOn: boolean } {
    const no = { verdict: 'no', goesOn: false } as const
    const starts = timeline.snapshots.filter(({ consistentFrom }) => ulidTime(consistentFrom) <= at)
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
