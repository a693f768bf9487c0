import { afterEach, expect, test } from 'vitest'
import { LIMITS } from '../../src/base/limits.ts'
import { isNodeKey, timelineKey } from '../../src/format/keys.ts'
import { totalsOf } from '../../src/model/segment-index.ts'
import type {
  MergedSegment,
  SegmentEntry,
  SnapshotEntry,
  StreamEntry,
  StreamSegment,
  TimelineChange,
} from '../../src/model/timeline.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { eachNode, neighboursOf, segmentsAt, segmentsBetween } from '../../src/timeline/segments.ts'
import { allSegments } from '../support/catalogue.ts'
import { STREAM, segment, segments, streamOf } from '../support/many-segments.ts'
import { random as seeded } from '../support/random.ts'
import { CountingStore } from '../support/stores.ts'

const KIB = 1024
const limits: { -readonly [limit in keyof typeof LIMITS]: number } = LIMITS
const { rootBytes } = LIMITS

afterEach(() => {
  limits.rootBytes = rootBytes
})

/** A store in which so many segments were committed at once, and a log that knows them. */
async function storeOf(count: number): Promise<{ store: CountingStore; log: TimelineLog }> {
  const store = new CountingStore(new MemoryStore())
  const log = await TimelineLog.open(store)
  await log.commit(() => ({ putStreams: [streamOf(count)], addSegments: segments(count) }))
  store.reset()
  return { store, log }
}

const next = (n: number): TimelineChange => ({ putStreams: [streamOf(n + 1)], addSegments: [segment(n)] })

/** A run of one file with the events of these. */
function runOf(merged: readonly StreamSegment[]): MergedSegment {
  const [first, last] = [merged[0] ?? segment(0), merged.at(-1) ?? segment(0)]
  const { firstUlid } = first
  const { lastUlid, footer, sha256 } = last
  const at = `segment/${firstUlid}/02/`
  const index = { key: `${at}index-0123abcd.bin`, bytes: 4096, sha256, rowGroups: 1 }
  const chain = { key: `${at}chain-0123abcd.json.gz`, bytes: 500, sha256, index }
  const [events, bytes] = [10 * merged.length, 3000 * merged.length]
  return { key: `${at}0000-0123abcd.parquet`, level: 2, run: chain, firstUlid, lastUlid, events, bytes, sha256, footer }
}

async function fileSizes(store: ObjectStore): Promise<number[]> {
  const sizes: number[] = []
  for await (const { key, bytes } of store.list(''))
    if (isNodeKey(key) || key.startsWith('timeline/')) sizes.push(bytes)
  return sizes
}

test('what was committed one by one, or all at once, is read as it is, in any number', async () => {
  for (const count of [1, 27, 28, 29, 900, 2000]) {
    const { store, log } = await storeOf(count)
    for (let n = count; n < count + 40; n++) await log.commit(() => next(n))
    const { timeline } = await TimelineLog.open(store)
    expect(timeline).toEqual(log.timeline)
    expect(await allSegments(store, timeline)).toEqual(segments(count + 40))
    expect(totalsOf(timeline.segments)).toMatchObject({ segments: count + 40, events: 10 * (count + 40) })
    expect(timeline.streams[0]?.sealed).toBeUndefined()
  }
})

test('a commit writes less than 64 KiB, and no more where the history is long', async () => {
  const written: number[] = []
  for (const count of [30, 3000, 100_000]) {
    const { store, log } = await storeOf(count)
    const before = (await fileSizes(store)).reduce((a, b) => a + b)
    for (let n = count; n < count + 200; n++) {
      const sizes = await fileSizes(store)
      await log.commit(() => next(n))
      const added = (await fileSizes(store)).reduce((a, b) => a + b) - sizes.reduce((a, b) => a + b)
      expect(added).toBeLessThan(64 * KIB)
    }
    written.push((await fileSizes(store)).reduce((a, b) => a + b) - before)
  }
  // What differs is how many nodes stand in the roots: up to 23 of each of three heights, beside 8 KiB of a tail.
  expect(Math.max(...written) / Math.min(...written)).toBeLessThan(2.5)
})

test('a refresh after a commit of another reads one file of less than 64 KiB, whatever the history is', async () => {
  const { store, log } = await storeOf(50_000)
  const reader = await TimelineLog.open(store)
  for (let n = 50_000; n < 50_100; n++) {
    await log.commit(() => next(n))
    store.reset()
    expect(await reader.refresh()).toEqual(log.timeline)
    expect(store.log.filter((call) => call.startsWith('get'))).toEqual([`get ${timelineKey(n - 49_998)}`])
    expect(store.bytesRead).toBeLessThan(64 * KIB)
  }
})

test('opening reads the root alone, and a plan the nodes of its range, each once', async () => {
  const { store } = await storeOf(50_000)
  const log = await TimelineLog.open(store)
  expect(store.log.filter((call) => call.startsWith('get'))).toEqual([`get ${timelineKey(1)}`])
  store.reset()
  const wanted = segments(20, 20_000)
  const [first, last] = [wanted[0], wanted.at(-1)]
  if (first === undefined || last === undefined) throw new Error('there are segments')
  const between = (): Promise<readonly SegmentEntry[]> =>
    segmentsBetween(log.nodes.segments, log.timeline.segments, segment(19_999).lastUlid, last.firstUlid)
  expect(await between()).toEqual(wanted)
  expect(store.calls.get).toBeLessThan(6)
  store.reset()
  expect(await between()).toEqual(wanted)
  expect(await segmentsAt(log.nodes.segments, log.timeline.segments, first.lastUlid)).toEqual([first])
  expect(store.calls.get).toBe(0)
})

test('what merges have left of many nodes stands in few, each commit below 64 KiB, and every entry once', async () => {
  const { store, log } = await storeOf(1)
  const expected: string[] = [segment(0).key]
  for (let hour = 0; hour < 24; hour++) {
    const from = 1 + 60 * hour
    for (let n = from; n < from + 60; n++) await log.commit(() => next(n))
    const merged = segments(60, from)
    const by = runOf(merged)
    const before = (await fileSizes(store)).reduce((a, b) => a + b)
    await log.commit(() => ({ merge: { replaced: merged.map(({ key }) => key), by: [by] } }))
    expect((await fileSizes(store)).reduce((a, b) => a + b) - before).toBeLessThan(64 * KIB)
    expected.push(by.key)
  }
  const { timeline, nodes } = await TimelineLog.open(store)
  expect((await allSegments(store, timeline)).map(({ key }) => key).sort()).toEqual(expected.sort())
  let count = 0
  for await (const _ of eachNode(nodes.segments, timeline.segments)) count++
  // 25 entries of some 600 bytes: one node would do, and another may be too large to take in what came last.
  expect(count).toBeLessThanOrEqual(3)
})

test('where merges have left little, no node stands between the root and its leaves, and a leaf takes in those beside it', async () => {
  for (const count of [1000, 2000, 3000]) {
    const { store, log } = await storeOf(count)
    const expected = new Set(segments(count).map(({ key }) => key))
    // All but the last of each hundred, so that what is left of every node is a little.
    for (let from = 0; from + 100 <= count - 100; from += 100) {
      const merged = segments(99, from)
      await log.commit(() => ({ merge: { replaced: merged.map(({ key }) => key), by: [runOf(merged)] } }))
      for (const { key } of merged) expected.delete(key)
      expected.add(runOf(merged).key)
    }
    const { timeline, nodes } = await TimelineLog.open(store)
    expect((await allSegments(store, timeline)).map(({ key }) => key).sort()).toEqual([...expected].sort())
    const widths: number[] = []
    for await (const { height, width } of eachNode(nodes.segments, timeline.segments)) {
      expect(height).toBe(0)
      widths.push(width)
    }
    // As many entries of some 600 bytes as 16 KiB have, at least.
    expect(widths.length).toBeLessThanOrEqual(2 + Math.ceil(expected.size / 25))
  }
})

test('what is next to a ULID is told from the nodes around it', async () => {
  const { log } = await storeOf(5000)
  const { nodes, timeline } = log
  const about = (at: string) => neighboursOf(nodes.segments, timeline.segments, at)
  const [before, after] = [segment(999), segment(1001)]
  expect(await about(segment(1000).firstUlid)).toEqual({ before: before.lastUlid, after: after.firstUlid })
  expect(await about(firstUlidAt(1))).toEqual({ before: null, after: segment(0).firstUlid })
  expect(await about(firstUlidAt(2 ** 47))).toEqual({ before: segment(4999).lastUlid, after: null })
})

test('a segment that is written again stands in the place of the old one, and nothing else changes', async () => {
  const { store, log } = await storeOf(3000)
  const random = seeded(7)
  const all = new Map(segments(3000).map((one) => [one.key, one]))
  for (let round = 0; round < 5; round++) {
    const chosen = [...all.values()].filter(() => random() < 0.01)
    const replaced = chosen.map((one) => {
      const key = one.key.replace(/[0-9a-f]{8}\.parquet$/, `${round}0000000.parquet`)
      return { key: one.key, by: { ...one, key, bytes: one.bytes - 1 } }
    })
    for (const { key, by } of replaced) {
      all.delete(key)
      all.set(by.key, by)
    }
    const ulid = firstUlidAt(1_770_000_000_000 + round)
    const entry = { ulid, resource: 'r', mode: 'rewritten', reason: 'x', by: null, events: 1, snapshots: 0 } as const
    await log.commit(() => ({ erase: { entry, segments: replaced, snapshots: [] } }))
    const { timeline } = await TimelineLog.open(store)
    expect(timeline).toEqual(log.timeline)
    const expected = [...all.values()].sort((a, b) => (a.firstUlid < b.firstUlid ? -1 : 1))
    expect(await allSegments(store, timeline)).toEqual(expected)
    expect(totalsOf(timeline.segments)).toMatchObject({ segments: 3000, events: 30_000 })
  }
})

test('nodes that were read stay as they are: an older timeline is still readable after others went on', async () => {
  const { store, log } = await storeOf(2000)
  const old = log.timeline
  for (let n = 2000; n < 2100; n++) await log.commit(() => next(n))
  expect(await allSegments(store, old)).toEqual(segments(2000))
})

test('many streams that come and go are in nodes, and are what they were', async () => {
  const store = new CountingStore(new MemoryStore())
  const log = await TimelineLog.open(store)
  const id = (n: number): string => firstUlidAt(1_760_000_000_000 + n)
  const closed: StreamEntry[] = []
  for (let n = 0; n < 400; n++) {
    const stream = streamOf(1, 'closed', id(n))
    closed.push(stream)
    await log.commit(() => ({ putStreams: [stream], addSegments: [segment(0, id(n))] }))
  }
  expect(log.rootBytes).toBeLessThan(64 * KIB)
  // One of long ago is opened again, and closed.
  const again: StreamEntry = { ...streamOf(1, 'closed', id(5)), host: 'another' }
  await log.commit(() => ({ putStreams: [{ ...again, state: 'open' }] }))
  expect((await TimelineLog.open(store)).timeline.streams.filter(({ state }) => state === 'open')).toHaveLength(1)
  await log.commit(() => ({ putStreams: [again] }))
  const { timeline } = await TimelineLog.open(store)
  expect(timeline.streams).toEqual(closed.map((stream) => (stream.id === again.id ? again : stream)))
  expect(timeline).toEqual(log.timeline)
})

/** The snapshot of a day. */
function snapshotOf(day: number): SnapshotEntry {
  const ulid = firstUlidAt(1_760_000_000_000 + day * 86_400_000)
  const [prefix, manifestSha256] = [`snapshot/${ulid}/`, String(day).padStart(64, '0')]
  return { ulid, consistentFrom: ulid, prefix, records: 1e7, bytes: 1e9, manifestSha256 }
}

test('a ledger of years is read by few requests, and a commit to it writes less than 64 KiB', async () => {
  for (const days of [30, 365, 1000]) {
    const store = new CountingStore(new MemoryStore())
    const log = await TimelineLog.open(store)
    const snapshots = Array.from({ length: days }, (_, day) => snapshotOf(day))
    for (const snapshot of snapshots) {
      store.reset()
      await log.commit(() => ({ addSnapshots: [snapshot] }))
      expect(store.bytesWritten).toBeLessThan(64 * KIB)
    }
    store.reset()
    const { timeline } = await TimelineLog.open(store)
    expect(timeline.snapshots).toEqual(snapshots)
    // The root, and a node for each 40 KiB or less: 280 bytes of JSON each day.
    expect(store.calls.get).toBeLessThanOrEqual(1 + Math.ceil((days * 280) / (32 * KIB)))
  }
})

test('a commit that adds to both trees writes less than 64 KiB, whatever becomes full in it', async () => {
  for (const begin of [1, 11, 23, 37]) {
    const { store, log } = await storeOf(begin)
    for (let n = begin; n < begin + 700; n++) {
      store.reset()
      await log.commit(() => ({ ...next(n), addSnapshots: [snapshotOf(n)] }))
      expect(store.bytesWritten).toBeLessThan(64 * KIB)
    }
    expect((await TimelineLog.open(store)).timeline).toEqual(log.timeline)
  }
})

test('where entries have full filters a commit writes less than 64 KiB too, and ten thousand of them are two nodes high', async () => {
  const filter = Buffer.alloc(LIMITS.filterBytes, 7).toString('base64')
  const one = (n: number): StreamSegment => ({ ...segment(n), filter })
  const store = new CountingStore(new MemoryStore())
  const log = await TimelineLog.open(store)
  // Up to where as many nodes as it can have stand in a root: 24 leaves of 22 entries make a node.
  const [begin, count] = [9_400, 10_000]
  await log.commit(() => ({
    putStreams: [streamOf(begin)],
    addSegments: Array.from({ length: begin }, (_, n) => one(n)),
  }))
  for (let n = begin; n < count; n++) {
    store.reset()
    await log.commit(() => ({ ...next(n), addSegments: [one(n)], addSnapshots: [snapshotOf(n)] }))
    expect(store.bytesWritten).toBeLessThan(64 * KIB)
  }
  for (const n of [0, 1234, 5000, 8765]) {
    const { nodes, timeline } = await TimelineLog.open(store)
    store.reset()
    expect(await segmentsAt(nodes.segments, timeline.segments, one(n).lastUlid)).toEqual([one(n)])
    expect(store.calls.get).toBeLessThanOrEqual(2)
  }
})

test('what is new does not wait for a leaf that is damaged, beside which it stands then', async () => {
  const { store, log } = await storeOf(30)
  const [leaf] = log.timeline.segments.nodes
  if (leaf === undefined) throw new Error('there is a leaf')
  const bytes = await store.get(leaf.key)
  await store.put(leaf.key, bytes.subarray(1))
  const writer = await TimelineLog.open(store)
  for (let n = 30; n < 80; n++) await writer.commit(() => next(n))
  await store.put(leaf.key, bytes)
  expect(await allSegments(store, writer.timeline)).toEqual(segments(80))
})

test('losses and acknowledgements keep the order of their commits, in the root and in nodes', async () => {
  const store = new MemoryStore()
  const log = await TimelineLog.open(store)
  for (let n = 1; n <= 300; n++) {
    const at = firstUlidAt(n)
    const loss = {
      stream: STREAM,
      firstSequence: n,
      after: at,
      through: at,
      cause: 'ended',
      reason: 'x',
      by: null,
    } as const
    await log.commit(() => ({ addLosses: [loss] }))
  }
  const { timeline } = await TimelineLog.open(store)
  expect(timeline.losses.map(({ firstSequence }) => firstSequence)).toEqual(
    Array.from({ length: 300 }, (_, i) => i + 1),
  )
})

test('a node that is damaged or missing stops whoever needs it, and names the file', async () => {
  const { store, log } = await storeOf(3000)
  const keys: string[] = []
  for await (const { key } of eachNode(log.nodes.segments, log.timeline.segments)) keys.push(key)
  const leaf = keys.at(-1) ?? ''
  const bytes = await store.get(leaf)
  const read = async (): Promise<unknown> => allSegments(store, (await TimelineLog.open(store)).timeline)
  for (const damaged of [bytes.subarray(1), Buffer.from(bytes).fill(0x20, 200, 201), null]) {
    if (damaged === null) await store.delete([leaf])
    else await store.put(leaf, damaged)
    await expect(read()).rejects.toMatchObject({ code: 'TIMELINE_CORRUPT', details: { key: leaf } })
  }
  await store.put(leaf, await store.get(keys.at(-2) ?? ''))
  await expect(read()).rejects.toMatchObject({ code: 'TIMELINE_CORRUPT', details: { key: leaf } })
})

test('a root that no reader would take is not committed, and what is there stays readable', async () => {
  const { store, log } = await storeOf(100)
  limits.rootBytes = 40 * KIB
  let streams = 0
  const commit = async (): Promise<void> => {
    for (; streams < 1000; streams++) {
      const id = firstUlidAt(1_770_000_000_000 + streams)
      await log.commit(() => ({ putStreams: [{ ...streamOf(1, 'open', id), lastSequence: 0 }] }))
    }
  }
  await expect(commit()).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
  const { timeline } = await TimelineLog.open(store)
  expect(timeline).toEqual(log.timeline)
  expect(timeline.streams).toHaveLength(1 + streams)
  expect(streams).toBeGreaterThan(10)
})

test('who loses a commit puts no node twice', async () => {
  const { store, log } = await storeOf(27)
  const other = await TimelineLog.open(store)
  for (let n = 27; n < 60; n++) {
    let isFirst = true
    await log.commit(async () => {
      if (isFirst) await other.commit(() => ({ addEpoch: { epoch: n, startedAt: STREAM, restored: null } }))
      isFirst = false
      return next(n)
    })
    await other.refresh()
  }
  const { timeline } = await TimelineLog.open(store)
  expect(await allSegments(store, timeline)).toEqual(segments(60))
  const put = store.log.filter((call) => call.startsWith('put node/'))
  const named: string[] = []
  for await (const { key } of eachNode(log.nodes.segments, timeline.segments)) named.push(`put ${key}`)
  expect(put.filter((call) => !named.includes(call)).length).toBeLessThanOrEqual(1) // nodes of epochs
})

test('a segment that was committed twice is there once, whatever was committed in between', async () => {
  const { store, log } = await storeOf(3)
  const id = firstUlidAt(1_770_000_000_000)
  await log.commit(() => ({ putStreams: [streamOf(1, 'open', id)], addSegments: [segment(0, id), segment(2)] }))
  await log.commit(() => ({ putStreams: [streamOf(4)], addSegments: [segment(1), segment(3), segment(0, id)] }))
  const keys = (await allSegments(store, log.timeline)).map(({ key }) => key)
  expect(keys.toSorted()).toEqual([...segments(4), segment(0, id)].map(({ key }) => key).toSorted())
})

test('the size of the root is known to whoever wrote it and to whoever read it', async () => {
  const { store, log } = await storeOf(100)
  const { bytes = 0 } = (await store.head(timelineKey(1))) ?? {}
  for (const one of [log, await TimelineLog.open(store)]) expect(one.rootBytes).toBe(bytes)
})
