import { expect, test } from 'vitest'
import type { MergedSegment, SegmentEntry, StreamSegment } from '../../src/model/timeline.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { type MergeBounds, planCompaction } from '../../src/upkeep/compaction/plan.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
/** A multiple of every window. */
const START = 689 * 30 * DAY
const FILE = { sha256: '', footer: { bytes: 1, crc32: 0 } }

/** A segment of level 0 that begins so many milliseconds after the start. */
function sealed(at: number, events = 10, bytes = 1000): StreamSegment {
  const [firstUlid, lastUlid] = [firstUlidAt(START + at), firstUlidAt(START + at + 9)]
  const range = { stream: 's', firstSequence: at + 1, lastSequence: at + events, firstUlid, lastUlid }
  return { key: `sealed ${at}`, level: 0, ...range, events, bytes, ...FILE, chain: { previous: '', value: '' } }
}

/** A file of a run. */
function merged(run: string, level: number, at: number, file = 0, events = 10): MergedSegment {
  const [firstUlid, lastUlid] = [firstUlidAt(START + at), firstUlidAt(START + at + 9)]
  const about = { key: `${run} ${file}`, level, firstUlid, lastUlid, events, bytes: 1000, ...FILE }
  const index = { key: `${run} index`, bytes: 1, sha256: '', rowGroups: 1 }
  return { ...about, run: { key: run, bytes: 1, sha256: '', index } }
}

/** The level and the keys of the next merge, with everything complete up to so many milliseconds after the start. */
function planned(segments: readonly SegmentEntry[], complete: number, bounds?: MergeBounds): unknown {
  const plan = planCompaction(segments, firstUlidAt(START + complete), bounds)
  return plan === null ? null : [plan.level, ...plan.units.map((unit) => unit.map(({ key }) => key).join('+'))]
}

test('segments of a window are merged once it is over, and not before', () => {
  const segments = [sealed(4 * MINUTE), sealed(5 * MINUTE), sealed(1000)]
  expect(planned(segments, 5 * MINUTE - 1)).toBeNull()
  expect(planned(segments, 5 * MINUTE)).toEqual([1, 'sealed 1000', 'sealed 240000'])
  // The third waits for its own window, and then for the hour.
  expect(planned([merged('a', 1, 1000), sealed(5 * MINUTE)], 59 * MINUTE)).toBeNull()
  expect(planned([merged('a', 1, 1000), sealed(5 * MINUTE)], HOUR)).toEqual([2, 'a 0', 'sealed 300000'])
})

test('the lowest level comes first, and of it the oldest window', () => {
  const segments = [sealed(2 * HOUR), sealed(2 * HOUR + 1), sealed(0), sealed(10 * MINUTE), sealed(90 * MINUTE)]
  expect(planned(segments, 3 * HOUR)).toEqual([1, 'sealed 7200000', 'sealed 7200001'])
  expect(planned(segments.slice(2), 3 * HOUR)).toEqual([2, 'sealed 0', 'sealed 600000'])
  expect(planned([merged('a', 2, 0), sealed(90 * MINUTE)], DAY)).toEqual([3, 'a 0', 'sealed 5400000'])
  expect(planned([merged('a', 3, 0), sealed(2 * DAY)], 30 * DAY)).toEqual([4, 'a 0', 'sealed 172800000'])
})

test('a run is merged as a whole, its files in order, and one of the last level no more', () => {
  const files = [merged('b', 1, 7 * MINUTE, 1), merged('a', 1, 0), merged('b', 1, 8 * MINUTE, 0)]
  expect(planned(files, HOUR)).toEqual([2, 'a 0', 'b 0+b 1'])
  expect(planned([merged('a', 4, 0), merged('b', 4, 9)], 60 * DAY)).toBeNull()
})

test('no more is merged at once than the bounds say, and what is too large for them stays', () => {
  const four = [0, 1, 2, 3].map((n) => sealed(n * 100))
  const bounds = { inputs: 256, events: 1e6, bytes: 1e9 }
  expect(planned(four, HOUR, { ...bounds, inputs: 3 })).toEqual([1, 'sealed 0', 'sealed 100', 'sealed 200'])
  expect(planned(four, HOUR, { ...bounds, events: 20 })).toEqual([1, 'sealed 0', 'sealed 100'])
  expect(planned(four, HOUR, { ...bounds, bytes: 2999 })).toEqual([1, 'sealed 0', 'sealed 100'])
  expect(planned(four, HOUR, { ...bounds, events: 19 })).toBeNull()
  // Sequences whose events were erased count as well: whoever verifies has a row of each.
  const emptied = { ...sealed(0), events: 1 }
  expect(planned([emptied, sealed(100)], HOUR, { ...bounds, events: 19 })).toBeNull()
  // Of records of megabytes nothing is gained, and of nothing nothing is made.
  expect(planned([sealed(0, 1, 2 ** 21), sealed(100)], HOUR)).toBeNull()
  expect(planned([{ ...sealed(0), events: 0 }, sealed(100)], HOUR)).toBeNull()
})
