/** A run of frames whose events are not in the store yet. Their sequences are gapless. */
interface FrameRun {
  readonly firstFrame: number
  firstSequence: number
  lastSequence: number
  /** Of the events. */
  bytes: number
  /** Of the frames up to the last one, and of those without events before them. */
  held: number
  /** Since when its first event has waited, milliseconds since the epoch. */
  since: number
}

/** What a durable frame adds. */
export interface FrameSize {
  readonly events: number
  /** Of the events. */
  readonly bytes: number
  /** Of the whole frame. */
  readonly length: number
  /** Time of the first event, milliseconds since the epoch. */
  readonly since: number
}

/** What waits for the sealer. */
export interface Pending {
  readonly events: number
  readonly bytes: number
  /** Milliseconds since the oldest event, 0 where there is none. */
  readonly ageMs: number
  /** Bytes that the journal takes and that cannot go before the store has the events: what the bound is about. */
  readonly heldBytes: number
}

/** Runs are joined beyond this many: an outage of the store must not fill the memory. */
const MOST_RUNS = 4096

/** Knows what the journal holds for the sealer: counts exactly, places and times to within a run of frames. */
export class Backlog {
  #runs: FrameRun[] = []
  #sealed: number
  /** Of all runs: asked for at every event. */
  #events = 0
  #bytes = 0
  #held = 0
  /** Of frames without events since the last run. */
  #between = 0

  /** `sealedThrough`: every event up to this sequence is in the store. */
  constructor(sealedThrough: number) {
    this.#sealed = sealedThrough
  }

  /** Takes a durable frame into account; frames come in order. */
  add(frame: number, lastSequence: number, { events, bytes, length, since }: FrameSize): void {
    if (events === 0 || lastSequence <= this.#sealed) {
      if (this.#runs.length > 0) this.#between += length
      return
    }
    if (this.#runs.length >= MOST_RUNS) this.#join()
    const held = this.#between + length
    this.#between = 0
    this.#runs.push({ firstFrame: frame, firstSequence: lastSequence - events + 1, lastSequence, bytes, held, since })
    this.#events += events
    this.#bytes += bytes
    this.#held += held
  }

  /** Forgets events up to this sequence. */
  seal(through: number): void {
    this.#sealed = Math.max(this.#sealed, through)
    const kept = this.#runs.findIndex((run) => run.lastSequence > this.#sealed)
    this.#runs = kept < 0 ? [] : this.#runs.slice(kept)
    const [first] = this.#runs
    if (first === undefined) this.#between = 0
    else first.firstSequence = Math.max(first.firstSequence, this.#sealed + 1)
    this.#events = this.#runs.reduce((sum, run) => sum + run.lastSequence - run.firstSequence + 1, 0)
    this.#bytes = this.#runs.reduce((sum, run) => sum + run.bytes, 0)
    this.#held = this.#runs.reduce((sum, run) => sum + run.held, 0)
  }

  /** Every event up to this sequence is in the store. */
  get sealedThrough(): number {
    return this.#sealed
  }

  /** The frame from which on the events that are not in the store are found; null where there are none. */
  get firstFrame(): number | null {
    return this.#runs[0]?.firstFrame ?? null
  }

  /** Bytes of the frames that wait for the store: a little more where a run is partly sealed. */
  get held(): number {
    return this.#held + this.#between
  }

  /** Number of events, bytes (a little more where a run is partly sealed), and the time of the oldest. */
  get size(): { events: number; bytes: number; since: number | null } {
    return { events: this.#events, bytes: this.#bytes, since: this.#runs[0]?.since ?? null }
  }

  /**
   * Milliseconds that the oldest event has waited. Where its time is ahead of the clock, which was set back, it counts
   * from when it is first asked for: lag must not stand at 0 until the clock has come up to it.
   */
  waitedMs(now: number): number {
    const [oldest] = this.#runs
    if (oldest === undefined) return 0
    oldest.since = Math.min(oldest.since, now)
    return now - oldest.since
  }

  #join(): void {
    const joined: FrameRun[] = []
    for (const [index, run] of this.#runs.entries()) {
      const previous = joined.at(-1)
      // Not across a hole: a run counts its events by its sequences.
      if (index % 2 === 0 || previous === undefined || previous.lastSequence + 1 !== run.firstSequence) joined.push(run)
      else {
        previous.lastSequence = run.lastSequence
        previous.bytes += run.bytes
        previous.held += run.held
      }
    }
    this.#runs = joined
  }
}
