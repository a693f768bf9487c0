import { TidemarkError } from '../base/errors.ts'
import type { Source } from '../capture/source.ts'
import type { Job } from '../upkeep/schedule.ts'
import type { Archive } from './archive.ts'
import { checkOptions, checkPositive } from './options.ts'
import { reconcileWith } from './reconcile.ts'
import type { Session } from './session.ts'

/** What is done again and again, each in milliseconds from the end of one run to the beginning of the next. */
export interface ScheduleOptions {
  /** Compare the database with its history, and record what is found. Default: never. */
  readonly reconcileMs?: number
}

/** What the jobs work with. */
export interface JobSeams {
  readonly archive: Archive
  readonly session: Session | null
  readonly source: Source | null
}

/** The jobs of a schedule. Errors: `OPTION_INVALID`, also for one that this process cannot do. */
export function jobsOf(options: ScheduleOptions, { archive, session, source }: JobSeams): readonly Job[] {
  checkOptions('schedule', options, ['reconcileMs'])
  checkPositive('schedule', 'reconcileMs', options.reconcileMs)
  const { reconcileMs } = options
  const jobs: Job[] = []
  if (reconcileMs !== undefined) {
    if (session === null) throw nothingCaptured()
    const run = async (signal: AbortSignal): Promise<void> => {
      await reconcileWith(archive, session, source, { record: true }, signal)
    }
    jobs.push({ name: 'reconcile', everyMs: reconcileMs, run })
  }
  return jobs
}

function nothingCaptured(): TidemarkError {
  return new TidemarkError('OPTION_INVALID', 'This process captures no database, so there is nothing to compare.', {
    hint: 'Open the store with its source.',
  })
}
