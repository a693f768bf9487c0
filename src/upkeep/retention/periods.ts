/** A kind of period of the calendar. */
export type Tier = 'hourly' | 'daily' | 'weekly' | 'monthly' | 'yearly'

/** Every kind, the shortest first. */
export const TIERS: readonly Tier[] = ['hourly', 'daily', 'weekly', 'monthly', 'yearly']

/** Names the period of a time (milliseconds since the epoch): equal for times of the same one, and in their order. */
export type PeriodOf = (tier: Tier, ms: number) => string

const DAY_MS = 86_400_000

/** Whether a time zone has this name. */
export function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone: name }).resolvedOptions().timeZone !== ''
  } catch (error) {
    if (error instanceof RangeError) return false
    throw error
  }
}

/** The periods of a time zone. Weeks begin on Monday. An hour that a clock shows twice is two hours. */
export function periodsIn(timeZone: string): PeriodOf {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'iso8601',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  })
  return (tier, ms) => {
    const parts = new Map(format.formatToParts(ms).map(({ type, value }) => [type, Number(value)]))
    const of = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? 0
    const day = Date.UTC(of('year'), of('month') - 1, of('day'))
    if (tier === 'hourly') return hourOf(ms, day + (of('hour') * 60 + of('minute')) * 60_000 + of('second') * 1000)
    if (tier === 'weekly') return dateText(day - ((new Date(day).getUTCDay() + 6) % 7) * DAY_MS)
    return dateText(day).slice(0, { daily: 10, monthly: 7, yearly: 4 }[tier])
  }
}

/** The beginning of the hour in absolute time: where the offset changes, local hours repeat and these do not. */
function hourOf(ms: number, localMs: number): string {
  const offset = localMs - Math.floor(ms / 1000) * 1000
  const localHour = Math.floor(localMs / 3_600_000) * 3_600_000
  return new Date(localHour - offset).toISOString()
}

function dateText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}
