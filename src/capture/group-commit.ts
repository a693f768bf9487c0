import { setImmediate } from 'node:timers/promises'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { FrameBuilder } from '../format/journal-frame.ts'
import { type CommitPace, TOGETHER } from './commit-pace.ts'
import { isDiskRefusal } from './frame-log.ts'

/** Entries that become durable together. */
export interface Batch {
  readonly builder: FrameBuilder
  /** Settled when the frame is durable, however often it has to be tried, or when nothing is written any more. */
  readonly durable: Promise<void>
  /** As `tried`, and resolves as soon as the frame outlives this process, though not the machine. */
  readonly written: Promise<void>
  /** As `durable`, for one of the callers who go on when it is: half of them may go on a turn of the loop later. */
  awaited(): Promise<void>
  /** As `durable`, and rejects as soon as the disk has refused it: it is written later all the same. */
  readonly tried: Promise<void>
}

/** What may be waited for before anything is done on the strength of a batch. */
export type Stage = Extract<keyof Batch, 'written' | 'tried'>

class OpenBatch implements Batch {
  readonly builder: FrameBuilder
  readonly #durable = unheard()
  /** For every second caller. */
  readonly #later = unheard()
  #callers = 0
  #tried = unheard()
  /** Null while nobody waits for it. */
  #written: PromiseWithResolvers<void> | null = null

  constructor(builder: FrameBuilder) {
    this.builder = builder
  }

  get durable(): Promise<void> {
    return this.#durable.promise
  }

  awaited(): Promise<void> {
    return ++this.#callers % 2 === 0 ? this.#later.promise : this.#durable.promise
  }

  get tried(): Promise<void> {
    return this.#tried.promise
  }

  get written(): Promise<void> {
    this.#written ??= unheard()
    return this.#written.promise
  }

  /** What the log is to call once the frame outlives this process; none where nobody waits for it. */
  get whenWritten(): (() => void) | undefined {
    return this.#written?.resolve
  }

  /** Every second of those who await it is left to `resolveLater`. */
  resolve(): void {
    this.#durable.resolve()
    this.#tried.resolve()
    this.#written?.resolve()
  }

  resolveLater(): void {
    this.#later.resolve()
  }

  refused(obstacle: TidemarkError): void {
    this.#tried.reject(obstacle)
    this.#written ??= unheard()
    this.#written.reject(obstacle)
  }

  reject(failure: TidemarkError): void {
    this.#durable.reject(failure)
    this.#later.reject(failure)
    this.#tried.reject(failure)
    this.#written?.reject(failure)
  }

  /** It is tried again: who waits from now on waits for that. */
  retried(): void {
    this.#tried = unheard()
    this.#written = null
  }
}

/** A promise that nobody has to hear. */
function unheard(): PromiseWithResolvers<void> {
  const made = Promise.withResolvers<void>()
  // Those who wait learn of a failure by their own promise; a batch that nobody waits for needs no handler.
  made.promise.catch(() => undefined)
  return made
}

/** Makes a frame durable; calls `written`, where it is given, once it outlives this process. */
type WriteFrame = (builder: FrameBuilder, written?: () => void) => Promise<void>

/** A batch that is being written. */
interface WritingBatch {
  readonly batch: OpenBatch
  readonly written: Promise<void>
}

/** What batch is wanted. */
export interface GatherOptions {
  /** One that holds no event yet. */
  readonly empty?: boolean
  /** The one that took the last entry, however full it is. */
  readonly together?: boolean
}

/** A batch takes no further entries beyond this many bytes, so that no commit takes long. */
const FULL_BYTES = 2 * 1024 * 1024
const SPARE_BUILDERS = 2

/**
 * Group commit: while one batch is written, entries gather in the next, which is written as soon as the one before
 * it is durable and, as the pace says, the callers that waited for that have had one turn of the event loop. Never a
 * fixed delay.
 * What the disk refuses is kept, since it may be the only trace of a write that was done, and is tried again by `retry`:
 * the log then writes it elsewhere, since a failed sync says nothing about what is on the disk, and a second one that
 * succeeds even less. After any other failure nothing more is written.
 */
export class GroupCommit {
  readonly #write: WriteFrame
  readonly #pace: CommitPace
  /** What is being written is the first until it is durable. */
  #queue: OpenBatch[] = []
  #writing: OpenBatch | null = null
  #running: Promise<void> | null = null
  #obstacle: TidemarkError | null = null
  #failure: TidemarkError | null = null
  readonly #spare: FrameBuilder[] = []

  /**
   * `write` makes a batch durable; it is called for one batch at a time, in order. What it rejects with tells what
   * becomes of the batch, see `isDiskRefusal`.
   */
  constructor(write: WriteFrame, pace: CommitPace = TOGETHER) {
    this.#write = write
    this.#pace = pace
  }

  /** Why the disk took nothing at the last attempt; null: it did, or nothing was attempted. */
  get obstacle(): TidemarkError | null {
    return this.#obstacle
  }

  /** Why nothing is written any more. */
  get failure(): TidemarkError | null {
    return this.#failure
  }

  /**
   * The batch that takes entries now, on demand one that holds no event yet. It stays in memory until `commit`.
   * Throws what has failed before.
   */
  gather({ empty = false, together = false }: GatherOptions = {}): Batch {
    if (this.#failure !== null) throw this.#failure
    const last = this.#queue.at(-1)
    const isRoomy = last !== undefined && (together || last.builder.bytes < FULL_BYTES)
    const takes = isRoomy && last !== this.#writing && !(empty && last.builder.eventCount > 0)
    if (takes) return last
    const batch = new OpenBatch(this.#spare.pop() ?? new FrameBuilder())
    if (this.#obstacle !== null) batch.refused(this.#obstacle)
    this.#queue.push(batch)
    return batch
  }

  /** Starts writing what has gathered, unless that goes on already, or the disk takes nothing. */
  commit(): void {
    if (this.#obstacle === null && this.#queue.length > 0) this.#running ??= this.#run()
  }

  /** Where the disk took nothing, does `first`, which may make room, and then tries again what was gathered. */
  async retry(first: () => Promise<void>): Promise<void> {
    if (this.#obstacle === null) return
    this.#running ??= this.#again(first)
    await this.#running
  }

  /** Resolves with null when everything that has been gathered so far is durable, or with why the disk does not take it. */
  async flush(): Promise<TidemarkError | null> {
    const last = this.#queue.at(-1)
    this.commit()
    // What becomes of it is told below.
    if (last !== undefined && this.#obstacle === null) await last.tried.catch(() => undefined)
    if (this.#failure !== null) throw this.#failure
    return this.#queue.length === 0 ? null : this.#obstacle
  }

  /** Gives up what the disk did not take. */
  abandon(): void {
    if (this.#obstacle !== null) this.#fail(this.#obstacle)
  }

  async #run(): Promise<void> {
    await setImmediate()
    for (let writing = this.#begin(); writing !== null; ) {
      const { batch, written } = writing
      try {
        await written
      } catch (error) {
        this.#writing = null
        this.#stop(error)
        break
      }
      this.#writing = null
      this.#queue.shift()
      if (this.#obstacle !== null) this.#goOn()
      const { overlaps, splits } = this.#pace.ended()
      const next = overlaps ? this.#begin() : null
      this.#wake(batch, splits && next === null)
      if (next !== null) {
        writing = next
        continue
      }
      await setImmediate()
      // No turn may come between this and the end of the loop: who gathers in it relies on its going on.
      writing = this.#begin()
      batch.resolveLater()
    }
    this.#running = null
  }

  /** Lets the callers of a batch that is durable go on, or half of them. */
  #wake(batch: OpenBatch, half: boolean): void {
    batch.resolve()
    if (!half) batch.resolveLater()
    batch.builder.reset()
    if (this.#spare.length < SPARE_BUILDERS) this.#spare.push(batch.builder)
  }

  #begin(): WritingBatch | null {
    const [batch] = this.#queue
    if (batch === undefined) return null
    this.#writing = batch
    this.#pace.begun()
    const written = this.#write(batch.builder, batch.whenWritten)
    written.catch(() => undefined) // it is awaited in the next turn of `run`
    return { batch, written }
  }

  async #again(first: () => Promise<void>): Promise<void> {
    try {
      await first()
    } catch (error) {
      this.#stop(error)
      this.#running = null
      return
    }
    await this.#run()
  }

  #goOn(): void {
    this.#obstacle = null
    for (const batch of this.#queue) batch.retried()
  }

  #stop(error: unknown): void {
    if (isDiskRefusal(error)) {
      this.#obstacle = error
      for (const batch of this.#queue) batch.refused(error)
    } else {
      this.#fail(error instanceof TidemarkError ? error : unexpected(error))
    }
  }

  #fail(failure: TidemarkError): void {
    this.#failure = failure
    for (const failed of this.#queue) failed.reject(failure)
    this.#queue = []
  }
}

function unexpected(error: unknown): TidemarkError {
  return new TidemarkError('JOURNAL_FAILED', `The journal could not be written (${messageOf(error)}).`, {
    hint: 'Start the application again; at its start the journal is read and settled.',
    cause: error,
  })
}
