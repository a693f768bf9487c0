import type { RestoreResult } from '../engine/restore.ts'
import type { RestoreOptions } from '../engine/tidemark.ts'
import type { Moment } from '../restore/moment.ts'
import type { Target } from '../restore/target.ts'

/** The databases that the command line can open by connection string. Given to it, so that it knows none of them. */
export interface DatabaseAdapter {
  /** Whether a target is a connection string of this adapter and no directory. Loads nothing. */
  handles(target: string): boolean
  /** Connects. Errors: `TARGET_INVALID`, `ADAPTER_MISSING`. */
  open(connectionString: string): Promise<OpenDatabase>
}

/** A connected database. */
export interface OpenDatabase {
  /** As in the store file of its history; without secrets. */
  readonly identity: string
  readonly target: Target
  /** Captures the database from now until `close`, so that a restore in place can be undone. */
  capture(request: CaptureRequest): Promise<CapturedDatabase>
  close(): Promise<void>
}

/** The history that a database is captured into. */
export interface CaptureRequest {
  readonly store: string
  /** Name of the database in that store. */
  readonly database: string
  readonly journal?: string
  /** Bytes that replay may use. */
  readonly memory?: number
}

/** How a captured database is restored in place; as in `RestoreOptions`. */
export type InPlaceOptions = Omit<RestoreOptions, 'target' | 'inPlace'>

/** A database whose writes are captured. */
export interface CapturedDatabase {
  restoreInPlace(moment: Moment, options: InPlaceOptions): Promise<RestoreResult>
}
