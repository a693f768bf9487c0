import { setImmediate } from 'node:timers/promises'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { FrameBuilder } from '../format/journal-frame.ts'
import { isDiskRefusal } from './frame-log.ts'

/** Entries that become durable together. */
export interface Batch {
  readonly builder: FrameBuilder
  /** Settled when the frame is durable, however often it has to be tried, or when nothing is written any more. */
  readonly durable: Promise<void>
  /** The same, and rejects as soon as the disk has refused it: it is written later all the same. */
  readonly tried: Promise<void>
}

class OpenBatch implements Batch {
  readonly builder: FrameBuilder
  readonly #durable = Promise.withResolvers<void>()
  #tried = Promise.withResolvers<void>()

  constructor(builder: FrameBuilder) {
    this.builder = builder
    // Those who wait learn of a failure by their own promise; a batch that nobody waits for needs no handler.
    this.#durable.promise.catch(() => undefined)
    this.retried()
  }

  get durable(): Promise<void> {
    return this.#durable.promise
  }

  get tried(): Promise<void> {
    return this.#tried.promise
  }

  resolve(): void {
    this.#durable.resolve()
    this.#tried.resolve()
  }

  refused(obstacle: TidemarkError): void {
    this.#tried.reject(obstacle)
  }

  reject(failure: TidemarkError): void {
    this.#durable.reject(failure)
    this.#tried.reject(failure)
  }

  /** It is tried again: who waits from now on waits for that. */
  retried(): void {
    this.#tried = Promise.withResolvers<void>()
    // The same.
    this.#tried.promise.catch(() => undefined)
  }
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
 * it is durable and the callers that waited for that have had one turn of the event loop. Never a fixed delay.
 * What the disk refuses is kept, since it may be the only trace of a write that was done, and is tried again by `retry`:
 * the log then writes it elsewhere, since a failed sync says nothing about what is on the disk, and a second one that
 * succeeds even less. After any other failure nothing more is written.
 */
export class GroupCommit {
  readonly #write: (builder: FrameBuilder) => Promise<void>
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
  constructor(write: (builder: FrameBuilder) => Promise<void>) {
    this.#write = write
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
    for (let [batch] = this.#queue; batch !== undefined; [batch] = this.#queue) {
      this.#writing = batch
      try {
        await this.#write(batch.builder)
      } catch (error) {
        this.#stop(error)
        break
      } finally {
        this.#writing = null
      }
      this.#queue.shift()
      if (this.#obstacle !== null) this.#goOn()
      batch.resolve()
      batch.builder.reset()
      if (this.#spare.length < SPARE_BUILDERS) this.#spare.push(batch.builder)
      await setImmediate()
    }
    this.#running = null
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
