import { expect, test } from 'vitest'
import { isTimeZone, periodsIn, type Tier } from '../../src/upkeep/retention/periods.ts'

const periods = (zone: string, tier: Tier, ...times: string[]): readonly string[] =>
  times.map((time) => periodsIn(zone)(tier, Date.parse(time)))

test('a day, a week, a month and a year begin when the clocks of the zone say so', () => {
  const [before, after] = ['2026-12-31T22:59:59.999Z', '2026-12-31T23:00:00Z']
  expect(periods('Europe/Berlin', 'daily', before, after)).toEqual(['2026-12-31', '2027-01-01'])
  expect(periods('Europe/Berlin', 'monthly', before, after)).toEqual(['2026-12', '2027-01'])
  expect(periods('Europe/Berlin', 'yearly', before, after)).toEqual(['2026', '2027'])
  expect(periods('UTC', 'daily', before, after)).toEqual(['2026-12-31', '2026-12-31'])
  // Monday, 28 December, to Sunday, 3 January: one week, in two years.
  expect(periods('Europe/Berlin', 'weekly', '2026-12-27T23:00:00Z', after, '2027-01-03T22:59:59Z')).toEqual([
    '2026-12-28',
    '2026-12-28',
    '2026-12-28',
  ])
  expect(periods('Europe/Berlin', 'weekly', '2026-12-27T22:59:59Z')).toEqual(['2026-12-21'])
})

test('a day with 25 hours has 25 of them, one with 23 has 23, and both are one day', () => {
  const hoursOf = (day: string): readonly string[] => {
    const start = Date.parse(`${day}T00:00:00Z`)
    const quarters = Array.from({ length: 4 * 28 }, (_, i) => start + (i - 12) * 900_000)
    const own = quarters.filter((ms) => periodsIn('Europe/Berlin')('daily', ms) === day)
    return [...new Set(own.map((ms) => periodsIn('Europe/Berlin')('hourly', ms)))]
  }
  expect(hoursOf('2026-10-25')).toHaveLength(25)
  expect(hoursOf('2026-03-29')).toHaveLength(23)
  expect(hoursOf('2026-06-01')).toHaveLength(24)
})

test('hours of a zone that is off by a quarter begin at its full hours', () => {
  const [a, b, c] = periods(
    'Asia/Kathmandu',
    'hourly',
    '2026-01-01T00:14:59Z',
    '2026-01-01T00:15:00Z',
    '2026-01-01T01:14:59Z',
  )
  expect(a).not.toBe(b)
  expect(b).toBe(c)
})

test('a name that is no time zone is known as none', () => {
  expect(['UTC', 'America/New_York', 'Mars/Base', ''].map(isTimeZone)).toEqual([true, true, false, false])
})
