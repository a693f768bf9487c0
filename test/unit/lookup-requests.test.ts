import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { encodedEventBytes, encodeEvent } from '../../src/format/event-codec.ts'
import { runFileKey, segmentKey } from '../../src/format/keys.ts'
import { EventColumns } from '../../src/format/segment/columns.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import { encodeRunFile } from '../../src/format/segment/run-file.ts'
import { layoutOf } from '../../src/format/segment/run-index.ts'
import { type Change, changeBetween, type Image, type Item, NO_CONTEXT } from '../../src/model/event.ts'
import type { MergedSegment, SegmentEntry, SnapshotEntry, StreamSegment } from '../../src/model/timeline.ts'
import { firstUlidAt, type Ulid, UlidGenerator } from '../../src/model/ulid.ts'
import { findEvents, findVersion } from '../../src/restore/lookup.ts'
import type { Plan } from '../../src/restore/plan.ts'
import type { ReplaySources } from '../../src/restore/replay.ts'
import { Segments } from '../../src/restore/segments.ts'
import { SnapshotWriter } from '../../src/restore/snapshot-writer.ts'
import { Snapshots } from '../../src/restore/snapshots.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ByteRange, ObjectStore } from '../../src/store/object-store.ts'
import { segmentNodes } from '../../src/timeline/segments.ts'
import { openWhole } from '../../src/upkeep/repair/segments.ts'
import { RunItems } from '../../src/upkeep/run-indexes.ts'
import { recordImage } from '../support/model-database.ts'
import { CountingStore } from '../support/stores.ts'

const START = 1_790_000_000_000
const STREAM = firstUlidAt(START)
const MINUTE = 60_000

function itemOf(id: string): Item {
  return { kind: 'record', resource: 'r', id }
}

function sourcesOver(store: ObjectStore): ReplaySources {
  return {
    ...{ store, segments: new Segments(store), snapshots: new Snapshots(store), nodes: segmentNodes(store) },
    ...{ memory: 128 * 1024 * 1024, scratch: () => new MemoryStore(), open: null },
  }
}

/** Updates of the records of a batch, the batch being their value. */
function framesOf(
  ids: readonly string[],
  batch: number,
  ulids: UlidGenerator,
  first: number,
  textBytes = 0,
): Uint8Array[] {
  const image = (id: string, v: number): Image =>
    recordImage(textBytes === 0 ? { id, v } : { id, v, text: randomBytes(textBytes).toString('latin1') })
  return ids.map((id, i) => {
    const change: Change | null = changeBetween(itemOf(id), image(id, batch - 1), image(id, batch), NO_CONTEXT)
    if (change === null) throw new Error('nothing changes')
    const frame = Buffer.alloc(encodedEventBytes(change))
    encodeEvent(frame, 0, change, ulids.next(), first + i)
    return frame
  })
}

interface Day {
  readonly store: MemoryStore
  readonly plan: Plan
}

/** A snapshot of `ids`, and a segment for each batch of ids after it, a minute apart. */
async function dayOf(ids: readonly string[], batches: readonly (readonly string[])[]): Promise<Day> {
  const store = new MemoryStore()
  let now = START
  const ulids = new UlidGenerator(() => now)
  const ulid = ulids.next()
  const prefix = `snapshot/${ulid}/`
  const writer = new SnapshotWriter({ store, prefix, ulid, database: 'test' })
  await writer.add(ids.toSorted().map((id) => ({ ...itemOf(id), image: recordImage({ id, v: -1 }) })))
  const snapshot: SnapshotEntry = { ulid, consistentFrom: ulid, prefix, ...(await writer.finish()) }
  const segments: StreamSegment[] = []
  for (const [batch, changed] of batches.entries()) {
    now = START + (batch + 1) * MINUTE
    const first = (segments.at(-1)?.lastSequence ?? 0) + 1
    const { bytes, info } = encodeSegment(framesOf(changed, batch, ulids, first), { stream: STREAM, level: 0 })
    const key = segmentKey({ ...info, nonce: '00000000' })
    await store.put(key, bytes)
    segments.push({ ...info, key })
  }
  return { store, plan: planOf(snapshot, segments, ulids.next()) }
}

function planOf(snapshot: SnapshotEntry, segments: readonly SegmentEntry[], moment: Ulid): Plan {
  return { snapshot, segments, moment, bytes: 0, rows: 0, except: [], erasures: 0 }
}

function withoutFilters(plan: Plan): Plan {
  return { ...plan, segments: plan.segments.map(({ filter: _, ...entry }) => entry) }
}

async function versionOf(sources: ReplaySources, plan: Plan, id: string): Promise<unknown> {
  const version = await findVersion(sources, plan, itemOf(id))
  return version?.image == null ? null : JSON.parse(Buffer.from(version.image.json).toString()).v
}

/** Counts how many are asked for at once. */
class WaitingStore extends MemoryStore {
  under = 0
  most = 0
  readonly #inner: MemoryStore

  constructor(inner: MemoryStore) {
    super()
    this.#inner = inner
  }

  override async get(key: string, range?: ByteRange): Promise<Uint8Array> {
    this.most = Math.max(this.most, ++this.under)
    await new Promise((resolve) => setImmediate(resolve))
    this.under--
    return this.#inner.get(key, range)
  }
}

test('of a day of segments that have a record, one is read, however many without it came since', async () => {
  for (const since of [0, 1, 7, 30]) {
    const hot = Array.from({ length: 40 }, (_, n) => ['hot', `x${n}`])
    const others = Array.from({ length: since }, (_, n) => [`y${n}`, `z${n}`])
    const { store, plan } = await dayOf(['hot', 'cold'], [...hot, ...others])
    const counting = new CountingStore(store)
    expect(await versionOf(sourcesOver(counting), plan, 'hot')).toBe(39)
    expect(counting.log).toEqual([`get ${plan.segments[39]?.key}`])
    counting.reset()
    expect(await versionOf(sourcesOver(counting), plan, 'cold')).toBe(-1)
    expect(counting.calls.get).toBe(2) // the manifest and a member of the snapshot
  }
})

test('where no filter tells who has a record, the newest are asked first, and more and more of the rest at once', async () => {
  const hot = Array.from({ length: 40 }, (_, n) => ['hot', `x${n}`])
  const others = Array.from({ length: 3 }, (_, n) => [`y${n}`])
  const { store, plan } = await dayOf(['hot', 'cold'], [...hot, ...others])
  const blind = withoutFilters(plan)
  const counting = new CountingStore(store)
  expect(await versionOf(sourcesOver(counting), blind, 'hot')).toBe(39)
  expect(counting.calls.get).toBeLessThanOrEqual(1 + 2 + 4)
  const waiting = new WaitingStore(store)
  expect(await versionOf(sourcesOver(waiting), blind, 'cold')).toBe(-1)
  expect(waiting.most).toBe(16)
})

test('a history asks several segments at once, also where few of very many have the record, and is whole and in order', async () => {
  const batches = Array.from({ length: 200 }, (_, n) => (n % 10 === 3 ? ['rare', `x${n}`] : [`y${n}`, `z${n}`]))
  const { store, plan } = await dayOf(['rare'], batches)
  const waiting = new WaitingStore(store)
  const counting = new CountingStore(waiting)
  const found: unknown[] = []
  for await (const { after } of findEvents(sourcesOver(counting), plan.segments, itemOf('rare'))) {
    found.push(JSON.parse(Buffer.from(after?.json ?? []).toString()).v)
  }
  expect(found).toEqual(Array.from({ length: 20 }, (_, n) => 10 * n + 3))
  expect(waiting.most).toBeGreaterThan(4)
  expect(new Set(counting.log).size).toBe(counting.log.length)
})

test('a record that a filter lets pass by mistake, or that has later events only, is looked for in what is older', async () => {
  const batches = Array.from({ length: 6 }, (_, n) => (n === 4 ? ['a'] : ['hot', `x${n}`]))
  const { store, plan } = await dayOf(['hot', 'a'], batches)
  const [filter] = plan.segments.map((entry) => entry.filter)
  if (filter === undefined) throw new Error('it is short')
  // Of all of them the filter says that they have it.
  const sources = sourcesOver(store)
  const wrong = { ...plan, segments: plan.segments.map((entry) => ({ ...entry, filter })) }
  expect(await versionOf(sources, { ...wrong, segments: wrong.segments.slice(0, 5) }, 'hot')).toBe(3)
  const earlier = { ...plan, moment: plan.segments[2]?.lastUlid ?? '' }
  expect(await versionOf(sources, earlier, 'hot')).toBe(2)
})

/** A run of one file with an update of each of these records, in row groups of so many rows. */
async function runOf(
  ids: readonly string[],
  {
    rowGroupRows,
    textBytes = 0,
    everyMs = 0,
  }: { readonly rowGroupRows?: number; readonly textBytes?: number; readonly everyMs?: number },
): Promise<{ readonly store: MemoryStore; readonly entry: MergedSegment; readonly plan: Plan }> {
  const store = new MemoryStore()
  const columns = new EventColumns()
  let now = START
  const ulids = new UlidGenerator(() => {
    now += everyMs
    return now
  })
  for (const frame of framesOf(ids, 1, ulids, 1, textBytes)) columns.append(STREAM, frame)
  const about = { run: STREAM, level: 1, file: 0, ...(rowGroupRows === undefined ? {} : { rowGroupRows }) }
  const { bytes, info } = encodeRunFile(columns, about)
  const key = runFileKey({ run: STREAM, level: 1, file: 0, nonce: '00000000' })
  await store.put(key, bytes)
  const items = new RunItems(STREAM)
  await items.addFile({ ...info, key }, bytes)
  const index = items.make(runFileKey({ run: STREAM, level: 1, file: 'index', nonce: '00000000' }))
  await store.put(index.file.key, index.bytes)
  const entry: MergedSegment = { ...info, key, run: { key: 'chain', bytes: 1, sha256: '', index: index.file } }
  const snapshot = { ulid: firstUlidAt(1), consistentFrom: firstUlidAt(1), prefix: 'none/', records: 0, bytes: 0 }
  return { store, entry, plan: planOf({ ...snapshot, manifestSha256: '' }, [entry], ulids.next()) }
}

function idsOf(count: number): string[] {
  return Array.from({ length: count }, (_, n) => `r${String(n).padStart(5, '0')}`)
}

test('in one process the next records of a run cost two requests each, of a small run one, and a history reads no places of other items', async () => {
  for (const [count, first, next] of [
    [3000, 2, 1],
    [12_000, 3, 2],
  ] as const) {
    const ids = idsOf(count)
    const { store, entry, plan } = await runOf(ids, { rowGroupRows: 2 })
    const { buckets, placeBlocks } = layoutOf(entry.run.index)
    expect(Math.min(buckets, placeBlocks)).toBeGreaterThan(10)

    const counting = new CountingStore(store)
    const sources = sourcesOver(counting)
    expect(await versionOf(sources, plan, ids[0] ?? '')).toBe(1)
    expect(counting.calls.get).toBe(first)
    let most = 0
    for (let n = 1; n < 40; n++) {
      counting.reset()
      // All over the run: neither its bucket nor its place was near another.
      expect(await versionOf(sources, plan, ids[(n * 1117) % ids.length] ?? '')).toBe(1)
      most = Math.max(most, counting.calls.get)
    }
    expect(most).toBe(next)
    const alone = new CountingStore(store)
    let found = 0
    for await (const { id } of findEvents(sourcesOver(alone), [entry], itemOf(ids[1500] ?? '')))
      found += id === ids[1500] ? 1 : 0
    expect([found, alone.calls.get]).toEqual([1, 3])
    expect(alone.bytesRead).toBeLessThan(8 * 1024)
  }
})

test('a run that has a record only after the moment costs one request, of thousands of records', async () => {
  const ids = idsOf(12_000)
  const { store, entry } = await runOf(ids, { rowGroupRows: 2, everyMs: 1000 })
  const unit = { entries: [entry], firstUlid: entry.firstUlid, lastUlid: entry.lastUlid }
  const counting = new CountingStore(store)
  for (const n of [10, 999, 6000, 11_998]) {
    const through = firstUlidAt(START + (n + 1) * 1000 + 500)
    const found = async (id: string | undefined): Promise<number> => {
      counting.reset()
      const groups = await new Segments(counting).find(unit, itemOf(id ?? ''), { next: 'none', through })
      let rows = 0
      for await (const group of groups?.backward() ?? []) rows += group.rows
      return rows
    }
    expect(await found(ids[n])).toBe(2)
    expect(await found(ids[n + 1])).toBe(0)
    expect(counting.calls.get).toBe(1)
  }
})

test('of the run of an hour with a thousand records the catalogue has the filter: for one that is not in it nothing is read', async () => {
  for (const [count, hasFilter] of [
    [1000, true],
    [1365, true],
    [1366, false],
  ] as const) {
    const { store, entry } = await runOf(idsOf(count), {})
    expect(entry.filter !== undefined).toBe(hasFilter)
    // Whoever makes the entry from the file says the same.
    expect((await openWhole(entry.key, await store.get(entry.key))).file.filter).toBe(entry.filter)
    const counting = new CountingStore(store)
    const sources = sourcesOver(counting)
    for (let n = 0; n < 100; n++)
      for await (const _ of findEvents(sources, [entry], itemOf(`other ${n}`))) throw new Error('it is not in it')
    // Of a hundred a filter lets one or two pass.
    if (hasFilter) expect(counting.calls.get).toBeLessThan(10)
    else expect(counting.calls.get).toBeGreaterThan(0)
  }
})

test('of a record that has most of a run, every moment costs few requests, and gives its last event until then', async () => {
  const { store, entry, plan } = await runOf(
    Array.from({ length: 3000 }, () => 'hot'),
    { rowGroupRows: 30 },
  )
  const stamps: string[] = []
  for await (const { stamp } of findEvents(sourcesOver(store), [entry], itemOf('hot'))) stamps.push(stamp.ulid)
  expect(stamps).toHaveLength(3000)
  for (const n of [0, 1, 29, 30, 700, 1500, 2970, 2999]) {
    const counting = new CountingStore(store)
    const moment = stamps[n] ?? ''
    expect((await findVersion(sourcesOver(counting), { ...plan, moment }, itemOf('hot')))?.ulid).toBe(moment)
    // The index, and windows of 1, 2, 4 … of 100 row groups.
    expect(counting.calls.get).toBeLessThanOrEqual(1 + 7)
  }
})

test('what a lookup reads of a run does not grow with its events, large or small', async () => {
  for (const [count, textBytes] of [
    [20_000, 0],
    [2000, 400],
    [400, 8000],
    [12, 300_000],
  ] as const) {
    const ids = idsOf(count)
    const { store, entry } = await runOf(ids, { textBytes })
    const counting = new CountingStore(store)
    const id = ids[count >> 1] ?? ''
    for await (const event of findEvents(sourcesOver(counting), [entry], itemOf(id))) expect(event.id).toBe(id)
    const largest = Math.max(128 * 1024, 4 * textBytes)
    expect(counting.bytesRead).toBeLessThan(1.5 * largest + 16 * 1024)
    expect(counting.bytesRead).toBeLessThan(entry.bytes)
  }
})
