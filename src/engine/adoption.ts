import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { retryMs } from '../capture/sealer.ts'
import type { Ulid } from '../model/ulid.ts'
import type { TimelineLog } from '../timeline/log.ts'
import { waitingBeside } from './waiting-streams.ts'

/** What taking over is done with. */
export interface AdoptionSteps {
  /** Takes over what dead processes left in a journal directory. */
  adopt(directory: string): Promise<unknown>
  readonly timeline: Pick<TimelineLog, 'timeline'>
  /** Of the journals of this store. */
  readonly directory: string
  readonly clock: Clock
  readonly log: Logger
  /** Aborts when the capture ends: then nothing is tried again. */
  readonly signal: AbortSignal
}

/** Takes over what processes left that died, or never reached the store. */
export class Adoption {
  readonly #steps: AdoptionSteps
  /** Directories that are being taken over in the background. */
  readonly #begun = new Set<string>()
  readonly #running = new Set<Promise<unknown>>()
  readonly #over = new AbortController()

  constructor(steps: AdoptionSteps) {
    this.#steps = steps
  }

  /** Begins to take over what is left in a directory; tries again where that fails. */
  begin(directory: string): void {
    if (this.#begun.has(directory)) return
    this.#begun.add(directory)
    void this.#adoptOn(directory).finally(() => this.#begun.delete(directory))
  }

  /** Whether something is being taken over. */
  get isRunning(): boolean {
    return this.#running.size > 0
  }

  /** Does `work`, which takes something over, and counts it among what `ended` waits for; aborted, it is to take nothing any more. */
  async run<T>(work: (over: AbortSignal) => Promise<T>): Promise<T> {
    const result = work(this.#over.signal)
    const ended = result.then(
      () => undefined,
      () => undefined, // who began it has the error
    )
    this.#running.add(ended)
    try {
      return await result
    } finally {
      this.#running.delete(ended)
    }
  }

  /** Resolves when everything under way is done or has failed; nothing is taken over from then on. */
  async ended(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
    this.#over.abort()
  }

  /** See `SealerSeams.waiting`. What a dead process left waiting is taken over, so that it does not wait for ever. */
  async waiting(): Promise<Ulid | null> {
    const { timeline, directory } = this.#steps
    const { first, left } = await waitingBeside(timeline.timeline, directory)
    for (const abandoned of left) this.begin(abandoned)
    return first
  }

  async #adoptOn(directory: string): Promise<void> {
    const { adopt, clock, log, signal } = this.#steps
    for (let failures = 1; failures === 1 || !signal.aborted; failures++) {
      try {
        await adopt(directory)
        return
      } catch (error) {
        log.error(
          { error: messageOf(error), directory, failures },
          'What an earlier process left in its journal cannot be taken over: until it is, later moments cannot be reached. ' +
            'It is tried again.',
        )
        await clock.idle(retryMs(failures), signal)
      }
    }
  }
}
