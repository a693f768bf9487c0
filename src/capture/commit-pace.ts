import { type CommitGauge, SYSTEM_GAUGE } from './commit-times.ts'

/** What is done when a commit is over. */
export interface Pace {
  /** What gathered meanwhile is committed at once, before the callers of this one go on; else together with what they bring. */
  readonly overlaps: boolean
  /** Half of the callers go on first, and what they bring is committed while the others work. */
  readonly splits: boolean
}

/** Decides how commits follow one another: they are begun and ended in turn. */
export interface CommitPace {
  begun(): void
  ended(): Pace
}

/** All callers go on, and what they bring is one commit. */
export const TOGETHER: CommitPace = {
  begun: () => {},
  ended: () => ({ overlaps: false, splits: false }),
}

/** Splitting needs so many times the work of a commit between two of them: else both halves wait for the disk in turn. */
const WORK_RATIO = 2

/**
 * Writers that all wait for one commit leave the event loop idle until it is over, which is lost where there is more to
 * compute than to commit (12 of 110 us an insert of 20 writers into memory). In two halves, one computes while the other
 * is committed. Where the disk takes longer than the work, one large commit is better than two small ones.
 */
export class MeasuredPace implements CommitPace {
  readonly #gauge: CommitGauge
  #begunAt = 0
  #idleBefore = 0
  #endedAt = 0
  #idleAtEnd = 0

  constructor(gauge: CommitGauge = SYSTEM_GAUGE) {
    this.#gauge = gauge
  }

  begun(): void {
    this.#begunAt = this.#gauge.now()
    this.#idleBefore = this.#gauge.idle()
  }

  ended(): Pace {
    const [now, idle] = [this.#gauge.now(), this.#gauge.idle()]
    const took = now - this.#begunAt
    const waited = idle - this.#idleBefore
    const worked = now - this.#endedAt - (idle - this.#idleAtEnd)
    this.#endedAt = now
    this.#idleAtEnd = idle
    const overlaps = waited <= took / 2
    return { overlaps, splits: !overlaps && worked >= WORK_RATIO * took }
  }
}
