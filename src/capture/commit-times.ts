import { type Clock, systemClock } from '../base/clock.ts'

/** Blocking commits stay while their median is below this: two trips through the thread pool cost more. */
const FAST_MS = 0.3
/** One blocking commit as long as this ends blocking at once. */
const STALL_MS = 10
/** Larger commits are never blocking: the write alone would hold the event loop. */
const LARGEST_BLOCKING_BYTES = 128 * 1024
const SAMPLES = 8
/** Commits through the thread pool before blocking ones are tried again; twice as many each time that trial fails. */
const PAUSE = 500
const LONGEST_PAUSE = 64_000

/**
 * Decides whether a commit blocks the event loop or goes through the thread pool, by the measured time of the last
 * few blocking commits. The first commits after an opening are the measurement.
 */
export class CommitTimes {
  readonly #clock: Pick<Clock, 'now'>
  #samples: number[] = []
  #pause = 0
  #nextPause = PAUSE

  constructor(clock: Pick<Clock, 'now'> = systemClock) {
    this.#clock = clock
  }

  /** Whether the next commit, of this many bytes, is to block. */
  blocks(bytes: number): boolean {
    if (bytes > LARGEST_BLOCKING_BYTES) return false
    if (this.#pause > 0) {
      this.#pause--
      return false
    }
    return true
  }

  /** Runs a blocking commit and takes its time. */
  measure(commit: () => void): void {
    const start = this.#clock.now()
    commit()
    this.#record(this.#clock.now() - start)
  }

  #record(ms: number): void {
    this.#samples.push(ms)
    const full = this.#samples.length === SAMPLES
    const median = full ? (this.#samples.sort((a, b) => a - b)[SAMPLES >> 1] ?? 0) : 0
    if (ms >= STALL_MS || median >= FAST_MS) {
      this.#pause = this.#nextPause
      this.#nextPause = Math.min(this.#nextPause * 2, LONGEST_PAUSE)
      this.#samples = []
    } else if (full) {
      this.#nextPause = PAUSE
      this.#samples = []
    }
  }
}
