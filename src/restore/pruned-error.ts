import { TidemarkError } from '../base/errors.ts'
import type { PrunedRange } from '../model/pruned.ts'
import type { Timeline } from '../model/timeline.ts'
import { type Ulid, ulidTime } from '../model/ulid.ts'
import { prunedAt } from './pruned.ts'
import { reachOf } from './reach.ts'
import { reachableIntervals, wholeMilliseconds } from './verdict.ts'

/** Sees that a moment is not pruned meanwhile. Errors: `MOMENT_UNREACHABLE`. */
export function requireUnpruned(timeline: Timeline, moment: Ulid, label: string = moment): void {
  const gone = prunedAt(timeline.pruned, moment)
  if (gone !== null) throw prunedError(timeline, moment, label, gone)
}

/** The error for a moment that retention has made unreachable, with what can be reached on either side. */
function prunedError(timeline: Timeline, moment: Ulid, label: string, { at, since, by }: PrunedRange): TidemarkError {
  let before: string | null = null
  let after: string | null = null
  for (const { from, through } of reachableIntervals(timeline, reachOf(timeline))) {
    const range = wholeMilliseconds({ from, through })
    // Of a snapshot alone nothing but its own stamp can be given.
    if (through < moment) before = range === null ? through : isoOf(range.last)
    if (from > moment && after === null) after = range === null ? from : isoOf(range.first)
  }
  const last = isoOf(ulidTime(at))
  const earlier = since === undefined ? '' : `, or by an earlier pruning since ${isoOf(ulidTime(since))}`
  const nearest = [before, after].filter((one) => one !== null).join(' and ')
  return new TidemarkError(
    'MOMENT_UNREACHABLE',
    `The moment ${label} cannot be reached: it was pruned on ${last} by ${by}${earlier}. Nothing was changed.`,
    {
      hint: nearest === '' ? 'Nothing is reachable.' : `The nearest that can be reached: ${nearest}.`,
      details: { before, after, prunedAt: last, policy: by },
    },
  )
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString()
}
