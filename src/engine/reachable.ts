import { TidemarkError } from '../base/errors.ts'
import type { KnownGap } from '../model/gap.ts'
import type { Timeline } from '../model/timeline.ts'
import { lastUlidAt, type Ulid, ulidTime } from '../model/ulid.ts'
import { startOf } from '../restore/gaps.ts'
import { type Moment, parseMoment } from '../restore/moment.ts'
import { noSnapshot } from '../restore/plan.ts'
import type { Reach } from '../restore/reach.ts'
import { gapReport, nearestTo, type Refusal, reachableIntervals, type Verdict } from '../restore/verdict.ts'
import type { Archive } from './archive.ts'

/**
 * Whether a moment can be restored, found out as a restore does: what local processes hold for it is brought into the
 * store. A moment that is once reachable stays so. Errors: `MOMENT_INVALID`, and those of the store.
 */
export async function reachableAt(archive: Archive, moment: Moment): Promise<Verdict> {
  try {
    const { bound, timeline, reach } = await archive.locate(moment)
    return verdictAt(timeline, reach, bound.label, bound.ulid)
  } catch (error) {
    if (!isRefusal(error)) throw error
    const { timeline, reach } = await archive.refresh()
    const wanted = parseMoment(moment, timeline.marks)
    const { code, message, hint } = error
    return no(timeline, reach, wanted?.label ?? 'latest', wanted?.ulid ?? null, { code, message, hint })
  }
}

/**
 * The verdict for the last moment of the timeline as it is, without asking anybody; none can be given where streams are
 * `stalled`: what is said of them.
 */
export function verdictNow(timeline: Timeline, reach: Reach, stalled: string | null): Verdict {
  const { latest } = reach
  if (latest !== null && stalled !== null) {
    const message = `The moment latest cannot be reached: ${stalled}.`
    const hint =
      'Ask where those processes run; for one that never comes back: tidemark stream end. Earlier moments are reachable.'
    return no(timeline, reach, 'latest', null, { code: 'MOMENT_UNREACHABLE', message, hint })
  }
  if (latest !== null) return verdictAt(timeline, reach, 'latest', latest)
  const reason = {
    code: 'MOMENT_UNREACHABLE',
    message: 'There is no snapshot in the store yet.',
    hint: 'Start the application with the plugin: capture takes the first by itself.',
  }
  return no(timeline, reach, 'latest', null, reason)
}

function verdictAt(timeline: Timeline, reach: Reach, label: string, ulid: Ulid): Verdict {
  const start = startOf(timeline, ulid)
  if (start === null) {
    const { code, message, hint } = noSnapshot(ulid)
    return no(timeline, reach, label, ulid, { code, message, hint })
  }
  const gaps: readonly KnownGap[] = start.except
  const moment = { label, ulid, time: timeOf(ulid) }
  if (gaps.length === 0) {
    return { verdict: 'yes', moment, gaps: [], reason: null, nearest: { before: null, after: null } }
  }
  const nearest = nearestTo(ulid, reachableIntervals(timeline, reach))
  return { verdict: 'except', moment, gaps: gaps.map(gapReport), reason: null, nearest }
}

function no(timeline: Timeline, reach: Reach, label: string, ulid: Ulid | null, reason: Refusal): Verdict {
  // What cannot be named lies at the end.
  const nearest = nearestTo(ulid ?? lastUlidAt(2 ** 48 - 1), reachableIntervals(timeline, reach))
  const time = ulid === null ? null : timeOf(ulid)
  return { verdict: 'no', moment: { label, ulid, time }, gaps: [], reason, nearest }
}

/** What a restore would refuse with; a store that cannot be asked is no verdict. */
function isRefusal(error: unknown): error is TidemarkError {
  if (!(error instanceof TidemarkError)) return false
  return (
    error.code === 'MOMENT_UNREACHABLE' || (error.code === 'STORE_UNAVAILABLE' && error.details.stream !== undefined)
  )
}

function timeOf(ulid: Ulid): string {
  return new Date(ulidTime(ulid)).toISOString()
}
