import { performance } from 'node:perf_hooks'
import { type Clock, systemClock } from '../base/clock.ts'

/** Commits never block where their median is above this, however idle the event loop is: a timer would be late by it. */
const LONGEST_MS = 1
/** One blocking commit as long as this ends blocking at once. */
const STALL_MS = 10
/** Larger commits are never blocking: the write alone would hold the event loop. */
export const LARGEST_BLOCKING_BYTES: number = 128 * 1024
const SAMPLES = 16
/** Commits of the better way before both are measured again; twice as many each time that blocking was found worse. */
const PAUSE = 500
const LONGEST_PAUSE = 64_000

/** What is measured with: the time, and how long the event loop had nothing to do until now, milliseconds. */
export interface CommitGauge extends Pick<Clock, 'now'> {
  idle(): number
}

/** The machine's clock, and this thread's event loop. */
export const SYSTEM_GAUGE: CommitGauge = {
  now: () => systemClock.now(),
  idle: () => performance.eventLoopUtilization().idle,
}

/** Some commits through the pool are measured, then as many that block; the better way is taken for a while. */
type CommitWay = 'pool measured' | 'blocking measured' | 'pool' | 'blocking'

/**
 * Decides whether a commit blocks the event loop or goes through the thread pool. Blocking saves two trips through the
 * pool, and takes from the application the time in which it could have gone on: it is worth it exactly where the loop
 * would have had nothing to do for longer than the blocking takes. Both are measured, at an opening and again from time
 * to time, since what the application does changes.
 */
export class CommitTimes {
  readonly #gauge: CommitGauge
  #phase: CommitWay = 'pool measured'
  #left = SAMPLES
  #samples: number[] = []
  /** Median time that the loop had nothing to do while a commit went through the pool. */
  #idleMs = 0
  #pause = PAUSE / 2

  constructor(gauge: CommitGauge = SYSTEM_GAUGE) {
    this.#gauge = gauge
  }

  /** Makes a commit of this many bytes durable, by whichever of the two ways suits it. */
  async run(bytes: number, blocking: () => void, pool: () => Promise<void>): Promise<void> {
    if (bytes > LARGEST_BLOCKING_BYTES) return pool()
    const phase = this.#phase
    if (phase === 'blocking' || phase === 'blocking measured') {
      const before = this.#gauge.now()
      blocking()
      this.#took(phase, this.#gauge.now() - before)
    } else {
      const before = phase === 'pool' ? 0 : this.#gauge.idle()
      await pool()
      this.#took(phase, phase === 'pool' ? 0 : this.#gauge.idle() - before)
    }
  }

  #took(phase: CommitWay, ms: number): void {
    // Several files may commit at once: what was begun in another phase says nothing about this one.
    if (phase !== this.#phase) return
    if (phase === 'blocking measured' || phase === 'pool measured') this.#samples.push(ms)
    if (phase.startsWith('blocking') && ms >= STALL_MS) this.#choose('pool')
    else if (--this.#left === 0) this.#next(phase)
  }

  #next(phase: CommitWay): void {
    const median = this.#samples.sort((a, b) => a - b)[SAMPLES >> 1] ?? 0
    this.#samples = []
    if (phase === 'pool measured') {
      this.#idleMs = median
      this.#begin('blocking measured', SAMPLES)
    } else if (phase === 'blocking measured') {
      this.#choose(median < Math.min(this.#idleMs, LONGEST_MS) ? 'blocking' : 'pool')
    } else this.#begin('pool measured', SAMPLES)
  }

  #choose(way: 'pool' | 'blocking'): void {
    this.#pause = way === 'blocking' ? PAUSE : Math.min(this.#pause * 2, LONGEST_PAUSE)
    this.#begin(way, this.#pause)
  }

  #begin(phase: CommitWay, count: number): void {
    this.#phase = phase
    this.#left = count
    this.#samples = []
  }
}
