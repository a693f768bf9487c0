import type { Clock } from '../base/clock.ts'
import { hasCode, messageOf, TidemarkError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { retryMs } from '../capture/sealer.ts'
import type { StreamEntry } from '../model/timeline.ts'
import type { TimelineLog } from '../timeline/log.ts'
import { enterLater } from './stream-opening.ts'
import type { OwnedStream } from './streams.ts'

/** What entering takes. */
export interface EnteringSeams {
  readonly timeline: TimelineLog
  /** The stream, which is not in the timeline. */
  readonly own: OwnedStream
  /** Called once, when it is there. */
  readonly entered: (entry: StreamEntry) => void
  /** Called once, where it never can: the store is another one, or another process has the stream. */
  readonly refused: (error: TidemarkError) => void
  readonly clock: Clock
  readonly log: Logger
}

const LATE =
  'Other moments had been told to be reachable before the store could be reached: what was captured until now is stamped ' +
  'behind them, in its order.'

/** Brings a stream that was begun while the store was away into the timeline: it tries until the store answers. */
export class Entering {
  readonly #seams: EnteringSeams
  readonly #stopping = new AbortController()
  #entry: StreamEntry | null = null
  #refusal: TidemarkError | null = null
  #failures = 0
  #trying: Promise<StreamEntry> | null = null
  readonly #done = Promise.withResolvers<void>()

  constructor(seams: EnteringSeams) {
    this.#seams = seams
  }

  /** Resolves when the stream is in the timeline; never, where that does not come to be. */
  get done(): Promise<void> {
    return this.#done.promise
  }

  /** Attempts that failed, while it is not there. */
  get progress(): { readonly failures?: number } {
    return this.isDone ? {} : { failures: this.#failures }
  }

  get isDone(): boolean {
    return this.#entry !== null
  }

  /** Tries until it is there, or `end`. */
  begin(): void {
    void this.#tryOn()
  }

  /** Tries now, and resolves with the entry; one attempt at a time. Errors: `STORE_UNAVAILABLE`, `STORE_FOREIGN`, `TIMELINE_CORRUPT`. */
  async enter(): Promise<StreamEntry> {
    // What is under way may have asked too early.
    await this.#trying?.catch(() => undefined)
    if (this.#entry !== null) return this.#entry
    if (this.#refusal !== null) throw this.#refusal
    this.#trying ??= this.#try().finally(() => {
      this.#trying = null
    })
    return this.#trying
  }

  /** Tries no more by itself. */
  end(): void {
    this.#stopping.abort()
  }

  async #try(): Promise<StreamEntry> {
    const { timeline, own, entered, refused, log } = this.#seams
    try {
      const entry = await enterLater(timeline, own)
      this.#entry = entry
      log.info({ stream: entry.id }, 'The store has been reached: what was captured without it is brought in.')
      if (entry.late !== undefined) log.warn({ stream: entry.id, ...entry.late }, LATE)
      entered(entry)
      this.#done.resolve()
      return entry
    } catch (error) {
      this.#failures++
      if (!hasCode(error, 'STORE_FOREIGN', 'STREAM_FENCED')) throw notReached(error)
      this.#refusal = error
      refused(error)
      log.error({ error: error.message }, 'Capture has stopped. What was captured is in the journal, which is kept.')
      throw error
    }
  }

  async #tryOn(): Promise<void> {
    const { clock, log } = this.#seams
    const { signal } = this.#stopping
    while (!this.isDone && this.#refusal === null && !signal.aborted) {
      try {
        await this.enter()
      } catch (error) {
        const failures = this.#failures
        log.error({ error: messageOf(error), failures }, 'The stream of this process is not in the store yet.')
        await clock.idle(retryMs(failures), signal)
      }
    }
  }
}

function notReached(error: unknown): TidemarkError {
  if (hasCode(error, 'TIMELINE_CORRUPT')) {
    return new TidemarkError(
      'TIMELINE_CORRUPT',
      `What was captured since this process started is safe in the journal, and not in the store: ${error.message}`,
      {
        hint: '`tidemark repair` makes the timeline again; everything is brought in by itself then. Keep the journal directory until it is.',
        cause: error,
      },
    )
  }
  return new TidemarkError(
    'STORE_UNAVAILABLE',
    `The store has not been reached since this process started; what was captured is safe in the journal: ${messageOf(error)}`,
    {
      hint: 'Everything is brought in by itself when the store answers. Keep the journal directory until then.',
      cause: error,
    },
  )
}
