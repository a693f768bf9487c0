import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { retryMs } from '../capture/sealer.ts'
import type { TimelineLog } from '../capture/timeline-log.ts'
import type { Ulid } from '../model/ulid.ts'
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

/** Takes over, in the background, what processes left that never reached the store. */
export class Adoption {
  readonly #steps: AdoptionSteps
  /** Directories that are being taken over. */
  readonly #busy = new Map<string, Promise<void>>()

  constructor(steps: AdoptionSteps) {
    this.#steps = steps
  }

  /** Begins to take over what is left in a directory; tries again where that fails. */
  begin(directory: string): void {
    if (this.#busy.has(directory)) return
    this.#busy.set(
      directory,
      this.#adopt(directory).finally(() => this.#busy.delete(directory)),
    )
  }

  /** Resolves when what was begun is done, or, once the capture ends, was tried. */
  async ended(): Promise<void> {
    await Promise.all(this.#busy.values())
  }

  /** See `SealerSeams.waiting`. What a dead process left waiting is taken over, so that it does not wait for ever. */
  async waiting(): Promise<Ulid | null> {
    const { timeline, directory } = this.#steps
    const { first, left } = await waitingBeside(timeline.timeline, directory)
    for (const abandoned of left) this.begin(abandoned)
    return first
  }

  async #adopt(directory: string): Promise<void> {
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
