import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { SegmentEncoder } from '../capture/encoder.ts'
import { Recorder } from '../capture/recorder.ts'
import { Sealer, type SealOptions } from '../capture/sealer.ts'
import type { Source } from '../capture/source.ts'
import { serveStream } from '../capture/stream-control.ts'
import type { TimelineLog } from '../capture/timeline-log.ts'
import { changeBetween } from '../model/event.ts'
import type { Ulid } from '../model/ulid.ts'
import { sameImage } from '../restore/difference.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { takeBaseline } from '../upkeep/baseline.ts'
import { type Ack, type OwnedStream, openStreams } from './streams.ts'

/** What a session is opened over. */
export interface SessionSeams {
  readonly store: ObjectStore
  readonly timeline: TimelineLog
  readonly source: Source
  readonly clock: Clock
  readonly log: Logger
  readonly ack: Ack
  /** Of the journals of this store. */
  readonly directory: string
  readonly seal: SealOptions
}

/** The capture of one live database by this process: its stream, from the first write to the last. */
export class Session {
  readonly #seams: SessionSeams
  readonly #stream: OwnedStream
  readonly #encoder: SegmentEncoder
  readonly #sealer: Sealer
  readonly #recorder: Recorder
  #detach: () => void = () => {}
  #stopServing: () => Promise<void> = async () => {}
  #baseline: Promise<unknown> = Promise.resolve()
  #closing: Promise<void> | null = null

  private constructor(seams: SessionSeams, stream: OwnedStream, encoder: SegmentEncoder) {
    this.#seams = seams
    this.#stream = stream
    this.#encoder = encoder
    this.#sealer = sealerOf(seams, stream, encoder)
    this.#recorder = new Recorder({
      journal: stream.journal,
      noticed: () => this.#sealer.noticed(),
      shared: () => seams.timeline.timeline.streams.some(({ id, state }) => state === 'open' && id !== stream.entry.id),
    })
  }

  /**
   * Settles what earlier processes left behind, starts the capture, and begins a baseline where the store has no
   * snapshot yet. Writes are captured from when it resolves.
   */
  static async open(seams: SessionSeams): Promise<Session> {
    const [own, ...leftovers] = await openStreams({ ...seams, timeline: seams.timeline.timeline })
    const encoder = new SegmentEncoder()
    try {
      for (const stream of leftovers) await closeLeftover(seams, stream, encoder)
      await settle(own, seams.source)
      const session = new Session(seams, own, encoder)
      await session.#start()
      return session
    } catch (error) {
      await own.release()
      await encoder.close()
      throw error
    }
  }

  /** Id of the stream that this session writes. */
  get stream(): string {
    return this.#stream.entry.id
  }

  /** Events that are durable and not yet in the store. */
  get pending(): { events: number; bytes: number; ageMs: number } {
    return this.#stream.journal.pending()
  }

  /**
   * Brings every event that was acknowledged before the call into the store; with `through`, later events will be
   * stamped after it, so that it is reachable.
   */
  async complete(through: Ulid | null): Promise<void> {
    await this.#baseline
    await this.#sealer.seal(through)
  }

  /** Ends the capture: waits for writes under way, seals everything, and closes the stream. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #start(): Promise<void> {
    const { source, timeline, store, log } = this.#seams
    await timeline.commit(() => ({
      putStreams: [this.#sealer.stream],
      ...(timeline.timeline.epochs.length === 0
        ? { addEpoch: { epoch: 1, startedAt: this.#sealer.stream.openedAt, restored: null } }
        : {}),
    }))
    this.#stopServing = await serveStream(this.stream, (through) => this.complete(through))
    this.#detach = source.attach(this.#recorder)
    this.#sealer.noticed()
    if (timeline.timeline.snapshots.length > 0) return
    const { journal } = this.#stream
    const seal = (): Promise<void> => this.#sealer.seal()
    this.#baseline = takeBaseline({
      store,
      timeline,
      source,
      recorder: this.#recorder,
      mark: () => journal.mark(),
      seal,
    })
    this.#baseline.catch((error: unknown) => {
      log.error(
        { error: messageOf(error) },
        'The baseline failed: nothing can be restored until the next start makes one.',
      )
    })
  }

  async #close(): Promise<void> {
    try {
      await this.#baseline
    } finally {
      this.#detach()
      await this.#recorder.close()
      try {
        await this.#sealer.close()
      } finally {
        await this.#stopServing()
        await this.#stream.release()
        await this.#encoder.close()
      }
    }
  }
}

/** Brings the acknowledged events of a stream whose process is gone into the store, settles the rest, and closes it. */
async function closeLeftover(seams: SessionSeams, stream: OwnedStream, encoder: SegmentEncoder): Promise<void> {
  try {
    await settle(stream, seams.source)
    await sealerOf(seams, stream, encoder).close()
  } finally {
    await stream.release()
  }
}

/** Settles writes of which nobody knows whether they happened, by what the database holds now. */
async function settle({ journal, recovered }: OwnedStream, source: Source): Promise<void> {
  for (const { intent, item, before, context } of recovered.openIntents) {
    const now = await source.read(item)
    const change = sameImage(before, now) ? null : changeBetween(item, before, now, context)
    await journal.settle([{ intent, change }])
  }
  await journal.flush()
}

function sealerOf(seams: SessionSeams, { journal, entry }: OwnedStream, encoder: SegmentEncoder): Sealer {
  const { store, timeline, clock, log, seal } = seams
  return new Sealer({ store, timeline, journal, encoder, clock, log }, entry, seal)
}
