import { TidemarkError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { SealOptions } from '../capture/sealer.ts'
import type { Source } from '../capture/source.ts'
import { type Moment, markNameOf, parseMoment } from '../restore/moment.ts'
import type { OnConflict, Selection, Target } from '../restore/target.ts'
import { describeStore, type StoreSpec } from '../store/open.ts'
import type { SnapshotPolicy } from '../upkeep/snapshot-due.ts'
import type { OnDamage, OnFile } from '../upkeep/verify/inspection.ts'
import { type CompactionPolicy, checkCompaction } from './compaction.ts'
import { checkJournal, type JournalOptions } from './journal-options.ts'
import {
  checkChoice,
  checkFlag,
  checkFunction,
  checkOptions,
  checkPositive,
  checkResources,
  checkSource,
  checkTarget,
  checkText,
  checkTexts,
} from './options.ts'
import { checkRetention, type ScheduledRetention } from './prune.ts'
import type { OnDifference, Progress } from './restore.ts'
import type { Ack } from './streams.ts'

/** What a process that captures does for its store by itself. */
export interface UpkeepOptions {
  /** When it makes a snapshot, from the one before and the events since; `false`: never. */
  readonly snapshots?: SnapshotPolicy | false
  /** What of the history it keeps; the rest is pruned by itself. Default: all of it is kept. */
  readonly retention?: ScheduledRetention
  /** When it merges small segments into larger ones; `false`: never. */
  readonly compaction?: CompactionPolicy | false
}

/** How a store is opened. */
export interface TidemarkOptions extends UpkeepOptions {
  /** `file:./dir`, `s3://bucket/prefix`, `memory:name`, or a `StoreSpec`. */
  readonly store: string | StoreSpec
  /** The live database to capture; without it the store is opened for reading. */
  readonly source?: Source
  /** Directory of the local journals (default: `.tidemark`), or `JournalOptions`. */
  readonly journal?: string | JournalOptions
  /** When a captured write resolves. Default: `journal`. */
  readonly ack?: Ack
  readonly seal?: SealOptions
  /** Bytes that a replay, or a merge of segments, may use for what it holds at once. Default: 128 MiB. */
  readonly memory?: number
  /** Name of the database in the store, where it is not to be its connection. */
  readonly database?: string
  readonly logger?: Logger
}

/** How a capture is ended. */
export interface CloseOptions {
  /** Instead of `seal.closeMs`: what is left of it to who had to wait for others. */
  readonly withinMs?: number
}

/** What a verification looks at besides the store itself. */
export interface VerifyOptions {
  /** Called with each file and its size as it is read. */
  readonly onFile?: OnFile
  /** Called with everything that is wrong, as it is found: the result names the first 1,000. What follows waits for it. */
  readonly onDamage?: OnDamage
  /** Called with each file that nothing names; as above. */
  readonly onUnreferenced?: (key: string) => Promise<void> | void
  /** What `head` gave earlier, as text: the history must still go on from it. */
  readonly head?: string
}

/** What a dry run tells. */
export interface DryRunOptions {
  /** Called with every difference, in the order of `compareItems`; the next one waits until it resolves. */
  readonly onDifference: OnDifference
}

/** What is restored where. */
export interface RestoreOptions {
  /** A directory (`file:./dir` or a path), or a target of an adapter, which is closed in the end. */
  readonly target: string | Target
  readonly resources?: readonly string[]
  /** Record ids; the resources must be given too. */
  readonly ids?: readonly string[]
  /** Allow a target that holds data already. Default: false. */
  readonly overwrite?: boolean
  /** Plan and preview only; with `onDifference` of every difference, not only the first. Default: false. */
  readonly dryRun?: boolean | DryRunOptions
  readonly onProgress?: (progress: Progress) => void
  /** The target is the live database of this history: the restore begins a new epoch. Default: false. */
  readonly inPlace?: boolean
  /**
   * What becomes of what others write while a restore in place goes on: `keep` (default) or `overwrite`; the result lists it. In
   * the process that captures the database nothing is missed; of other processes what is in the history when the restore
   * compares, and what they write until an item is read again under its lock.
   */
  readonly onConflict?: OnConflict
}

const OPTION_NAMES = [
  'store',
  'source',
  'journal',
  'ack',
  'seal',
  'memory',
  'database',
  'logger',
  'snapshots',
  'retention',
  'compaction',
]
const RESTORE_NAMES = ['target', 'resources', 'ids', 'overwrite', 'dryRun', 'onProgress', 'inPlace', 'onConflict']

/** Errors: `OPTION_INVALID` for what is no option, or not of its kind. */
export function checkTidemarkOptions(options: TidemarkOptions): void {
  checkOptions('Tidemark', options, OPTION_NAMES)
  // Refuses what names no store.
  describeStore(options.store)
  checkChoice('Tidemark', 'ack', options.ack, ['journal', 'store', 'memory'])
  checkSource('Tidemark', options.source)
  checkJournal(options.journal)
  checkText('Tidemark', 'database', options.database)
  checkPositive('Tidemark', 'memory', options.memory)
  const { seal, snapshots, retention, compaction } = options
  if (retention !== undefined) checkRetention('Tidemark.retention', retention)
  if (compaction !== undefined && compaction !== false) checkCompaction('Tidemark.compaction', compaction)
  if (snapshots !== undefined && snapshots !== false) checkSnapshots(snapshots)
  if (seal === undefined) return
  checkOptions('Tidemark.seal', seal, ['events', 'bytes', 'ageMs', 'closeMs'])
  for (const [name, value] of Object.entries(seal)) checkPositive('Tidemark.seal', name, value)
}

function checkSnapshots(snapshots: SnapshotPolicy): void {
  checkOptions('Tidemark.snapshots', snapshots, ['everyMs', 'events'])
  for (const [name, value] of Object.entries(snapshots)) checkPositive('Tidemark.snapshots', name, value)
}

/** Which marks there are is known later. Errors: `MOMENT_INVALID`. */
export function checkMoment(moment: Moment): void {
  if (markNameOf(moment) === null) parseMoment(moment)
}

/** Where a restore goes. Errors: `OPTION_INVALID` for what is neither a place nor a target of an adapter. */
export function targetOf(options: RestoreOptions): string | Target {
  checkTarget('restoreAt', Reflect.get(Object(options), 'target'))
  return options.target
}

/** Errors: `OPTION_INVALID` for what is no option of a restore, or not of its kind. */
export function checkRestoreOptions(options: RestoreOptions): void {
  checkOptions('restoreAt', options, RESTORE_NAMES)
  checkResources('restoreAt', options.resources)
  checkTexts('restoreAt', 'ids', options.ids)
  checkDryRun(options.dryRun)
  for (const name of ['overwrite', 'inPlace'] as const) checkFlag('restoreAt', name, options[name])
  checkChoice('restoreAt', 'onConflict', options.onConflict, ['keep', 'overwrite'])
  checkFunction('restoreAt', 'onProgress', options.onProgress)
}

/** Refuses what is neither a flag nor what a dry run tells; absent is fine. */
export function checkDryRun(dryRun: RestoreOptions['dryRun']): void {
  if (typeof dryRun === 'object') {
    checkOptions('restoreAt.dryRun', dryRun, ['onDifference'])
    checkFunction('restoreAt.dryRun', 'onDifference', dryRun.onDifference ?? null)
  } else checkFlag('restoreAt', 'dryRun', dryRun)
}

/** Whether nothing is to be written, and who is told of what would be. */
export function dryRunOf({ dryRun = false }: Pick<RestoreOptions, 'dryRun'>): {
  readonly dryRun: boolean
  readonly onDifference: OnDifference | null
} {
  return { dryRun: dryRun !== false, onDifference: typeof dryRun === 'object' ? dryRun.onDifference : null }
}

/** What a restore is about. Errors: `OPTION_INVALID` for ids without their resource. */
export function selectionOf({ resources, ids }: RestoreOptions): Selection {
  if (ids !== undefined && resources === undefined) {
    throw new TidemarkError(
      'OPTION_INVALID',
      'Record ids were chosen without their resource. Nothing was read or changed.',
      { hint: 'Give resources (--resource) with ids (--id).' },
    )
  }
  return { ...(resources === undefined ? {} : { resources }), ...(ids === undefined ? {} : { ids }) }
}
