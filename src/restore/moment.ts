import { TidemarkError } from '../base/errors.ts'
import type { Timeline } from '../model/timeline.ts'
import { beforeInstant, instantEnd, isUlid, lastUlidAt, type Ulid, ulidTime } from '../model/ulid.ts'
import { type Reach, wholeTimes } from './reach.ts'

/**
 * Where to restore to: an RFC 3339 timestamp, epoch milliseconds or a `Date` (inclusive); the ULID of an event
 * (inclusive); just before an event; or the last reachable moment. What was written together is restored together: an event
 * stands for all of its capture.
 */
export type Moment = string | number | Date | { readonly before: Ulid }

/** A moment read as a bound, before it is known whether it can be reached. */
export interface Bound {
  /** Events up to and including this ULID belong to the state. */
  readonly ulid: Ulid
  /** The event that must exist for the moment to mean anything, or null for a time. */
  readonly event: Ulid | null
  /** The moment for people. */
  readonly label: string
}

const RFC3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,3}0*)?([Zz]|[+-]\d{2}:\d{2})$/

/** Reads a moment; `latest` is null, since only the timeline knows it. Errors: `MOMENT_INVALID`. */
export function parseMoment(moment: Moment): Bound | null {
  if (moment === 'latest') return null
  if (typeof moment === 'number') return timeBound(moment, moment)
  if (moment instanceof Date) return timeBound(moment.getTime(), moment)
  if (typeof moment === 'object') {
    if (typeof moment?.before !== 'string' || !isUlid(moment.before) || Object.keys(moment).length !== 1) {
      throw invalid(JSON.stringify(moment))
    }
    return { ulid: beforeInstant(moment.before), event: moment.before, label: `just before event ${moment.before}` }
  }
  const before = /^before:(.+)$/.exec(moment)?.[1]
  if (before !== undefined) return parseMoment({ before })
  if (isUlid(moment)) return { ulid: instantEnd(moment), event: moment, label: `event ${moment}` }
  if (!RFC3339.test(moment)) throw invalid(moment)
  return timeBound(Date.parse(moment.replace(' ', 'T')), moment)
}

function timeBound(ms: number, given: unknown): Bound {
  if (!Number.isInteger(ms) || ms < 0 || ms >= 2 ** 48) throw invalid(String(given))
  return { ulid: lastUlidAt(ms), event: null, label: new Date(ms).toISOString() }
}

function invalid(given: string): TidemarkError {
  return new TidemarkError('MOMENT_INVALID', `"${given}" is no moment. Nothing was read or changed.`, {
    hint:
      'Give a time with its zone and at most milliseconds (2026-11-19T02:46:59.123Z), epoch milliseconds, the ULID of ' +
      'an event, before:<ulid>, or latest.',
  })
}

/** Why nothing is reachable beyond the end of what is. */
export interface Limit {
  readonly why: string
  readonly hint: string
  /** What was tried and failed. */
  readonly cause?: TidemarkError
}

/**
 * The stamp that `moment` stands for. Errors: `MOMENT_UNREACHABLE`, naming the nearest reachable moments on either
 * side; never another moment instead. `limit`: the end of what is reachable is not that of what was acknowledged.
 */
export function resolveMoment(moment: Moment, reach: Reach, limit: Limit | null = null): Bound {
  const bound = parseMoment(moment)
  if (bound === null) {
    if (reach.latest === null) throw unreachable('latest', reach, whyNothing(reach), limit)
    if (limit !== null) throw unreachable('latest', reach, limit.why, limit)
    return { ulid: reach.latest, event: null, label: 'latest' }
  }
  if (reach.earliest === null || reach.latest === null) {
    throw unreachable(bound.label, reach, whyNothing(reach), limit)
  }
  if (bound.ulid < reach.earliest) throw unreachable(bound.label, reach, 'the history begins later')
  if (bound.ulid <= reach.latest) return bound
  const { openStream } = reach
  if (openStream === null) throw unreachable(bound.label, reach, limit?.why ?? 'it lies in the future', limit)
  const why =
    limit?.why ??
    `stream ${openStream.id} of host ${openStream.host} was never closed, and what it wrote after ${time(reach.latest)} is not in the store`
  throw unreachable(bound.label, reach, why, limit)
}

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

/** The error for a moment that names an event which the history does not hold. */
export function noSuchEvent(event: Ulid, timeline: Timeline): TidemarkError {
  const before = timeline.segments.map((segment) => segment.lastUlid).filter((ulid) => ulid < event)
  const after = timeline.segments.map((segment) => segment.firstUlid).filter((ulid) => ulid > event)
  const nearest = [before.sort().at(-1), after.sort().at(0)].filter((ulid) => ulid !== undefined)
  return new TidemarkError('MOMENT_UNREACHABLE', `There is no event ${event} in the history. Nothing was changed.`, {
    hint: `Copy the event's ULID from \`tidemark log\`${nearest.length > 0 ? `; near it: ${nearest.join(' and ')}` : ''}.`,
    details: { event, before: before.at(-1) ?? null, after: after.at(0) ?? null },
  })
}
