import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isNoteworthy, lookedAt, provenWait, waitingFrom } from '../../src/upkeep/grace.ts'

const DAY = 86_400_000
const START = 1_790_000_000_000
/** What clocks that are kept may differ by. */
const APART = 60_000

/** A clock that is wrong: at one look, or from one on. */
interface Fault {
  readonly at: number
  readonly ms: number
  readonly stays: boolean
}

/** Looks some time apart, in truth, and what the clocks show then. */
const looks = fc.array(fc.integer({ min: 0, max: 10 * DAY }), { minLength: 1, maxLength: 12 })
const fault = fc.record({
  at: fc.nat(12),
  ms: fc.oneof(fc.integer({ min: -1000 * DAY, max: 1000 * DAY }), fc.integer({ min: -2 * DAY, max: 2 * DAY })),
  stays: fc.boolean(),
})

/** What is proven after each look, and how long it was in truth. A look that is not noted is as if it had not been. */
function history(
  steps: readonly number[],
  faults: readonly Fault[],
  graceMs: number,
): { proven: number; true: number }[] {
  const shown = (look: number, ms: number): number =>
    faults.reduce((sum, one) => sum + ((one.stays ? look >= one.at : look === one.at) ? one.ms : 0), ms)
  let waited = waitingFrom(shown(0, START))
  let now = START
  return steps.map((step, i) => {
    now += step
    const seen = lookedAt(waited, shown(i + 1, now))
    if (isNoteworthy(waited, seen, graceMs)) waited = seen
    return { proven: provenWait(seen), true: now - START }
  })
}

test('whatever one clock shows, at one look or from then on, nothing is proven that has not been waited', () => {
  fc.assert(
    fc.property(looks, fault, fc.integer({ min: 0, max: 3 * DAY }), (steps, one, graceMs) => {
      for (const after of history(steps, [one], graceMs)) expect(after.proven).toBeLessThanOrEqual(after.true + APART)
    }),
    { numRuns: 3000 },
  )
})

test('two clocks that were wrong can be believed: the search finds it', () => {
  const early = fc.property(looks, fault, fault, (steps, one, other) =>
    history(steps, [one, other], DAY).every((after) => after.proven <= after.true + APART),
  )
  expect(fc.check(early, { numRuns: 3000 }).failed).toBe(true)
})

test('clocks that are right prove all but the longest step, and a grace is over soon after it', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 60, max: 3 * DAY }), (looksInGrace, graceMs) => {
      const step = Math.ceil(graceMs / looksInGrace)
      const steps = Array.from({ length: 2 * looksInGrace + 4 }, () => step)
      const over = history(steps, [], graceMs).find(({ proven }) => proven >= graceMs)
      // The longest step between looks that are noted is a quarter of the grace, and what is left of a look.
      expect(over?.true ?? Number.POSITIVE_INFINITY).toBeLessThanOrEqual(graceMs * 1.25 + 2 * step)
    }),
  )
})

test('what was ahead by years is waited for from the first look that says so', () => {
  const ahead = waitingFrom(START + 900 * DAY)
  const first = lookedAt(ahead, START)
  const second = lookedAt(first, START + DAY)
  expect([provenWait(first), provenWait(second), provenWait(lookedAt(second, START + 2 * DAY))]).toEqual([0, 0, DAY])
})
