import type { Source } from '../capture/source.ts'
import type { Target } from '../restore/target.ts'

/**
 * What a module exports as `adapter`, so that the command line can open a kind of database: as `--source` and `--target`,
 * by connection string. It is found as `tidemark-adapter-<scheme>` where it is installed, or where `--adapter` says.
 */
export interface Adapter {
  /** What connection strings begin with, without `://`; lower case. */
  readonly schemes: readonly string[]
  /** Connects, and writes nothing: also a database that is not there is only made by a restore. */
  open(connectionString: string): Promise<AdapterDatabase>
}

/** A database that an adapter has opened. */
export interface AdapterDatabase {
  /** `identity` says which database it is, without secrets; `tidemark` prints it. */
  readonly source: Source
  /**
   * For one restore, which closes it. What is written by it while the source is attached is captured: a restore in place
   * is part of the history.
   */
  openTarget(request: TargetRequest): Target | Promise<Target>
  close(): Promise<void>
}

/** How a target is opened. */
export interface TargetRequest {
  /** `fit` of the target is to translate single records where the database has another schema, not to refuse them. */
  readonly mapSchema: boolean
}
