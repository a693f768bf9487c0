/** A run of frames whose events are not in the store yet. */
interface FrameRun {
  readonly firstFrame: number
  lastSequence: number
  events: number
  bytes: number
  /** Time of the first event, milliseconds since the epoch. */
  readonly since: number
}

/** Runs are joined beyond this many: an outage of the store must not fill the memory. */
const MOST_RUNS = 4096

/** Knows what the journal holds for the sealer: counts exactly, places and times to within a run of frames. */
export class Backlog {
  #runs: FrameRun[] = []
  #sealed: number
  #last: number
  /** Of all runs: asked for at every event. */
  #bytes = 0

  /** `sealedThrough`: every event up to this sequence is in the store. */
  constructor(sealedThrough: number) {
    this.#sealed = sealedThrough
    this.#last = sealedThrough
  }

  /** Takes the events of a durable frame into account; frames come in order. */
  add(frame: number, lastSequence: number, events: number, bytes: number, since: number): void {
    this.#last = lastSequence
    if (events === 0 || lastSequence <= this.#sealed) return
    if (this.#runs.length >= MOST_RUNS) this.#join()
    this.#runs.push({ firstFrame: frame, lastSequence, events, bytes, since })
    this.#bytes += bytes
  }

  /** Forgets events up to this sequence. */
  seal(through: number): void {
    this.#sealed = Math.max(this.#sealed, through)
    const kept = this.#runs.findIndex((run) => run.lastSequence > this.#sealed)
    this.#runs = kept < 0 ? [] : this.#runs.slice(kept)
    this.#bytes = this.#runs.reduce((sum, run) => sum + run.bytes, 0)
  }

  /** Every event up to this sequence is in the store. */
  get sealedThrough(): number {
    return this.#sealed
  }

  /** The frame from which on the events that are not in the store are found; null where there are none. */
  get firstFrame(): number | null {
    return this.#runs[0]?.firstFrame ?? null
  }

  /** Number of events, bytes (a little more where a run is partly sealed), and the time of the oldest. */
  get size(): { events: number; bytes: number; since: number | null } {
    return {
      events: Math.max(0, this.#last - this.#sealed),
      bytes: this.#bytes,
      since: this.#runs[0]?.since ?? null,
    }
  }

  #join(): void {
    const joined: FrameRun[] = []
    for (const [index, run] of this.#runs.entries()) {
      const previous = joined.at(-1)
      if (index % 2 === 0 || previous === undefined) joined.push(run)
      else {
        previous.lastSequence = run.lastSequence
        previous.events += run.events
        previous.bytes += run.bytes
      }
    }
    this.#runs = joined
  }
}
