import fc from 'fast-check'
import { expect, test } from 'vitest'
import { joinedRanges, type PrunedRange } from '../../src/model/pruned.ts'
import { firstUlidAt, lastUlidAt, ulidTime } from '../../src/model/ulid.ts'

const DAY = 86_400_000
const BEGIN = Date.UTC(2026, 0, 1)

/** Days that were pruned, and on which day each; ranges of whole days, so that neighbours touch. */
const prunings = fc.array(
  fc.record({
    day: fc.integer({ min: 0, max: 40 }),
    on: fc.integer({ min: 0, max: 400 }),
    by: fc.constantFrom('window 1d', 'daily 7 (UTC)'),
  }),
  { maxLength: 60 },
)

function rangeOf(day: number, on: number, by: string): PrunedRange {
  const from = BEGIN + day * DAY
  return { from: firstUlidAt(from), through: lastUlidAt(from + DAY - 1), at: firstUlidAt(BEGIN + on * DAY), by }
}

function sorted(ranges: readonly PrunedRange[]): PrunedRange[] {
  return ranges.toSorted((a, b) => (a.from < b.from ? -1 : 1))
}

test('whatever is joined, and however often: the same days are gone, by the same policy, and within 90 days of the truth', () => {
  fc.assert(
    fc.property(prunings, (all) => {
      const truth = new Map<number, { readonly on: number; readonly by: string }>()
      let ranges: readonly PrunedRange[] = []
      for (const { day, on, by } of all) {
        if (truth.has(day)) continue
        truth.set(day, { on, by })
        ranges = joinedRanges(sorted([...ranges, rangeOf(day, on, by)]))
      }
      for (let day = 0; day <= 40; day++) {
        const noon = firstUlidAt(BEGIN + day * DAY + DAY / 2)
        const found = ranges.filter(({ from, through }) => from <= noon && noon <= through)
        const known = truth.get(day)
        expect(found.length).toBe(known === undefined ? 0 : 1)
        const [range] = found
        if (known === undefined || range === undefined) continue
        expect(range.by).toBe(known.by)
        const [first, last] = [ulidTime(range.since ?? range.at), ulidTime(range.at)]
        expect(first).toBeLessThanOrEqual(BEGIN + known.on * DAY)
        expect(last).toBeGreaterThanOrEqual(BEGIN + known.on * DAY)
        expect(last - first).toBeLessThanOrEqual(90 * DAY)
      }
    }),
  )
})

test('a year of prunings is few ranges: five of a window, and not many more of a calendar', () => {
  let window: readonly PrunedRange[] = []
  for (let day = 0; day < 365; day++) window = joinedRanges([...window, rangeOf(day, day + 30, 'window 30d')])
  expect(window.length).toBe(5)
  // All but one moment of a day goes after a day; that goes a week later.
  let calendar: readonly PrunedRange[] = []
  const by = 'daily 7 (UTC)'
  for (let day = 0; day < 365; day++) {
    const at = firstUlidAt(BEGIN + (day + 1) * DAY)
    const noon = BEGIN + day * DAY + DAY / 2
    const parts = [
      { from: firstUlidAt(noon - DAY / 2), through: lastUlidAt(noon - 1), at, by },
      { from: firstUlidAt(noon + 1), through: lastUlidAt(noon + DAY / 2 - 1), at, by },
    ]
    const late = noon - 7 * DAY
    const kept = day < 7 ? [] : [{ from: firstUlidAt(late), through: lastUlidAt(late), at, by }]
    calendar = joinedRanges(sorted([...calendar, ...parts, ...kept]))
  }
  expect(calendar.length).toBeLessThan(5 + 7 + 3)
})
