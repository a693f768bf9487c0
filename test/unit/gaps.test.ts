import { expect, test } from 'vitest'
import { applyChange } from '../../src/model/apply-change.ts'
import type { Acknowledgement, Gap, Loss } from '../../src/model/gap.ts'
import type { Interval } from '../../src/model/interval.ts'
import type { PrunedRange } from '../../src/model/pruned.ts'
import {
  EMPTY_TIMELINE,
  type SnapshotEntry,
  type StreamEntry,
  type StreamSegment,
  type Timeline,
} from '../../src/model/timeline.ts'
import { firstUlidAt, previousUlid } from '../../src/model/ulid.ts'
import { gapsOf, needsBaseline } from '../../src/restore/gaps.ts'
import { planRestore } from '../../src/restore/plan.ts'
import { reachOf } from '../../src/restore/reach.ts'
import { reachableIntervals } from '../../src/restore/verdict.ts'
import { NO_NODES, withSegments } from '../support/catalogue.ts'

const S = firstUlidAt(1)

function segment(firstSequence: number, lastSequence: number): StreamSegment {
  const [firstUlid, lastUlid] = [firstUlidAt(firstSequence * 100), firstUlidAt(lastSequence * 100)]
  const events = lastSequence - firstSequence + 1
  const key = `segment/${S}/${firstSequence}-${lastSequence}`
  const footer = { bytes: 1, crc32: 1 }
  return {
    key,
    level: 0,
    stream: S,
    firstSequence,
    lastSequence,
    firstUlid,
    lastUlid,
    events,
    bytes: 1,
    sha256: '',
    footer,
    chain: { previous: '', value: '' },
  }
}

function snapshot(at: number, consistentFrom: number, except?: readonly Gap[]): SnapshotEntry {
  const ulid = firstUlidAt(at)
  const files = { prefix: `snapshot/${ulid}/`, records: 1, bytes: 1, manifestSha256: '' }
  return { ulid, consistentFrom: firstUlidAt(consistentFrom), ...files, ...(except === undefined ? {} : { except }) }
}

const stream: StreamEntry = {
  id: S,
  state: 'closed',
  host: 'h',
  pid: 1,
  journal: { kind: 'memory' },
  openedAt: firstUlidAt(10),
  sealedThrough: firstUlidAt(3050),
  lastSequence: 30,
  lastUlid: firstUlidAt(3000),
  chain: '',
  owner: '',
}
const acknowledgement = (firstSequence: number, lastSequence: number | null, at: number): Acknowledgement => ({
  stream: S,
  firstSequence,
  lastSequence,
  reason: 'disk',
  by: 'ann',
  at: firstUlidAt(at),
})
const HOLE: Gap = {
  stream: S,
  firstSequence: 11,
  lastSequence: 20,
  afterUlid: firstUlidAt(1000),
  beforeUlid: firstUlidAt(2100),
}

/** Events 1 to 30, one every 100 ms, of which 11 to 20 are missing. */
function timeline(snapshots: readonly SnapshotEntry[], more: Partial<Timeline> = {}): Timeline {
  const change = { putStreams: [stream], addSegments: [segment(1, 10), segment(21, 30)], addSnapshots: snapshots }
  return { ...applyChange(EMPTY_TIMELINE, change), ...more }
}
const planAt = (of: Timeline, at: number): ReturnType<typeof planRestore> => planRestore(NO_NODES, of, firstUlidAt(at))

test('a hole refuses the moments that it can touch, and no others', async () => {
  const holed = timeline([snapshot(50, 60)])
  expect(gapsOf(holed)).toEqual([{ ...HOLE, acknowledged: null }])
  expect(await planAt(holed, 1000)).toMatchObject({ except: [], segments: [{ lastSequence: 10 }] })
  for (const at of [1001, 2000, 2100, 9000]) {
    await expect(planAt(holed, at)).rejects.toThrow(/Events 11 to 20 of stream .* are missing/)
  }
  expect(needsBaseline(holed)).toBe(true)
})

test('an acknowledged hole is told, and a snapshot through it stays one through it', async () => {
  const known = { acknowledgements: [acknowledgement(11, 20, 5000)] }
  const except = [{ ...HOLE, acknowledged: { reason: 'disk', by: 'ann', at: firstUlidAt(5000) } }]
  const through = timeline([snapshot(50, 60), snapshot(2500, 2500, [HOLE])], known)
  expect((await planAt(through, 1000)).except).toEqual([])
  expect(await planAt(through, 2400)).toMatchObject({ snapshot: { ulid: firstUlidAt(50) }, except })
  expect(await planAt(through, 9000)).toMatchObject({ snapshot: { ulid: firstUlidAt(2500) }, except })
  await expect(planAt({ ...through, acknowledgements: [acknowledgement(11, 19, 5000)] }, 9000)).rejects.toThrow(
    /missing/,
  )
  expect(needsBaseline(through)).toBe(true)
})

test('a baseline that begins after a hole is free of it; one that begins within is not', async () => {
  const after = timeline([snapshot(50, 60), snapshot(2200, 2300)])
  await expect(planAt(after, 2299)).rejects.toThrow(/missing/)
  expect(await planAt(after, 2300)).toMatchObject({ except: [], snapshot: { ulid: firstUlidAt(2200) } })
  expect(needsBaseline(after)).toBe(false)
  const within = timeline([snapshot(50, 60), snapshot(1500, 2300)])
  await expect(planAt(within, 2300)).rejects.toThrow(/missing/)
})

test('a snapshot through the hole does not hide a baseline that is free of it', async () => {
  // The baseline began before the snapshot and ended after it.
  const snapshots = [snapshot(50, 60), snapshot(2200, 2700), snapshot(2500, 2500, [HOLE])]
  const both = timeline(snapshots, { acknowledgements: [acknowledgement(11, 20, 5000)] })
  expect(await planAt(both, 2600)).toMatchObject({
    snapshot: { ulid: firstUlidAt(2500) },
    except: [{ firstSequence: 11 }],
  })
  expect(await planAt(both, 2700)).toMatchObject({ snapshot: { ulid: firstUlidAt(2200) }, except: [] })
})

test('a loss has no end, and an acknowledgement of one is none of the next', async () => {
  const loss = (after: number, through: number): Loss => ({
    stream: S,
    firstSequence: 31,
    after: firstUlidAt(after),
    through: firstUlidAt(through),
    cause: 'ended',
    reason: 'full',
    by: null,
  })
  const whole = withSegments(timeline([snapshot(50, 60)]), [segment(1, 30)])
  const once = { ...whole, losses: [loss(3050, 4000)] }
  expect((await planAt(once, 3050)).except).toEqual([])
  await expect(planAt(once, 3051)).rejects.toThrow(/from 31 on .* nobody knows how many/)
  const known = { ...once, acknowledgements: [acknowledgement(31, null, 4500)] }
  expect((await planAt(known, 9000)).except).toMatchObject([{ firstSequence: 31, lastSequence: null }])
  const twice = { ...known, losses: [loss(3050, 4000), loss(4600, 4700)] }
  expect((await planAt(twice, 4600)).except).toHaveLength(1)
  await expect(planAt(twice, 4601)).rejects.toThrow(/from 31 on/)
})

test('what was pruned behind a stalled stream makes nothing reachable before it', () => {
  const open = { ...stream, state: 'open', sealedThrough: firstUlidAt(1500) } as const
  const range = (from: number, through: number): PrunedRange => ({
    ...{ from: firstUlidAt(from), through: firstUlidAt(through) },
    ...{ at: firstUlidAt(4000), by: 'window' },
  })
  const reachable = (...pruned: readonly PrunedRange[]): readonly Interval[] => {
    const now = { ...timeline([snapshot(50, 60)]), streams: [open], pruned }
    return reachableIntervals(now, reachOf(now), () => false)
  }
  const from = firstUlidAt(60)
  expect(reachable()).toEqual([{ from, through: firstUlidAt(1500) }])
  expect(reachable(range(2000, 2500))).toEqual([{ from, through: firstUlidAt(1500) }])
  expect(reachable(range(900, 2500))).toEqual([{ from, through: previousUlid(firstUlidAt(900)) }])
})
