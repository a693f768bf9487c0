import type { Clock } from '../base/clock.ts'
import type { ShedRange } from '../model/timeline.ts'
import type { CommitPace } from './commit-pace.ts'
import type { FrameLog } from './frame-log.ts'
import type { Sealed } from './journal-recovery.ts'

/** What a journal is opened over. */
export interface JournalSeams {
  readonly log: FrameLog
  readonly stream: string
  readonly clock: Clock
  /** The last event of the stream that the store's timeline knows of. Default: none. */
  readonly sealed?: Sealed
  /** Bytes of frames that nothing but writes under way may keep before their intents are written again. Default 1 MiB. */
  readonly carryBytes?: number
  /** How commits follow one another; default `TOGETHER`. */
  readonly pace?: CommitPace
  /** What the timeline lists as not recorded; default none. */
  readonly shed?: readonly ShedRange[]
}
