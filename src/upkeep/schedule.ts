import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'

/** Something that is done again and again. */
export interface Job {
  /** For the log. */
  readonly name: string
  /** Milliseconds between the end of one run and the beginning of the next. */
  readonly everyMs: number
  /** Ends early, with any error, when `signal` aborts. */
  run(signal: AbortSignal): Promise<void>
}

/** Does jobs at their times, never two at once. A run that fails is logged, and done again at its next time. */
export class Schedule {
  readonly #clock: Clock
  readonly #log: Logger
  readonly #ending = new AbortController()
  readonly #loops: readonly Promise<void>[]
  #turn: Promise<void> = Promise.resolve()

  constructor(clock: Clock, log: Logger, jobs: readonly Job[]) {
    this.#clock = clock
    this.#log = log
    this.#loops = jobs.map((job) => this.#repeat(job))
  }

  /** Ends the waiting at once and a run under way at its next step; resolves when nothing runs any more. */
  async end(): Promise<void> {
    this.#ending.abort()
    await Promise.all(this.#loops)
  }

  async #repeat(job: Job): Promise<void> {
    const { signal } = this.#ending
    for (;;) {
      await this.#clock.idle(job.everyMs, signal)
      if (signal.aborted) return
      this.#turn = this.#turn.then(() => this.#run(job))
      await this.#turn
    }
  }

  async #run(job: Job): Promise<void> {
    const { signal } = this.#ending
    if (signal.aborted) return
    try {
      await job.run(signal)
    } catch (error) {
      if (signal.aborted) return
      this.#log.error(
        { job: job.name, error: messageOf(error) },
        'A scheduled run failed; it is tried again at its next time.',
      )
    }
  }
}
