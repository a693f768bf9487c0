import '../base/require-node.ts'
import type { CronManager } from 's3db.js/concerns/cron-manager'
import type { S3db } from 's3db.js/lite'
import { Plugin } from 's3db.js/plugins/plugin.class'
import { TidemarkError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { shared } from '../base/shared.ts'
import type { SealOptions } from '../capture/sealer.ts'
import { type Attribution, as } from '../engine/context.ts'
import type { DrillOptions } from '../engine/drill.ts'
import type { EraseOptions, EraseResult } from '../engine/erasure.ts'
import type { JournalOptions } from '../engine/journal-options.ts'
import { checkFlag, checkOptions, checkTarget } from '../engine/options.ts'
import type { ReconcileOptions } from '../engine/reconcile.ts'
import type { Progress, RestoreResult } from '../engine/restore.ts'
import type { Retention } from '../engine/retention.ts'
import { isSameDatabase } from '../engine/same-place.ts'
import type { ScheduleOptions } from '../engine/schedule.ts'
import type { TakeOptions } from '../engine/snapshots.ts'
import type { Status } from '../engine/status.ts'
import type { Ack } from '../engine/streams.ts'
import type { Tidemark } from '../engine/tidemark.ts'
import {
  checkDryRun,
  checkMoment,
  checkTidemarkOptions,
  type DryRunOptions,
  dryRunOf,
  type UpkeepOptions,
} from '../engine/tidemark-options.ts'
import type { View } from '../engine/view.ts'
import type { DrillProof } from '../format/drill-file.ts'
import type { Event } from '../model/event.ts'
import type { SnapshotEntry } from '../model/timeline.ts'
import type { Moment } from '../restore/moment.ts'
import type { OnConflict, Target } from '../restore/target.ts'
import type { Verdict } from '../restore/verdict.ts'
import type { StoreSpec } from '../store/open.ts'
import type { Reconciliation } from '../upkeep/reconcile.ts'
import type { TakenSnapshot } from '../upkeep/snapshot.ts'
import type { Verification } from '../upkeep/verify.ts'
import { clientOf, identityOf } from './access.ts'
import { Attachment } from './attachment.ts'
import { isConnectionString } from './connection-string.ts'
import { lookAt } from './looking.ts'
import { createS3dbTarget, openS3dbTarget } from './target.ts'

/** How a database is backed up. */
export interface TidemarkPluginOptions extends UpkeepOptions {
  /** `file:./dir`, `s3://bucket/prefix`, `memory:name`, or a `StoreSpec` with endpoint, region and credentials. */
  readonly store: string | StoreSpec
  /**
   * Directory of the local journals (default: `.tidemark`; give an absolute path in production), or an object that also
   * says how much may wait in a journal while the store is away, and what becomes of writes then.
   */
  readonly journal?: string | JournalOptions
  /**
   * When the promise of a write resolves: `journal` (default), its event is synced to the local journal; `store`, it
   * is in the store, for hosts without a disk; `memory`, at once: a crash loses what was not sealed yet.
   */
  readonly ack?: Ack
  readonly seal?: SealOptions
  /** Bytes that a restore may use for what it merges. Default: 128 MiB. */
  readonly memory?: number
  /** Name of the database in the store. Default: its connection, without secrets. */
  readonly database?: string
  /** Also capture what other plugins store for themselves, without their locks. Default: false. */
  readonly pluginStorage?: boolean
  readonly logger?: Logger
}

/** What is restored where. */
export interface PluginRestoreOptions {
  /**
   * `live`: this database, in place. A connected `S3db`, or a connection string with `://`: another database; where it is
   * this one, in place too. Anything else is a directory: `file:./recovered` or a path.
   */
  readonly target: string | S3db | Target
  readonly resources?: readonly string[]
  /** Record ids of the chosen resources. */
  readonly ids?: readonly string[]
  /** Allow a target that holds data: always needed for `live`. Default: false. */
  readonly overwrite?: boolean
  /** Plan and preview only, nothing is written; as in `RestoreOptions`. Default: false. */
  readonly dryRun?: boolean | DryRunOptions
  /** What becomes of what is written while a restore into `live` goes on; as in `RestoreOptions`. Default: `keep`. */
  readonly onConflict?: OnConflict
  /**
   * Translate records that are chosen by `ids` by attribute name, where the database has another schema of their resource;
   * what does not fit is in the result. Default: false, they are refused.
   */
  readonly mapSchema?: boolean
  readonly onProgress?: (progress: Progress) => void
}

/** The plugin that captures a storage client. */
const owners = shared('owners', () => new WeakMap<object, TidemarkPlugin>())

/** What the plugin emits, with a `Finding`, for each write that was not captured and was found. */
const FINDING = 'plg:tidemark:finding'

const OPTION_NAMES = [
  'store',
  'journal',
  'ack',
  'seal',
  'memory',
  'database',
  'pluginStorage',
  'logger',
  'snapshots',
  'retention',
  'compaction',
]
const OTHER_TARGETS = ['live', 'a connected S3db', 'a connection string (file:///var/lib/copy, s3://..)']
const RESTORE_NAMES = ['target', 'resources', 'ids', 'overwrite', 'dryRun', 'onConflict', 'mapSchema', 'onProgress']

/**
 * Continuous backup of an s3db.js database: captures every write, and restores any record, resource or the whole
 * database as it was at any moment. Give it to the constructor (`plugins: [tidemark]`) or, once connected, to
 * `db.usePlugin(tidemark)`. Emits `plg:tidemark:finding` with a `Finding` for each write that was not captured, once it
 * is found and recorded.
 */
export class TidemarkPlugin extends Plugin {
  /** s3db.js declares this wider in the class than in what `usePlugin` takes. */
  declare instanceName: string
  declare cronManager: CronManager
  readonly #given: TidemarkPluginOptions
  #db: S3db | null = null
  #attachment: Attachment | null = null
  #tidemark: Tidemark | null = null
  #scheduled: ScheduleOptions | null = null

  constructor(options: TidemarkPluginOptions) {
    checkOptions('TidemarkPlugin', options, OPTION_NAMES)
    const { pluginStorage, ...rest } = options
    checkFlag('TidemarkPlugin', 'pluginStorage', pluginStorage)
    checkTidemarkOptions(rest)
    super({ slug: 'tidemark', logLevel: 'silent' })
    this.#given = options
  }

  /**
   * s3db.js calls this first, whichever way the plugin is given. `usePlugin` before `connect` would then return without
   * installing anything, for ever; being awaitable until it is installed, the plugin turns that into an error.
   */
  override setInstanceName(name: string | null | undefined): void {
    super.setInstanceName(name)
    Object.defineProperty(this, 'then', { configurable: true, value: refuseBeforeConnect })
  }

  /**
   * Attaches to the storage client before s3db.js does anything else with this plugin. `database` is an `S3db`; what
   * `usePlugin` declares that it passes is wider than what the class says it takes. Errors: `SOURCE_ATTACHED`.
   */
  override async install(database: object): Promise<void> {
    Reflect.deleteProperty(this, 'then')
    this.#attach(database as S3db)
    await super.install(database as S3db)
  }

  override async onInstall(): Promise<void> {
    // disconnect() stops the plugins of this list only, and usePlugin() does not enter them.
    const stopped: unknown[] = this.#connected().pluginList
    if (!stopped.includes(this)) stopped.push(this)
  }

  /** Resolves when writes are captured. */
  override async onStart(): Promise<void> {
    try {
      await this.#attachment?.opened()
    } catch (error) {
      // Nothing was promised yet, and who called usePlugin() is told. Inside connect() writes go on being refused.
      if (this.#attachment?.wasOpen === false && this.#connected().isConnected()) this.#release()
      throw error
    }
  }

  override async onUninstall(): Promise<void> {
    this.#release()
  }

  override async onStop(): Promise<void> {
    this.#tidemark = null
    await this.#attachment?.close()
  }

  /** Runs `fn`; every write that it starts is attributed to an actor, a transaction and metadata. */
  as<T>(attribution: Attribution, fn: () => T): T {
    return as(attribution, fn)
  }

  /** The database as it was at a moment, for reading: `get`, `list`, `count`, `resources`. */
  at(moment: Moment): View {
    return this.#open().at(moment)
  }

  /** Every event of one record, oldest first, with both images, who and when. */
  history(resource: string, id: string): AsyncIterable<Event> {
    return this.#open().history(resource, id)
  }

  /** Restores a moment. Errors: see `Tidemark.restoreAt`; `CONFIRMATION_NEEDED` for `live` without `overwrite`. */
  async restoreAt(moment: Moment, options: PluginRestoreOptions): Promise<RestoreResult> {
    checkOptions('restoreAt', options, RESTORE_NAMES)
    if (!isPlace(options.target)) checkTarget('restoreAt', options.target, OTHER_TARGETS)
    checkMoment(moment)
    const tidemark = this.#open()
    const inPlace = await this.#isOwn(options.target)
    checkDryRun(options.dryRun)
    if (inPlace && options.overwrite !== true && !dryRunOf(options).dryRun) throw confirmationNeeded()
    const { mapSchema = false, ...rest } = options
    checkFlag('restoreAt', 'mapSchema', mapSchema)
    if (mapSchema && (options.ids === undefined || !isDatabase(options.target))) throw nothingToMap()
    const target = await this.#target(options.target, inPlace, mapSchema)
    // What a Date or an object becomes in JSON is what the command line takes.
    return as({ actor: 'tidemark', meta: { restore: moment } }, () =>
      tidemark.restoreAt(moment, { ...rest, target, inPlace }),
    )
  }

  /** Takes a deleted record out of the whole history, for good. Errors: see `Tidemark.erase`. */
  erase(resource: string, id: string, options: EraseOptions): Promise<EraseResult> {
    return this.#open().erase(resource, id, options)
  }

  /** Makes a snapshot of a moment from history, without touching the database. */
  snapshot(options: TakeOptions = {}): Promise<TakenSnapshot> {
    return this.#open().snapshot(options)
  }

  /** Reads this database into a snapshot: the moments after it are free of every gap before it. */
  baseline(): Promise<SnapshotEntry> {
    return this.#open().baseline()
  }

  /** Restores moments for real into scratch space, and proves that they are what the events say. */
  drill(options: DrillOptions = {}): Promise<readonly DrillProof[]> {
    return this.#open().drill(options)
  }

  /** Whether a moment can be restored: yes, yes except for what is missing, or no and why. */
  reachable(moment: Moment): Promise<Verdict> {
    return this.#open().reachable(moment)
  }

  /** What of the history is kept: marks and holds. */
  get retention(): Retention {
    return this.#open().retention
  }

  status(): Promise<Status> {
    return this.#open().status()
  }

  /**
   * Compares this database with its history and tells every write that was not captured; with `record` it becomes an
   * event that is marked as found.
   */
  reconcile(options: Omit<ReconcileOptions, 'source'> = {}): Promise<Reconciliation> {
    return this.#open().reconcile(options)
  }

  /** Does upkeep again and again from now on, also after the database was connected again. */
  async schedule(options: ScheduleOptions): Promise<void> {
    await this.#open().schedule(options)
    this.#scheduled = options
  }

  verify(): Promise<Verification> {
    return this.#open().verify()
  }

  /** Resolves when every event that was acknowledged before the call is in the store. */
  flush(): Promise<void> {
    return this.#open().flush()
  }

  /** A plugin that captures this database goes on, however often it is given; one of another database is refused. */
  #attach(db: S3db): void {
    const attachment = this.#attachment
    if (attachment?.isOf(db) === true) {
      attachment.begin()
      return
    }
    if (attachment?.isClosed === false) throw attachedElsewhere()
    const before = owners.get(db.client)
    // usePlugin() has put this one in its place already.
    if (before !== undefined && db.plugins[this.instanceName] === this) db.plugins[before.instanceName] = before
    this.#attachment = new Attachment(db, {
      plugin: this,
      options: this.#given,
      opened: (tidemark) => this.#opened(tidemark),
    })
    this.#db = db
    owners.set(db.client, this)
  }

  async #opened(tidemark: Tidemark): Promise<void> {
    this.#tidemark = tidemark
    tidemark.onFinding((finding) => this.emit(FINDING, finding))
    if (this.#scheduled !== null) await tidemark.schedule(this.#scheduled)
  }

  #release(): void {
    if (this.#db !== null) owners.delete(this.#db.client)
    this.#attachment?.release()
    this.#attachment = null
    this.#db = null
  }

  /** Whether a target is the database that is captured, by whatever name: it is restored in place, or its history lies. */
  async #isOwn(target: PluginRestoreOptions['target']): Promise<boolean> {
    if (target === 'live' || target === this.#db) return true
    const own = identityOf(clientOf(this.#connected()))
    if (typeof target !== 'string') return !('takes' in target) && isSameDatabase(identityOf(clientOf(target)), own)
    if (!isConnectionString(target)) return false
    const looked = await lookAt(target)
    try {
      return isSameDatabase(identityOf(clientOf(looked.db)), own)
    } finally {
      await looked.db.disconnect()
    }
  }

  async #target(
    target: PluginRestoreOptions['target'],
    inPlace: boolean,
    mapSchema: boolean,
  ): Promise<string | Target> {
    const options = { pluginStorage: this.#given.pluginStorage ?? false, mapSchema }
    if (inPlace) return createS3dbTarget(this.#connected(), options)
    if (typeof target !== 'string') return 'takes' in target ? target : createS3dbTarget(target, options)
    return isConnectionString(target) ? openS3dbTarget(target, options) : target
  }

  #connected(): S3db {
    if (this.#db === null) throw notConnected()
    return this.#db
  }

  #open(): Tidemark {
    if (this.#tidemark === null) throw notConnected()
    return this.#tidemark
  }
}

/** A connected database; whether it is one of s3db.js, its client says. */
function isPlace(target: PluginRestoreOptions['target']): target is S3db {
  return typeof target === 'object' && target !== null && 'client' in target
}

function refuseBeforeConnect(_resolve: unknown, reject: (error: unknown) => void): void {
  reject(notConnected())
}

function notConnected(): TidemarkError {
  return new TidemarkError('SOURCE_NOT_CONNECTED', 'The database is not connected: nothing is captured.', {
    hint: 'Call await db.connect() before await db.usePlugin(tidemark), or give the plugin to new S3db({ plugins: [tidemark] }).',
  })
}

function attachedElsewhere(): TidemarkError {
  return new TidemarkError('SOURCE_ATTACHED', 'This plugin captures another database. Nothing was changed.', {
    hint: 'Make a TidemarkPlugin for each database.',
  })
}

function isDatabase(target: PluginRestoreOptions['target']): boolean {
  return typeof target === 'string' ? target === 'live' || isConnectionString(target) : !('takes' in target)
}

function nothingToMap(): TidemarkError {
  return new TidemarkError(
    'OPTION_INVALID',
    'mapSchema translates single records (ids) into the schema of a database. Nothing was read or changed.',
    {
      hint: 'Give ids and a database as target, or leave mapSchema out: whole resources are restored with their schemas.',
    },
  )
}

function confirmationNeeded(): TidemarkError {
  return new TidemarkError('CONFIRMATION_NEEDED', 'A restore into the live database changes it. Nothing was changed.', {
    hint: 'See what would change with dryRun: true, then allow it with overwrite: true.',
  })
}
