import type { Source } from '../capture/source.ts'
import type { ReconcileOptions } from '../engine/reconcile.ts'
import type { RestoreResult } from '../engine/restore.ts'
import type { RestoreOptions } from '../engine/tidemark-options.ts'
import type { Moment } from '../restore/moment.ts'
import type { Target } from '../restore/target.ts'
import type { StoreSpec } from '../store/open.ts'
import type { Reconciliation } from '../upkeep/reconcile.ts'

/** The databases that the command line can open by connection string. Given to it, so that it knows none of them. */
export interface DatabaseAdapter {
  /** Whether a target is a connection string and no directory. Loads nothing. */
  handles(target: string): boolean
  /** Connects, and writes nothing before a restore or a capture does. Errors: `TARGET_INVALID`, `ADAPTER_MISSING`. */
  open(connectionString: string, options?: OpenOptions): Promise<OpenDatabase>
}

/** How a database is opened. */
export interface OpenOptions {
  /** Translate single records by attribute name where it has another schema. Default: false. */
  readonly mapSchema?: boolean
  /** The module of `--adapter`, which has to know the database. Default: `TIDEMARK_ADAPTER`, else whoever knows it. */
  readonly adapter?: string
}

/** A connected database. */
export interface OpenDatabase {
  /** As in the store file of its history; without secrets. */
  readonly identity: string
  /** Whether nothing at all is there: no database, or one that was emptied. */
  readonly isEmpty: boolean
  /** For one restore, which closes it. */
  openTarget(): Target | Promise<Target>
  /** For reading, and to be compared with its history. */
  readonly source: Source
  /** Captures the database from now until `close`, so that what is written or found becomes history. */
  capture(request: CaptureRequest): Promise<CapturedDatabase>
  close(): Promise<void>
}

/** The history that a database is captured into. */
export interface CaptureRequest {
  readonly store: string | StoreSpec
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
  reconcile(options: Omit<ReconcileOptions, 'source'>): Promise<Reconciliation>
}
