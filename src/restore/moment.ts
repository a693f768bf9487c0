import { inspect, types } from 'node:util'
import { TidemarkError } from '../base/errors.ts'
import { didYouMean, nearestNames } from '../base/nearest.ts'
import { isMarkName, type Mark } from '../model/mark.ts'
import { beforeInstant, instantEnd, isUlid, lastUlidAt, type Ulid } from '../model/ulid.ts'

/**
 * Where to restore to: an RFC 3339 timestamp, epoch milliseconds (also as text) or a `Date` (inclusive); the ULID of an event
 * (inclusive); just before an event; the name of a mark; or the last reachable moment. What was written together is restored together: an event
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

const RFC3339 = /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(\.\d{1,3}0*)?(?:[Zz]|[+-](\d{2}):(\d{2}))$/
const DIGITS = /^\d+$/

/** The name of a mark, where a moment can be nothing else. */
export function markNameOf(moment: Moment): string | null {
  return typeof moment === 'string' && isMarkName(moment) ? moment : null
}

/**
 * Reads a moment, which may be the name of one of the marks; `latest` is null, since only the timeline knows it. Errors:
 * `MOMENT_INVALID`.
 */
export function parseMoment(moment: Moment, marks: readonly Mark[] = []): Bound | null {
  if (moment === 'latest') return null
  if (typeof moment === 'number') return timeBound(moment, moment)
  // One of another realm is no instance of this one's class.
  if (types.isDate(moment)) return timeBound(moment.getTime(), moment)
  if (typeof moment === 'string') return markNameOf(moment) === null ? parseText(moment) : markBound(moment, marks)
  return eventBefore(moment)
}

function markBound(name: string, marks: readonly Mark[]): Bound {
  const mark = marks.find((one) => one.name === name)
  if (mark !== undefined) return { ulid: mark.ulid, event: null, label: `of mark ${name}` }
  const names = marks.map((one) => one.name)
  throw invalid(name, 'there is no mark of that name', didYouMean(nearestNames(name, names)))
}

function parseText(moment: string): Bound | null {
  const before = /^before:(.+)$/.exec(moment)?.[1]
  if (before !== undefined) return eventBefore({ before })
  if (isUlid(moment)) return { ulid: instantEnd(moment), event: moment, label: `event ${moment}` }
  if (DIGITS.test(moment)) return timeBound(Number(moment), moment)
  const parts = RFC3339.exec(moment)
  if (parts === null) throw invalid(moment)
  const wrong = wrongIn(parts.slice(1).map(Number))
  if (wrong !== null) throw invalid(moment, wrong)
  return timeBound(Date.parse(moment.replace(' ', 'T')), moment)
}

/** `given` may be anything: who calls from JavaScript is told what is wrong with it. */
function eventBefore(given: unknown): Bound {
  if (typeof given !== 'object' || given === null || !('before' in given) || Object.keys(given).length !== 1) {
    throw invalid(given)
  }
  const { before } = given
  if (typeof before !== 'string' || !isUlid(before)) throw invalid(given)
  return { ulid: beforeInstant(before), event: before, label: `just before event ${before}` }
}

/** What of a time is on no calendar and no clock; null where all of it is. A date that is shifted would be another moment. */
function wrongIn([year = 0, month = 0, day = 0, ...time]: readonly number[]): string | null {
  const [hour = 0, minute = 0, second = 0, , zoneHour = 0, zoneMinute = 0] = time
  if (month < 1 || month > 12) return `there is no month ${month}`
  const days = new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate()
  if (day < 1 || day > days) return `that month has ${days} days`
  if (hour > 23) return 'an hour is 00 to 23, and midnight is 00:00:00 of the day that begins'
  if (minute > 59 || second > 59) return 'minutes and seconds are 00 to 59'
  return zoneHour > 23 || zoneMinute > 59 ? 'there is no such zone' : null
}

function timeBound(ms: number, given: unknown): Bound {
  if (!Number.isInteger(ms) || ms < 0 || ms >= 2 ** 48) throw invalid(given)
  return { ulid: lastUlidAt(ms), event: null, label: new Date(ms).toISOString() }
}

function invalid(given: unknown, why: string | null = null, near = ''): TidemarkError {
  const text = typeof given === 'string' ? `"${given.slice(0, MOST_SHOWN)}"` : shownOf(given)
  const because = why === null ? '' : `: ${why}`
  return new TidemarkError('MOMENT_INVALID', `${text} is no moment${because}. Nothing was read or changed.`, {
    hint:
      `${near}Give a time with its zone and at most milliseconds (2026-11-19T02:46:59.123Z), epoch milliseconds, the ULID of ` +
      'an event, before:<ulid>, the name of a mark, or latest.',
  })
}

const MOST_SHOWN = 100

/** Anything at all, on one line. */
function shownOf(given: unknown): string {
  return inspect(given, { depth: 1, breakLength: Number.POSITIVE_INFINITY, customInspect: false }).slice(0, MOST_SHOWN)
}
