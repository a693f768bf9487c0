import { durationMs } from '../../base/duration.ts'
import { isTimeZone, TIERS, type Tier } from './periods.ts'

/** Snapshots by calendar: the last one of each of so many periods that have one, in a time zone. */
export interface GfsPolicy {
  readonly hourly?: number
  readonly daily?: number
  readonly weekly?: number
  readonly monthly?: number
  readonly yearly?: number
  /** An IANA name, such as `Europe/Berlin`. Default: `UTC`. */
  readonly timeZone?: string
}

/**
 * What is promised to stay reachable; the longest need wins. Ages count back from the newest event, and not from now: where
 * nothing is captured any more, nothing goes. Durations: `90s`, `5m`, `36h`, `30d`.
 */
export interface RetentionPolicy {
  /** Every moment of the last so long. */
  readonly window?: string
  /** The moments of these snapshots. */
  readonly gfs?: GfsPolicy
  /** The moments of the last so many snapshots. */
  readonly count?: number
  /** The moments of the snapshots that are not older. */
  readonly maxAge?: string
}

/** A policy that was read. */
export interface Rules {
  /** Null: no window. */
  readonly windowMs: number | null
  /** Snapshots to keep, by tier; 0: none. */
  readonly tiers: ReadonlyMap<Tier, number>
  readonly timeZone: string
  readonly count: number
  readonly maxAgeMs: number | null
}

/** What of a policy is not valid: the name of the option, what it is, and what it may be; null where all of it is. */
export interface PolicyFault {
  readonly name: string
  readonly why: string
  readonly expected: string
}

const DURATION = 'a duration above 0 with its unit, such as 36h or 30d'
const COUNT = 'a whole number above 0'

/** Reads a policy. */
export function rulesOf({ window, gfs = {}, count = 0, maxAge }: RetentionPolicy): Rules {
  return {
    windowMs: window === undefined ? null : durationMs(window),
    tiers: new Map(TIERS.map((tier) => [tier, gfs[tier] ?? 0])),
    timeZone: gfs.timeZone ?? 'UTC',
    count,
    maxAgeMs: maxAge === undefined ? null : durationMs(maxAge),
  }
}

/** What is wrong with a policy that is made of known options; null where nothing is. */
export function faultOf({ window, gfs = {}, count, maxAge }: RetentionPolicy): PolicyFault | null {
  for (const [name, value] of Object.entries({ window, maxAge }))
    if (value !== undefined && !isDuration(value)) return { name, why: `it is ${shown(value)}`, expected: DURATION }
  for (const [name, value] of Object.entries({ count, ...countsOf(gfs) }))
    if (value !== undefined && !isCount(value)) return { name, why: `it is ${shown(value)}`, expected: COUNT }
  const { timeZone } = gfs
  if (timeZone !== undefined && !isTimeZone(timeZone))
    return { name: 'timeZone', why: `there is no ${shown(timeZone)}`, expected: 'an IANA name, such as Europe/Berlin' }
  const rules = [window, count, maxAge, ...Object.values(countsOf(gfs))]
  if (rules.some((rule) => rule !== undefined)) return null
  return { name: 'retention', why: 'it promises nothing', expected: 'a window, a count, a maxAge, or counts in gfs' }
}

/** The policy in a few words, as it is kept with what it took: `window 30d, daily 7 (Europe/Berlin)`. */
export function policyText({ window, gfs = {}, count, maxAge }: RetentionPolicy): string {
  const { timeZone = 'UTC' } = gfs
  const tiers = Object.entries(countsOf(gfs)).filter(([, value]) => value !== undefined)
  const calendar = tiers.map(([tier, value]) => `${tier} ${value}`).join(', ')
  return [
    ...(window === undefined ? [] : [`window ${window}`]),
    ...(calendar === '' ? [] : [`${calendar} (${timeZone})`]),
    ...(count === undefined ? [] : [`count ${count}`]),
    ...(maxAge === undefined ? [] : [`maxAge ${maxAge}`]),
  ].join(', ')
}

function countsOf({ hourly, daily, weekly, monthly, yearly }: GfsPolicy): Partial<Record<Tier, number | undefined>> {
  return { hourly, daily, weekly, monthly, yearly }
}

function isDuration(value: unknown): boolean {
  return typeof value === 'string' && (durationMs(value) ?? 0) > 0
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) > 0
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : typeof value
}
