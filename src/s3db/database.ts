import type { S3db } from 's3db.js/lite'
import type { Source } from '../capture/source.ts'
import type { ReconcileOptions } from '../engine/reconcile.ts'
import type { RestoreResult } from '../engine/restore.ts'
import type { Moment } from '../restore/moment.ts'
import type { Target } from '../restore/target.ts'
import type { Reconciliation } from '../upkeep/reconcile.ts'
import { clientOf, identityOf } from './access.ts'
import { lookForNothing } from './missed-writes.ts'
import { type PluginRestoreOptions, TidemarkPlugin, type TidemarkPluginOptions } from './plugin.ts'
import { createSource } from './source.ts'
import { connectS3db, createS3dbTarget } from './target.ts'

/** A database of its own, for a process that is not the application: the command line. */
export class ConnectedDatabase {
  /** As in the store file of its history; without secrets. */
  readonly identity: string
  readonly target: Target
  readonly source: Source
  readonly #db: S3db
  #plugin: TidemarkPlugin | null = null

  private constructor(db: S3db) {
    this.#db = db
    this.identity = identityOf(clientOf(db))
    this.target = createS3dbTarget(db)
    this.source = createSource(db)
  }

  /** Connects by connection string (memory://, file://, s3://). Errors: `TARGET_INVALID`. */
  static async open(connectionString: string): Promise<ConnectedDatabase> {
    return new ConnectedDatabase(await connectS3db(connectionString))
  }

  /** Captures every write from now until `close`. Errors: those of opening a store. */
  async capture(options: Pick<TidemarkPluginOptions, 'store' | 'database' | 'journal' | 'memory'>): Promise<{
    restoreInPlace: (moment: Moment, options: Omit<PluginRestoreOptions, 'target'>) => Promise<RestoreResult>
    reconcile: (options: Omit<ReconcileOptions, 'source'>) => Promise<Reconciliation>
  }> {
    const plugin = this.#plugin ?? new TidemarkPlugin(options)
    lookForNothing(this.#db)
    if (this.#plugin === null) await this.#db.usePlugin(plugin)
    this.#plugin = plugin
    return {
      restoreInPlace: (moment, given) => plugin.restoreAt(moment, { ...given, target: 'live' }),
      reconcile: (given) => plugin.reconcile(given),
    }
  }

  /** Disconnects; what was captured is in the store then. */
  async close(): Promise<void> {
    await this.#db.disconnect()
  }
}
