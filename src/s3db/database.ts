import type { S3db } from 's3db.js/lite'
import { TidemarkError } from '../base/errors.ts'
import type { Source } from '../capture/source.ts'
import type { ReconcileOptions } from '../engine/reconcile.ts'
import type { RestoreResult } from '../engine/restore.ts'
import type { Moment } from '../restore/moment.ts'
import type { Target } from '../restore/target.ts'
import type { Reconciliation } from '../upkeep/reconcile.ts'
import { clientOf, identityOf, isVolatile } from './access.ts'
import { type LookedAt, lookAt } from './looking.ts'
import { lookForNothing } from './missed-writes.ts'
import { type PluginRestoreOptions, TidemarkPlugin, type TidemarkPluginOptions } from './plugin.ts'
import { createSource } from './source.ts'
import { createS3dbTarget, type S3dbTargetOptions, writtenLater } from './target.ts'

/** A database of its own, for a process that is not the application: the command line. */
export class ConnectedDatabase {
  /** As in the store file of its history; without secrets. */
  readonly identity: string
  readonly source: Source
  /** Whether nothing at all is there. */
  readonly isEmpty: boolean
  readonly #db: S3db
  readonly #looked: LookedAt
  readonly #options: Pick<S3dbTargetOptions, 'mapSchema'>
  #plugin: TidemarkPlugin | null = null

  private constructor(looked: LookedAt, options: Pick<S3dbTargetOptions, 'mapSchema'>) {
    const { db, isEmpty } = looked
    this.#db = db
    this.#looked = looked
    this.isEmpty = isEmpty
    this.identity = identityOf(clientOf(db))
    this.#options = options
    this.source = createSource(db)
  }

  /**
   * Connects by connection string (file://, s3://), without writing anything. Errors: `TARGET_INVALID`, also for a database in
   * memory: that of another process cannot be reached, and one of this process ends with it.
   */
  static async open(
    connectionString: string,
    options: Pick<S3dbTargetOptions, 'mapSchema'> = {},
  ): Promise<ConnectedDatabase> {
    const looked = await lookAt(connectionString)
    const client = clientOf(looked.db)
    if (!isVolatile(client)) return new ConnectedDatabase(looked, options)
    await looked.db.disconnect()
    throw inMemory(identityOf(client))
  }

  /** For one restore, which closes it. */
  openTarget(): Target {
    return writtenLater(this.#looked, createS3dbTarget(this.#db, this.#options))
  }

  /** Captures every write from now until `close`. Errors: those of opening a store. */
  async capture(options: Pick<TidemarkPluginOptions, 'store' | 'database' | 'journal' | 'memory'>): Promise<{
    restoreInPlace: (moment: Moment, options: Omit<PluginRestoreOptions, 'target'>) => Promise<RestoreResult>
    reconcile: (options: Omit<ReconcileOptions, 'source'>) => Promise<Reconciliation>
  }> {
    // No snapshots, no merging: they are not what the command was called for, and may take longer than that.
    const plugin = this.#plugin ?? new TidemarkPlugin({ ...options, snapshots: false, compaction: false })
    lookForNothing(this.#db)
    await this.#looked.write()
    if (this.#plugin === null) await this.#db.usePlugin(plugin)
    this.#plugin = plugin
    return {
      restoreInPlace: (moment, given) => plugin.restoreAt(moment, { ...given, ...this.#options, target: 'live' }),
      reconcile: (given) => plugin.reconcile(given),
    }
  }

  /** Disconnects; what was captured is in the store then. */
  async close(): Promise<void> {
    await this.#db.disconnect()
  }
}

function inMemory(name: string): TidemarkError {
  return new TidemarkError(
    'TARGET_INVALID',
    `${name} is in the memory of the process that opened it, so nothing can be read from it here, and what is written to it is gone ` +
      'when this command ends. Nothing was done.',
    { hint: 'Give a database on file:// or s3://, or a directory (file:./recovered).' },
  )
}
