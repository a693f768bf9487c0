import { TidemarkError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Source } from '../capture/source.ts'
import { drillKey } from '../format/keys.ts'
import type { Job } from '../upkeep/schedule.ts'
import type { SnapshotPolicy } from '../upkeep/snapshot-due.ts'
import type { Archive } from './archive.ts'
import { CompactionJob, type CompactionPolicy } from './compaction.ts'
import { runDrills } from './drill.ts'
import { checkOptions, checkPositive } from './options.ts'
import { pruneOrThrow, type ScheduledRetention } from './prune.ts'
import { reconcileWith } from './reconcile.ts'
import type { Session } from './session.ts'
import { SnapshotJob } from './snapshots.ts'

/** What is done again and again, each in milliseconds from the end of one run to the beginning of the next. */
export interface ScheduleOptions {
  /** Compare the database with its history, and record what is found. Default: never. */
  readonly reconcileMs?: number
  /** Restore a random moment into scratch space and prove it; a drill that fails is logged as an error. Default: never. */
  readonly drillMs?: number
}

const DAY_MS = 86_400_000

/** What the jobs work with. */
export interface JobSeams {
  readonly archive: Archive
  readonly session: Session | null
  readonly source: Source | null
  /** When snapshots are made. */
  readonly snapshots: SnapshotPolicy | false
  /** What of the history is kept; null: all of it. */
  readonly retention: ScheduledRetention | null
  /** When segments are merged. */
  readonly compaction: CompactionPolicy | false
  readonly log: Logger
}

/** The jobs of a schedule, and what is done without being asked for. Errors: `OPTION_INVALID`, also for one that this process cannot do. */
export function jobsOf(
  options: ScheduleOptions,
  { archive, session, source, snapshots, retention, compaction, log }: JobSeams,
): readonly Job[] {
  checkOptions('schedule', options, ['reconcileMs', 'drillMs'])
  for (const [name, ms] of Object.entries(options)) checkPositive('schedule', name, ms)
  const { reconcileMs, drillMs } = options
  const jobs: Job[] = []
  if (session !== null && snapshots !== false)
    jobs.push(new SnapshotJob({ archive, stream: session.stream, policy: snapshots, log }))
  if (session !== null && compaction !== false) jobs.push(new CompactionJob(archive, compaction, log))
  if (reconcileMs !== undefined) {
    if (session === null) throw nothingCaptured()
    const run = async (signal: AbortSignal): Promise<void> => {
      await reconcileWith(archive, session, source, { record: true }, signal)
    }
    jobs.push({ name: 'reconcile', everyMs: reconcileMs, run })
  }
  if (drillMs !== undefined) {
    jobs.push({ name: 'drill', everyMs: drillMs, run: (signal) => drillOrThrow(archive, signal) })
  }
  if (session !== null && retention !== null) jobs.push(pruneJob(archive, retention))
  return jobs
}

function pruneJob(archive: Archive, { everyMs = DAY_MS, grace, ...policy }: ScheduledRetention): Job {
  const options = { policy, ...(grace === undefined ? {} : { grace }) }
  return { name: 'prune', everyMs, run: (signal) => pruneOrThrow(archive, options, signal) }
}

async function drillOrThrow(archive: Archive, signal: AbortSignal): Promise<void> {
  const [proof] = await runDrills(archive, { onProgress: () => signal.throwIfAborted() })
  if (proof === undefined || proof.passed) return
  const { failure, differing, differences, ulid } = proof
  const [first] = differences
  const what = failure?.message ?? `${differing} items differ, the first is ${first?.resource}/${first?.id}`
  throw new TidemarkError('DRILL_FAILED', `What was restored is not what the events say: ${what}.`, {
    hint: `Run tidemark verify. The proof is ${drillKey(ulid)} in the store.`,
    details: { key: drillKey(ulid) },
  })
}

function nothingCaptured(): TidemarkError {
  return new TidemarkError('OPTION_INVALID', 'This process captures no database, so there is nothing to compare.', {
    hint: 'Open the store with its source.',
  })
}
