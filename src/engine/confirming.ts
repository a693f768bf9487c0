import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Journal } from '../capture/journal.ts'
import type { Recorder } from '../capture/recorder.ts'
import type { TimelineLog } from '../timeline/log.ts'
import type { OpenPeers } from './peers.ts'

const FIRST_MS = 10_000
const LONGEST_MS = 60_000

/** What confirming takes. */
export interface ConfirmingSeams {
  readonly timeline: TimelineLog
  readonly peers: OpenPeers
  readonly recorder: Recorder
  readonly journal: Journal
  readonly clock: Clock
  readonly log: Logger
}

/**
 * Reads in the timeline what processes on other machines have passed, has the recorder confirm what waits for that, and
 * stamps behind them from then on. Where nothing waits, nothing is asked of the store.
 */
export class Confirming {
  readonly #seams: ConfirmingSeams
  readonly #stopping = new AbortController()
  #isLooking = false

  constructor(seams: ConfirmingSeams) {
    this.#seams = seams
  }

  /** To be called when the timeline was read: confirms by what it says, and goes on looking while something waits. */
  noticed(): void {
    const { recorder, peers, journal, log } = this.#seams
    if (!peers.isElsewhere() && recorder.unconfirmed === 0) return
    journal.advanceTo(peers.told())
    if (recorder.unconfirmed === 0) return
    recorder.confirm(peers.passed()).catch((error: unknown) => {
      log.warn(
        { error: messageOf(error) },
        'What other machines may have written meanwhile could not be looked at now.',
      )
    })
    void this.#lookOn()
  }

  /** Confirms what can be confirmed, once more, and ends. */
  async end(): Promise<void> {
    this.#stopping.abort()
    const { recorder, timeline, peers, log } = this.#seams
    if (recorder.unconfirmed === 0) return
    try {
      await timeline.refresh()
      await recorder.confirm(peers.passed())
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'What other machines may have written meanwhile could not be looked at.')
    }
  }

  async #lookOn(): Promise<void> {
    if (this.#isLooking) return
    this.#isLooking = true
    const { recorder, timeline, clock } = this.#seams
    const { signal } = this.#stopping
    for (let ms = FIRST_MS; recorder.unconfirmed > 0; ms = Math.min(2 * ms, LONGEST_MS)) {
      await clock.idle(ms, signal)
      if (signal.aborted) return
      // What cannot be read now is read the next time; the sealer logs that the store is away.
      await timeline.refresh().then(
        () => this.noticed(),
        () => {},
      )
    }
    this.#isLooking = false
  }
}
