import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import type { WhenFull } from '../capture/journal-bound.ts'
import type { RecordKeys } from '../capture/record-keys.ts'
import type { SealOptions } from '../capture/sealer.ts'
import type { Source } from '../capture/source.ts'
import type { Ulid } from '../model/ulid.ts'
import type { Requests } from '../store/meter.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { TimelineLog } from '../timeline/log.ts'
import type { Ack } from './streams.ts'

/** What a session is opened over. */
export interface SessionSeams {
  readonly store: ObjectStore
  readonly timeline: TimelineLog
  /** Of the records; null where their images are stored as they are. */
  readonly recordKeys: RecordKeys | null
  readonly source: Source
  readonly clock: Clock
  /** See `answering`. Absent: never. */
  readonly canAnswer?: (through: Ulid) => Promise<boolean>
  readonly log: Logger
  readonly ack: Ack
  /** Of the journals of this store. */
  readonly directory: string
  /** See `JournalOptions`. */
  readonly encrypt: boolean
  readonly seal: SealOptions
  /** Bytes of the journal that may wait for the store, and what becomes of writes then. */
  readonly limitBytes: number
  readonly whenFull: WhenFull
  /** Of this process, in the last 24 hours. */
  readonly requests: () => Requests
  /** The store cannot be asked now: its last stamp, as far as this machine knows. Absent: the timeline was read. */
  readonly away?: Ulid
  /** Notes what the next start needs where the store is away then; called when the stream is in the timeline, and in the end. Does not reject. */
  readonly remember?: () => Promise<void>
}
