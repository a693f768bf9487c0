import { setImmediate } from 'node:timers/promises'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { FrameBuilder } from '../format/journal-frame.ts'

/** Entries that become durable together. */
export interface Batch {
  readonly builder: FrameBuilder
  /** Settled when the frame is durable, or when it is known that it may not be. */
  readonly durable: Promise<void>
}

interface OpenBatch extends Batch {
  readonly resolve: () => void
  readonly reject: (error: TidemarkError) => void
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
 * After a failure nothing more is written: a failed sync says nothing about what is on the disk, and a second one
 * that succeeds even less.
 */
export class GroupCommit {
  readonly #write: (builder: FrameBuilder) => Promise<void>
  #queue: OpenBatch[] = []
  #running: Promise<void> | null = null
  #failure: TidemarkError | null = null
  readonly #spare: FrameBuilder[] = []

  /** `write` makes a batch durable; it is called for one batch at a time, in order. */
  constructor(write: (builder: FrameBuilder) => Promise<void>) {
    this.#write = write
  }

  /**
   * The batch that takes entries now, on demand one that holds no event yet. It stays in memory until `commit`.
   * Throws what has failed before.
   */
  gather({ empty = false, together = false }: GatherOptions = {}): Batch {
    if (this.#failure !== null) throw this.#failure
    const last = this.#queue.at(-1)
    const isRoomy = last !== undefined && (together || last.builder.bytes < FULL_BYTES)
    const takes = isRoomy && !(empty && last.builder.eventCount > 0)
    if (takes) return last
    const { promise: durable, resolve, reject } = Promise.withResolvers<void>()
    // Those who wait learn of a failure by their own promise; a batch that nobody waits for needs no handler.
    durable.catch(() => undefined)
    const batch = { builder: this.#spare.pop() ?? new FrameBuilder(), durable, resolve, reject }
    this.#queue.push(batch)
    return batch
  }

  /** Starts writing what has gathered, unless that goes on already. */
  commit(): void {
    this.#running ??= this.#run()
  }

  /** Resolves when everything that has been gathered so far is durable. Rejects with what has failed. */
  async flush(): Promise<void> {
    const last = this.#queue.at(-1)
    if (last !== undefined) {
      this.commit()
      await last.durable
    }
    await this.#running
    if (this.#failure !== null) throw this.#failure
  }

  async #run(): Promise<void> {
    await setImmediate()
    for (let batch = this.#queue.shift(); batch !== undefined; batch = this.#queue.shift()) {
      try {
        await this.#write(batch.builder)
      } catch (error) {
        this.#fail(batch, error)
        break
      }
      batch.resolve()
      batch.builder.reset()
      if (this.#spare.length < SPARE_BUILDERS) this.#spare.push(batch.builder)
      await setImmediate()
    }
    this.#running = null
  }

  #fail(batch: OpenBatch, error: unknown): void {
    const failure = error instanceof TidemarkError ? error : unexpected(error)
    this.#failure = failure
    for (const failed of [batch, ...this.#queue]) failed.reject(failure)
    this.#queue = []
  }
}

function unexpected(error: unknown): TidemarkError {
  return new TidemarkError('JOURNAL_FAILED', `The journal could not be written (${messageOf(error)}).`, {
    hint: 'Start the application again; at its start the journal is read and settled.',
    cause: error,
  })
}
