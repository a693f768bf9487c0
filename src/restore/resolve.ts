import { TidemarkError } from '../base/errors.ts'
import { type Ulid, ulidTime } from '../model/ulid.ts'
import type { Neighbours } from '../timeline/segments.ts'
import type { Bound } from './moment.ts'
import { type Reach, wholeTimes } from './reach.ts'

/** Why nothing is reachable beyond the end of what is. */
export interface Limit {
  readonly why: string
  readonly hint: string
  /** What was tried and failed. */
  readonly cause?: TidemarkError
}

/**
 * The stamp that a moment stands for; null: `latest`. Errors: `MOMENT_UNREACHABLE`, naming the nearest reachable moments on either
 * side; never another moment instead. `limit`: the end of what is reachable is not that of what was acknowledged.
 */
export function resolveMoment(bound: Bound | null, reach: Reach, limit: Limit | null = null): Bound {
  if (bound === null) {
    if (reach.latest === null) throw unreachable('latest', reach, whyNothing(reach), limit)
    if (limit !== null) throw unreachable('latest', reach, limit.why, limit)
    return { ulid: reach.latest, event: null, label: 'latest' }
  }
  if (reach.earliest === null || reach.latest === null) {
    throw unreachable(bound.label, reach, whyNothing(reach), limit)
  }
  if (bound.ulid < reach.earliest) throw unreachable(bound.label, reach, 'the history begins later', seconds(bound))
  if (bound.ulid <= reach.latest) return bound
  const { openStream } = reach
  if (openStream === null) throw unreachable(bound.label, reach, limit?.why ?? 'it lies in the future', limit)
  const why =
    limit?.why ??
    `stream ${openStream.id} of host ${openStream.host} was never closed, and what it wrote after ${time(reach.latest)} is not in the store`
  throw unreachable(bound.label, reach, why, limit)
}

/** Where a time is so early that it was meant in seconds: what it is then. */
function seconds({ ulid, event }: Bound): Limit | null {
  const ms = ulidTime(ulid)
  if (event !== null || ms >= EARLIEST_MS) return null
  const hint = `A number is epoch milliseconds; for epoch seconds: ${ms * 1000} (${new Date(ms * 1000).toISOString()}).`
  return { why: '', hint }
}

/** No history is from before 1973; seconds up to the year 5138 are below. */
const EARLIEST_MS = 1e11

function whyNothing({ openStream }: Reach): string {
  if (openStream === null) return 'there is no snapshot in the store yet'
  return `stream ${openStream.id} of host ${openStream.host} may hold events from before the first snapshot was complete`
}

function unreachable(label: string, reach: Reach, why: string, limit: Limit | null = null): TidemarkError {
  const { earliest, latest, openStream } = reach
  const times = wholeTimes(reach)
  // Where the history is shorter than a millisecond, it has an end and no time.
  const end = latest === null || label === 'latest' ? 'Nothing is reachable' : 'Reachable: latest'
  const range = times === null ? end : `Reachable: ${times.earliest} to ${times.latest}`
  return new TidemarkError(
    'MOMENT_UNREACHABLE',
    `The moment ${label} cannot be reached: ${why}. Nothing was changed.`,
    {
      hint: limit === null ? `${range}.` : `${range}. ${limit.hint}`,
      details: { earliest, latest, openStream: openStream?.id ?? null },
      ...(limit?.cause === undefined ? {} : { cause: limit.cause }),
    },
  )
}

function time(ulid: Ulid): string {
  return new Date(ulidTime(ulid)).toISOString()
}

/** The error for a moment that names an event which the history does not hold, and what it holds before and after. */
export function noSuchEvent(event: Ulid, { before, after }: Neighbours): TidemarkError {
  const nearest = [before, after].filter((ulid) => ulid !== null)
  return new TidemarkError('MOMENT_UNREACHABLE', `There is no event ${event} in the history. Nothing was changed.`, {
    hint: `Copy the event's ULID from \`tidemark log\`${nearest.length > 0 ? `; near it: ${nearest.join(' and ')}` : ''}.`,
    details: { event, before, after },
  })
}
