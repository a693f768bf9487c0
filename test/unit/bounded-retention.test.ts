import { expect, test } from 'vitest'
import { EMPTY } from '../../src/base/bytes.ts'
import type { Clock } from '../../src/base/clock.ts'
import { LIMITS } from '../../src/base/limits.ts'
import { snapshotPrefix } from '../../src/format/keys.ts'
import type { SnapshotEntry, StreamSegment } from '../../src/model/timeline.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { SnapshotWriter } from '../../src/restore/snapshot-writer.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { condemnLeftovers } from '../../src/upkeep/retention/leftovers.ts'
import { previewPrune, prune } from '../../src/upkeep/retention/prune.ts'
import { sweep } from '../../src/upkeep/retention/sweep.ts'
import { allSegments } from '../support/catalogue.ts'
import { CommitBytes, MOST_COMMIT_BYTES } from '../support/commit-bytes.ts'
import { STREAM, segment, streamOf } from '../support/many-segments.ts'
import { recordImage } from '../support/model-database.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const BEGIN = Date.UTC(2026, 0, 1)
const DAYS = 20
const A_DAY = 48
const FILTER = Buffer.alloc(LIMITS.filterBytes, 7).toString('base64')

/** The n-th segment: half an hour each. No file is behind it. */
function segmentAt(n: number): StreamSegment {
  const from = BEGIN + (n * DAY) / A_DAY
  return { ...segment(n), firstUlid: firstUlidAt(from), lastUlid: firstUlidAt(from + HOUR / 3), filter: FILTER }
}

async function snapshotAt(store: MemoryStore, ms: number): Promise<SnapshotEntry> {
  const ulid = firstUlidAt(ms)
  const prefix = snapshotPrefix(ulid)
  const writer = new SnapshotWriter({ store, prefix, ulid, database: 'x' })
  await writer.add([{ kind: 'record', resource: 'r', id: 'one', image: recordImage({ ms }) }])
  return { ulid, consistentFrom: ulid, prefix, ...(await writer.finish()) }
}

/** A store of weeks, with a snapshot every two hours, and what its commits put from then on. */
async function weeks(): Promise<{
  store: MemoryStore
  timeline: TimelineLog
  counted: CommitBytes
  commits: number[]
}> {
  const store = new MemoryStore()
  const commits: number[] = []
  const counted = new CommitBytes(store, (bytes) => void commits.push(bytes))
  const timeline = await TimelineLog.open(counted)
  for (let n = 0; n < DAYS * A_DAY; n++) {
    const added = segmentAt(n)
    const stream = { ...streamOf(n + 1), lastUlid: added.lastUlid, sealedThrough: added.lastUlid, openedAt: STREAM }
    const snapshots = n % 4 === 0 ? [await snapshotAt(store, BEGIN + (n * DAY) / A_DAY - 1)] : []
    await timeline.commit(() => ({ putStreams: [stream], addSegments: [added], addSnapshots: snapshots }))
  }
  commits.splice(0)
  return { store, timeline, counted, commits }
}

const clockAt = (ms: number): Clock => ({ now: () => ms, sleep: async () => {}, idle: async () => {} })

test('however much goes at once, each commit writes at most 64 KiB, and all of it goes', async () => {
  const { store, timeline, counted, commits } = await weeks()
  const end = BEGIN + DAYS * DAY
  const seams = { store: counted, timeline, clock: clockAt(end) }
  const policy = { window: '2d' }
  const preview = await previewPrune(seams, policy)
  expect(preview.segments.length).toBeGreaterThan(800)
  expect(preview.snapshots.length).toBeGreaterThan(200)
  const { plan, damage } = await prune(seams, policy)
  expect(damage).toEqual([])
  const keys = (segments: readonly { readonly key: string }[]): string[] => segments.map(({ key }) => key).sort()
  expect(keys(plan.segments)).toEqual(keys(preview.segments))
  expect(plan).toMatchObject({
    ...{ bytes: preview.bytes, unreachable: preview.unreachable, pruned: preview.pruned, bases: preview.bases },
    ...{ snapshots: preview.snapshots, kept: preview.kept },
  })
  expect(timeline.timeline.pruned).toMatchObject(preview.pruned.map((range) => ({ ...range, by: 'window 2d' })))
  const gone = new Set(keys(plan.segments))
  const all = Array.from({ length: DAYS * A_DAY }, (_, n) => segmentAt(n))
  expect(keys(await allSegments(store, timeline.timeline))).toEqual(keys(all.filter(({ key }) => !gone.has(key))))
  const condemned = plan.segments.length + plan.snapshots.length
  expect(timeline.timeline.condemned).toHaveLength(condemned)
  // Looked at, and again when the grace is over.
  for (const hours of [1, 2, 3, 4, 5]) {
    const swept = await sweep({ ...seams, clock: clockAt(end + hours * HOUR) }, 2 * HOUR)
    expect(swept.refused).toEqual([])
  }
  expect(timeline.timeline.condemned).toBeUndefined()
  expect(Math.max(...commits)).toBeLessThanOrEqual(MOST_COMMIT_BYTES)
})

test('however many files nobody names, each commit that condemns them writes at most 64 KiB', async () => {
  const { store, timeline, counted, commits } = await weeks()
  for (let n = 0; n < 1000; n++)
    await store.put(segmentAt(n % 900).key.replace('0123abcd', String(n).padStart(8, '0')), EMPTY)
  const seams = { store: counted, timeline, clock: clockAt(BEGIN + DAYS * DAY) }
  expect(await condemnLeftovers(seams)).toBe(1000)
  expect(await condemnLeftovers(seams)).toBe(0)
  expect(timeline.timeline.condemned).toHaveLength(1000)
  expect(Math.max(...commits)).toBeLessThanOrEqual(MOST_COMMIT_BYTES)
})
