import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Sealer } from '../capture/sealer.ts'
import type { StreamDoor } from '../capture/stream-control.ts'
import { endClockOf } from './peers.ts'
import type { OwnedStream } from './streams.ts'

/** The streams that a session has taken over from dead processes and not closed yet, each with its sealer. */
export class Leftovers {
  readonly #sealerOf: (stream: OwnedStream) => Sealer
  readonly #log: Logger
  readonly #sealers = new Map<OwnedStream, Sealer>()
  readonly #going = new Set<Promise<void>>()

  constructor(sealerOf: (stream: OwnedStream) => Sealer, log: Logger) {
    this.#sealerOf = sealerOf
    this.#log = log
  }

  add(streams: readonly OwnedStream[]): void {
    for (const stream of streams) this.#sealers.set(stream, this.#sealerOf(stream))
  }

  get size(): number {
    return this.#sealers.size
  }

  get streams(): readonly OwnedStream[] {
    return [...this.#sealers.keys()]
  }

  get sealers(): readonly Sealer[] {
    return [...this.#sealers.values()]
  }

  /** Brings each into the store and closes it, unless something of it is not settled; what cannot be done now is logged. */
  async close(): Promise<void> {
    for (const [stream, sealer] of this.#sealers) {
      try {
        await sealer.close()
        if (sealer.stream.state !== 'closed' || !this.#sealers.delete(stream)) continue
        endClockOf(sealer.stream)
        const going = this.#letGo(stream)
        // Who was asked at its door may wait for this to end before it answers.
        if (stream.door?.isAnswering !== true) await going
      } catch (error) {
        this.#log.error(
          { error: messageOf(error), stream: stream.entry.id },
          'What an earlier process left in its journal could not be brought into the store; it is tried again.',
        )
      }
    }
  }

  /** Resolves when all that were closed are let go of: not to be waited for by who answers. */
  async gone(): Promise<void> {
    while (this.#going.size > 0) await Promise.all(this.#going)
  }

  #letGo(stream: OwnedStream): Promise<void> {
    const isAnswered = stream.door?.shut()
    const going = Promise.resolve(isAnswered)
      .then(() => stream.release())
      .catch((error: unknown) =>
        this.#log.error(
          { error: messageOf(error), stream: stream.entry.id },
          'The journal of an earlier process is in the store, and could not be let go of; the next start does that.',
        ),
      )
      .finally(() => this.#going.delete(going))
    this.#going.add(going)
    return going
  }

  /** Answers other processes for each, with what `complete` does and what it itself says. */
  serve(owner: StreamDoor): void {
    for (const [{ door, journal }, sealer] of this.#sealers) {
      door?.open({
        complete: (through, wanted) => owner.complete(through, wanted),
        forget: () => owner.forget(),
        report: () => ({
          ...owner.report(),
          pending: { ...owner.report().pending, ...journal.pending() },
          ...sealer.progress,
          clockAheadMs: journal.clockAheadMs,
        }),
      })
    }
  }
}
