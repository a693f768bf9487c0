import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { encodedEventBytes, encodeEvent } from '../../src/format/event-codec.ts'
import { segmentKey } from '../../src/format/keys.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import { applyChange } from '../../src/model/apply-change.ts'
import { changeBetween, NO_CONTEXT } from '../../src/model/event.ts'
import { EMPTY_TIMELINE, type SnapshotEntry, type StreamSegment, type Timeline } from '../../src/model/timeline.ts'
import { MIN_ULID, UlidGenerator } from '../../src/model/ulid.ts'
import { findEvents, findVersion } from '../../src/restore/lookup.ts'
import { planRestore } from '../../src/restore/plan.ts'
import { type ReplaySources, replay, replayChanges } from '../../src/restore/replay.ts'
import { partOf } from '../../src/restore/run-part.ts'
import { SegmentRun } from '../../src/restore/segment-run.ts'
import { Segments } from '../../src/restore/segments.ts'
import { SnapshotWriter } from '../../src/restore/snapshot-writer.ts'
import { Snapshots } from '../../src/restore/snapshots.ts'
import type { Selection } from '../../src/restore/target.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { segmentNodes } from '../../src/timeline/segments.ts'
import { verifyStore } from '../../src/upkeep/verify.ts'
import { NO_NODES, onlySealed } from '../support/catalogue.ts'
import { recordImage } from '../support/model-database.ts'
import { CountingStore } from '../support/stores.ts'

const RECORDS = 5000

/** A store with one snapshot of 5,000 records and four segments that change every tenth of them. */
async function build(): Promise<{ store: MemoryStore; timeline: Timeline; last: string }> {
  const store = new MemoryStore()
  let now = 1_790_000_000_000
  const ulids = new UlidGenerator(() => now++)
  const id = (n: number): string => `r${String(n).padStart(5, '0')}`
  const value = (n: number, v: number): ReturnType<typeof recordImage> =>
    recordImage({ id: id(n), v, text: `${n * 7919}`.repeat(20) })
  const ulid = ulids.next()
  const writer = new SnapshotWriter({ store, prefix: `snapshot/${ulid}/`, ulid, database: 'test' })
  for (let n = 0; n < RECORDS; n += 100) {
    await writer.add(
      Array.from({ length: 100 }, (_, i) => ({
        kind: 'record' as const,
        resource: 'r',
        id: id(n + i),
        image: value(n + i, 0),
      })),
    )
  }
  const snapshot: SnapshotEntry = {
    ulid,
    consistentFrom: ulid,
    prefix: `snapshot/${ulid}/`,
    ...(await writer.finish()),
  }
  const segments: StreamSegment[] = []
  let sequence = 0
  let last = ulid
  for (let s = 1; s <= 4; s++) {
    const parts: Uint8Array[] = []
    for (let n = 0; n < RECORDS; n += 10) {
      const change = changeBetween(
        { kind: 'record', resource: 'r', id: id(n) },
        value(n, s - 1),
        value(n, s),
        NO_CONTEXT,
      )
      if (change === null) throw new Error('no change')
      last = ulids.next()
      const part = Buffer.alloc(encodedEventBytes(change))
      encodeEvent(part, 0, change, last, ++sequence)
      parts.push(part)
    }
    const { bytes, info } = encodeSegment(parts, { stream: 's', level: 0 })
    const key = segmentKey({ ...info, nonce: '00000000' })
    await store.put(key, bytes)
    segments.push({ ...info, key })
  }
  const timeline = applyChange(EMPTY_TIMELINE, { addSegments: segments, addSnapshots: [snapshot] })
  return { store, timeline, last }
}

const noCall = (): never => {
  throw new Error('it is not asked for')
}
const never: ObjectStore = { put: noCall, get: noCall, head: noCall, list: noCall, delete: noCall }

function sourcesOver(store: CountingStore): ReplaySources {
  return {
    store,
    segments: new Segments(store),
    snapshots: new Snapshots(store),
    nodes: segmentNodes(store),
    memory: 128 * 1024 * 1024,
    scratch: () => new MemoryStore(),
    open: null,
  }
}

test('a whole restore reads each byte of its plan at most once, and none besides', async () => {
  const { store, timeline, last } = await build()
  const counting = new CountingStore(store)
  const plan = await planRestore(NO_NODES, timeline, last)
  expect(counting.log).toEqual([]) // a plan reads nothing
  let records = 0
  for await (const batch of replay(sourcesOver(counting), plan, {})) records += batch.length
  expect(records).toBe(RECORDS)
  expect(plan.rows).toBe(RECORDS + 4 * (RECORDS / 10))
  expect(counting.bytesRead).toBeLessThanOrEqual(plan.bytes)
  expect(counting.bytesRead).toBeGreaterThan(plan.snapshot.bytes)
  expect(counting.bytesWritten).toBe(0)
})

test('one record is read by one gzip member or the row groups that hold it, not by files', async () => {
  const { store, timeline, last } = await build()
  const plan = await planRestore(NO_NODES, timeline, last)
  const total = plan.bytes
  const unchanged = new CountingStore(store)
  expect((await findVersion(sourcesOver(unchanged), plan, { kind: 'record', resource: 'r', id: 'r00001' }))?.ulid).toBe(
    plan.snapshot.ulid,
  )
  // The manifest and one member: the catalogue says that no segment has it.
  expect(unchanged.calls.get).toBe(2)
  const changed = new CountingStore(store)
  const version = await findVersion(sourcesOver(changed), plan, { kind: 'record', resource: 'r', id: 'r00010' })
  expect(JSON.parse(Buffer.from(version?.image?.json ?? []).toString()).v).toBe(4)
  expect(changed.bytesRead).toBeLessThan(total / 4)
  // The newest segment, which has it: it is so small that it is read as a whole.
  expect(changed.calls.get).toBe(1)
  const history = new CountingStore(store)
  const versions: number[] = []
  for await (const event of findEvents(sourcesOver(history), timeline.segments.tail, {
    kind: 'record',
    resource: 'r',
    id: 'r00010',
  })) {
    versions.push(JSON.parse(Buffer.from(event.after?.json ?? []).toString()).v)
  }
  expect(versions).toEqual([1, 2, 3, 4])
  expect(MIN_ULID < last).toBe(true)
})

test('what one process has read of a footer and of a manifest it does not read again', async () => {
  const { store, timeline, last } = await build()
  const whole = await planRestore(NO_NODES, timeline, last)
  // Where the catalogue has no filters, as of long ones, four footers say that no segment has it.
  const plan = { ...whole, segments: whole.segments.map(({ filter: _, ...entry }) => entry) }
  const counting = new CountingStore(store)
  const sources = sourcesOver(counting)
  const item = { kind: 'record', resource: 'r', id: 'r00001' } as const
  await findVersion(sources, plan, item)
  expect(counting.calls.get).toBe(6)
  await findVersion(sources, plan, item)
  expect(counting.calls.get).toBe(7)
})

test('one record is restored with the requests that one record needs', async () => {
  const { store, timeline, last } = await build()
  const plan = await planRestore(NO_NODES, timeline, last)
  const restored = async (selection: Selection): Promise<{ gets: number; states: number }> => {
    const counting = new CountingStore(store)
    let states = 0
    for await (const batch of replay(sourcesOver(counting), plan, selection)) states += batch.length
    return { gets: counting.calls.get, states }
  }
  // Four footers, the manifest, the member that would hold it.
  expect(await restored({ resources: ['r'], ids: ['r00001'] })).toEqual({ gets: 6, states: 1 })
  // And the row groups that do.
  const changed = await restored({ resources: ['r'], ids: ['r00010'] })
  expect(changed.states).toBe(1)
  expect(changed.gets).toBeLessThanOrEqual(6 + 4)
  expect((await restored({})).states).toBe(RECORDS)
})

test('verify reads each segment and each manifest once', async () => {
  const { store, timeline } = await build()
  const counting = new CountingStore(store)
  const { events } = await verifyStore(sourcesOver(counting), timeline)
  expect(events).toBe(4 * (RECORDS / 10))
  const gets = counting.log.filter((call) => /^get (segment|.*s3db\.json)/.test(call)).sort()
  const keys = [`${timeline.snapshots[0]?.prefix}s3db.json`, ...timeline.segments.tail.map(({ key }) => key)]
  expect(gets).toEqual(keys.map((key) => `get ${key}`).sort())
})

test('who goes through very many segments keeps few of them, and none that others use makes room', async () => {
  const { store, timeline } = await build()
  const [entry] = onlySealed(timeline.segments.tail)
  if (entry === undefined) throw new Error('no segment')
  const bytes = await store.get(entry.key)
  const many = Array.from({ length: 3000 }, (_, n): StreamSegment => ({ ...entry, key: `${n}` }))
  const counting = new CountingStore({ ...never, get: async (_, range) => bytes.subarray(range?.start, range?.end) })
  const segments = new Segments(counting)
  await segments.open(entry)
  for (const one of many) await segments.scan(one)
  expect(counting.calls.get).toBe(3001)
  await segments.open(entry)
  for (const one of many) await segments.scan(one)
  const again = counting.calls.get - 3001
  expect(again).toBeLessThan(3000)
  // An open segment takes some three times its footer; sixteen MiB of them are kept.
  expect((3000 - again) * 3 * entry.footer.bytes).toBeLessThanOrEqual(16 * 1024 * 1024)
  // Who looks single items up keeps more, and the last ones.
  for (const one of many) await segments.open(one)
  counting.reset()
  await segments.open(many.at(-1) ?? entry)
  expect(counting.calls.get).toBe(0)
})

test('a small segment counts as what it holds, so that thousands of them are merged in few passes', async () => {
  const { store, timeline, last } = await build()
  const [entry] = timeline.segments.tail
  if (entry === undefined) throw new Error('no segment')
  const range = { after: MIN_ULID, through: last, selection: {} }
  const run = new SegmentRun([partOf(await new Segments(store).open(entry), {})], range)
  expect(run.bytes).toBeGreaterThan(entry.bytes)
  expect(run.bytes).toBeLessThan(500_000)
})

test('a large row has a group for itself: it is decoded in its turn, in one piece, and counts as what is stored', async () => {
  const store = new MemoryStore()
  const now = 1_790_000_000_000
  const ulids = new UlidGenerator(() => now)
  const parts = ['a', 'b', 'c'].map((id, i) => {
    const image = recordImage({ id, text: 'x'.repeat(9_000_000) })
    const change = changeBetween({ kind: 'record', resource: 'r', id }, null, image, NO_CONTEXT)
    if (change === null) throw new Error('no change')
    const part = Buffer.alloc(encodedEventBytes(change))
    encodeEvent(part, 0, change, ulids.next(), i + 1)
    return part
  })
  const { bytes, info } = encodeSegment(parts, { stream: 's', level: 0 })
  await store.put('large', bytes)
  const reader = await new Segments(store).open({ ...info, key: 'large' })
  expect(reader.rowGroups.map(({ rows }) => rows)).toEqual([1, 1, 1])
  const run = new SegmentRun([partOf(reader, {})], { after: MIN_ULID, through: info.lastUlid, selection: {} })
  expect(run.bytes).toBeLessThan(1_000_000)
  let rows = 0
  while (await run.load()) rows++
  // A run that has ended, or reads on, keeps nothing of what is behind.
  expect([rows, run.image() === null]).toEqual([3, true])
  const { data } = (await reader.readRowGroup(0, ['after'])).bytes('after')
  expect(data.buffer.byteLength).toBe(data.length)
  const sources = { ...sourcesOver(new CountingStore(store)), scratch: noCall, memory: 1_000_000 }
  let records = 0
  for await (const batch of replayChanges(sources, [{ ...info, key: 'large' }], MIN_ULID, info.lastUlid, {})) {
    records += batch.length
  }
  expect(records).toBe(3)
})

test('the large events of a record are read one after the other, also where segments follow each other', async () => {
  const store = new MemoryStore()
  const ulids = new UlidGenerator(() => 1_790_000_000_000)
  const item = { kind: 'record', resource: 'r', id: 'a' } as const
  const value = (v: number) => recordImage({ id: 'a', v, text: randomBytes(6_750_000).toString('base64') })
  const segments: StreamSegment[] = []
  for (let first = 1; first <= 4; first += 2) {
    const parts = [first, first + 1].map((v) => {
      const change = changeBetween(item, v === 1 ? null : value(v - 1), value(v), NO_CONTEXT)
      if (change === null) throw new Error('no change')
      const part = Buffer.alloc(encodedEventBytes(change))
      encodeEvent(part, 0, change, ulids.next(), v)
      return part
    })
    const { bytes, info } = encodeSegment(parts, { stream: 's', level: 0 })
    await store.put(`${first}`, bytes)
    segments.push({ ...info, key: `${first}` })
  }
  const counting = new CountingStore(store)
  const read: number[] = []
  for await (const { stamp } of findEvents(sourcesOver(counting), segments, item)) {
    read.push(counting.log.filter((call) => call === 'get 1' || call === 'get 3').length)
    expect(stamp.sequence).toBe(read.length)
  }
  // Two footers ahead; each event is there before the next one is read.
  expect(read.length).toBe(4)
  for (let i = 1; i < read.length; i++) expect(read[i]).toBeGreaterThan(read[i - 1] ?? 0)
})
