import type { Clock } from '../base/clock.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Pending } from './backlog.ts'
import type { Journal } from './journal.ts'
import { refusedBy } from './refusal.ts'

/** What becomes of a write when the journal is full: it is refused, or done without being recorded. */
export type WhenFull = 'refuse' | 'shed'

/** What waits for the store, and what that means for writes. */
export interface Backpressure extends Pending {
  readonly limitBytes: number
  readonly state: 'recording' | 'refusing' | 'shedding'
  /** Writes that were not recorded since this process began. */
  readonly shedWrites: number
}

/** What a bound is kept over. */
export interface JournalBoundSeams {
  readonly journal: Journal
  readonly clock: Clock
  readonly log: Logger
  /** Bytes that the journal may take. Writes that are under way when it is reached come on top. */
  readonly limitBytes: number
  readonly whenFull: WhenFull
  /** Called when the bound is reached: what waits should go to the store now. */
  readonly reached: () => void
  /** Called when writes are recorded again after some were not: the database must be read anew. */
  readonly resumed: () => void
}

/**
 * Writes are refused where so much of the limit is held, so that the files stay within the limit: the end of the last
 * one and the one made ahead come on top, a sixteenth each, and what is under way.
 */
const FULL = 0.75
/** Part of the limit that a journal file takes. */
const FILES = 16
/** A smaller limit could not be kept: what a write or two take is more. */
export const LEAST_LIMIT_BYTES: number = 16 * 1024
const MOST_FILE_BYTES = 64 * 1024 * 1024

/** Bytes of a journal file on a disk, where the journal may take `limitBytes`. */
export function journalFileBytes(limitBytes: number): number {
  return Math.min(MOST_FILE_BYTES, Math.floor(Math.max(LEAST_LIMIT_BYTES, limitBytes) / FILES))
}

/** Not recording ends where less than this part of the limit is waiting: it must not begin again at once. */
const ROOM = 0.5

/**
 * The bound on what waits in a journal while the store takes nothing. Where it is reached, writes are refused before
 * the database is touched, or done and told to be missing from the history, until there is room again.
 */
export class JournalBound {
  readonly #seams: JournalBoundSeams
  /** Resolves when it is durable that writes are not recorded; null while all are. */
  #shedding: Promise<void> | null = null
  /** Writes that are not recorded and not done yet: they end only when the last of these has. */
  #underWay = 0
  #isEnding = false
  #isClosing = false
  #ended: Promise<void> = Promise.resolve()
  #isFull = false
  #isWaiting = false
  #shedWrites = 0

  constructor(seams: JournalBoundSeams) {
    this.#seams = seams
    // A write that was done may wait for room, and nobody else may write.
    seams.journal.room.whenShort(() => seams.reached())
  }

  /** What becomes of a write now. */
  get state(): Backpressure['state'] {
    if (this.#seams.journal.room.obstacle !== null) return 'refusing'
    if (this.#shedding !== null && !this.#isEnding) return 'shedding'
    return this.#isFull && this.#seams.whenFull === 'refuse' ? 'refusing' : 'recording'
  }

  /** Writes that were not recorded since the opening. */
  get shedWrites(): number {
    return this.#shedWrites
  }

  /**
   * Whether the next write is to be recorded; false: it goes through `shed`. Errors: `JOURNAL_FULL`, and what the disk
   * refuses the journal with: where nothing can be made durable, no gap can either.
   */
  admits(): boolean {
    const { journal } = this.#seams
    this.review()
    if (journal.room.obstacle !== null) throw refusedBy(journal.room.obstacle)
    if (this.#shedding !== null) return this.#isEnding
    if (!this.#isFull) return true
    this.#seams.reached()
    if (this.#seams.whenFull === 'refuse')
      throw journal.room.shortage === null ? this.#full() : refusedBy(journal.room.shortage)
    return false
  }

  /** Performs a write of `count` items that is not recorded. That there are such writes is durable before. */
  async shed<T>(count: number, perform: () => Promise<T>): Promise<T> {
    this.#underWay++
    try {
      await this.#skip(count)
      this.#shedWrites++
      return await perform()
    } finally {
      this.#underWay--
      this.review()
    }
  }

  async #skip(count: number): Promise<void> {
    const { journal } = this.#seams
    if (this.#shedding !== null) {
      journal.shed(count)
      return this.#shedding
    }
    this.#report(`${this.#reason} Writes are done and NOT recorded until there is room again.`)
    const { durable, tried } = journal.beginShed(count)
    this.#shedding = durable
    try {
      await tried
    } catch (error) {
      throw refusedBy(error)
    }
  }

  /** Looks whether there is room again: when the store has taken events, and at each write. */
  review(): void {
    const { journal, limitBytes, whenFull, log } = this.#seams
    const held = journal.heldBytes
    const isShort = journal.room.shortage !== null
    const isFull = isShort || held >= limitBytes * FULL
    if (isShort) void this.#awaitRoom()
    if (this.#shedding !== null) {
      if (this.#isClosing) return
      this.#isEnding = this.#isEnding ? !isFull : !isShort && held < limitBytes * ROOM
      if (!this.#isEnding || this.#underWay > 0) return
      this.#isClosing = true
      this.#ended = this.#end()
      return
    }
    if (isFull === this.#isFull) return
    this.#isFull = isFull
    if (whenFull === 'shed') return
    if (isFull) this.#report(`${this.#reason} Until there is room again, writes are refused.`)
    else log.info({ held, limitBytes }, 'There is room in the journal again: writes are accepted.')
  }

  async #awaitRoom(): Promise<void> {
    if (this.#isWaiting) return
    this.#isWaiting = true
    const { room } = this.#seams.journal
    await room.awaitRoom()
    if (room.shortage !== null) return // the journal is closed
    this.#isWaiting = false
    this.review()
  }

  /** Resolves when everything is recorded again, where that has begun. */
  ended(): Promise<void> {
    return this.#ended
  }

  async #end(): Promise<void> {
    const { journal, log, resumed } = this.#seams
    try {
      await journal.endShed()
    } catch (error) {
      // Until the disk takes it the gap goes on; where it never does, the next opening ends it.
      this.#isClosing = false
      log.error({ error: messageOf(error) }, 'The journal failed while writes began to be recorded again.')
      return
    }
    this.#shedding = null
    this.#isEnding = false
    this.#isClosing = false
    this.#isFull = false
    log.warn(
      { writes: this.#shedWrites },
      'Writes are recorded again. The gap is in the history; a new baseline makes later moments reachable.',
    )
    resumed()
  }

  get #reason(): string {
    return this.#seams.journal.room.shortage?.message ?? 'The journal is full: the store takes nothing.'
  }

  #report(message: string): void {
    const { journal, limitBytes } = this.#seams
    const { events, heldBytes, ageMs } = journal.pending()
    this.#seams.log.error({ events, heldBytes, limitBytes, oldestMs: ageMs }, message)
  }

  #full(): TidemarkError {
    const { journal, clock, limitBytes } = this.#seams
    const { events, heldBytes, ageMs } = journal.pending()
    const since = new Date(clock.now() - ageMs).toISOString()
    return new TidemarkError(
      'JOURNAL_FULL',
      `The write was refused and nothing was changed: ${heldBytes} bytes (${events} events) wait in the journal for ` +
        `the store, the oldest since ${since}; the limit is ${limitBytes} bytes. Reads work.`,
      {
        hint:
          'Bring the store back (the log says why it took nothing): writes then work again by themselves. To go on ' +
          'without it, raise journal.limitBytes, or set journal.whenFull to shed, which leaves a gap in the history.',
        details: { heldBytes, limitBytes, events, since },
      },
    )
  }
}
