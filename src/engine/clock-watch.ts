import type { Logger } from '../base/log.ts'

/** What is less comes from bursts within a millisecond, and from clocks that are kept in time. */
const NOTEWORTHY_MS = 1_000

/** Says once, each time it begins, that stamps run ahead of the clock, and that they do no more. */
export class ClockWatch {
  readonly #aheadMs: () => number
  readonly #log: Logger
  #isAhead = false

  constructor(aheadMs: () => number, log: Logger) {
    this.#aheadMs = aheadMs
    this.#log = log
  }

  /** Looks at the clock; to be called at the opening and whenever events were stamped. */
  look(): void {
    const clockAheadMs = this.#aheadMs()
    if (!this.#isAhead && clockAheadMs >= NOTEWORTHY_MS) {
      this.#isAhead = true
      this.#log.warn(
        { clockAheadMs },
        'The clock was set back, or is behind that of an earlier writer: until it has come up to the last stamp, events ' +
          'are stamped later than they happen. Their order is right; give events, not times, to restore to in between.',
      )
    } else if (this.#isAhead && clockAheadMs === 0) {
      this.#isAhead = false
      this.#log.warn('The clock has come up to the last stamp: events are stamped with their time again.')
    }
  }
}
