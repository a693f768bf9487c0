import type { Clock } from '../base/clock.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { retryMs } from '../capture/sealer.ts'
import type { SnapshotEntry } from '../model/timeline.ts'

/** A baseline that is under way when the capture is flushed or closed is waited for so long, milliseconds. */
const GRACE_MS = 1_000

/** What baselines are taken with. */
export interface BaselineSteps {
  /** Resolves when the first may begin. */
  ready(): Promise<void>
  /** Takes one; rejects with the reason of the signal where that is aborted. */
  take(signal: AbortSignal): Promise<SnapshotEntry>
  readonly clock: Clock
  readonly log: Logger
}

/** The baselines of a session, one at a time: those that are due are tried again until one succeeds. */
export class Baselines {
  readonly #steps: BaselineSteps
  readonly #stopping = new AbortController()
  readonly #breaking = new AbortController()
  #latest: Promise<unknown> = Promise.resolve()
  #failures = 0

  constructor(steps: BaselineSteps) {
    this.#steps = steps
  }

  /** Settles with the one that is under way; at once where none is. */
  get latest(): Promise<unknown> {
    return this.#latest
  }

  /** Resolves when the one that is under way has ended, whatever came of it, or after moments: who waits need not wait long. */
  async soon(): Promise<void> {
    const ended = new AbortController()
    // Who began it has its error.
    const latest = this.#latest.catch(() => undefined).finally(() => ended.abort())
    await Promise.race([latest, this.#steps.clock.idle(GRACE_MS, ended.signal)])
  }

  /** Begins one that is due. */
  begin(): void {
    // The next opening finds that it is due.
    if (this.#stopping.signal.aborted) return
    const { log, clock, ready, take } = this.#steps
    const baseline = ready().then(() => take(this.#breaking.signal))
    this.#latest = baseline
    baseline.then(
      () => {
        this.#failures = 0
      },
      async (error: unknown) => {
        if (this.#breaking.signal.aborted) {
          log.warn('The capture was closed while its baseline was read: the next start begins it again.')
          return
        }
        const failures = ++this.#failures
        log.error(
          { error: messageOf(error), failures },
          'The baseline failed: until one succeeds, what comes now cannot be restored. It is tried again.',
        )
        await clock.idle(retryMs(failures), this.#stopping.signal)
        if (!this.#stopping.signal.aborted && this.#latest === baseline) this.begin()
      },
    )
  }

  /** Takes one now, after that which is under way, whatever comes of it. */
  async once(): Promise<SnapshotEntry> {
    await this.#steps.ready()
    await this.#latest.catch(() => undefined) // it is logged, and tried again
    const taken = this.#steps.take(this.#breaking.signal)
    this.#latest = taken.catch(() => undefined) // the caller has the error
    return taken
  }

  /** Begins no other, and breaks off the one that is under way, unless it ends by itself within moments. */
  async end(): Promise<void> {
    this.#stopping.abort()
    await this.soon()
    this.#breaking.abort(brokenOff())
    await this.#latest.catch(() => undefined) // whoever waited for it has the error, and it is logged
  }
}

function brokenOff(): TidemarkError {
  return new TidemarkError('CAPTURE_CLOSED', 'The capture was closed while the baseline was read. It was broken off.', {
    hint: 'Nothing is lost: what was captured is in the store, and the next start takes the baseline that is due.',
  })
}
