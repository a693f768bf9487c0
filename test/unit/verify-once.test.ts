import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { sha256 } from '../../src/base/bytes.ts'
import { segmentKey } from '../../src/format/keys.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import { applyChange } from '../../src/model/apply-change.ts'
import { type Event, NO_CONTEXT } from '../../src/model/event.ts'
import { EMPTY_TIMELINE, type SegmentEntry, type Timeline } from '../../src/model/timeline.ts'
import { UlidGenerator } from '../../src/model/ulid.ts'
import { planRestore } from '../../src/restore/plan.ts'
import { type ReplaySources, replay } from '../../src/restore/replay.ts'
import { Segments } from '../../src/restore/segments.ts'
import { SnapshotWriter } from '../../src/restore/snapshot-writer.ts'
import { Snapshots } from '../../src/restore/snapshots.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { segmentNodes } from '../../src/timeline/segments.ts'
import { HashedFiles } from '../../src/upkeep/verify/hashed-files.ts'
import { Inspection } from '../../src/upkeep/verify/inspection.ts'
import { type Listeners, verifyStore } from '../../src/upkeep/verify.ts'
import { NO_NODES } from '../support/catalogue.ts'
import { recordImage } from '../support/model-database.ts'
import { frames } from '../support/segments.ts'
import { CountingStore } from '../support/stores.ts'

const MIB = 1024 * 1024
const RECORDS = 2000

function sourcesOver(store: ObjectStore, memory: number): ReplaySources {
  const space = new MemoryStore()
  const [segments, snapshots] = [new Segments(store), new Snapshots(store)]
  return { store, segments, snapshots, nodes: segmentNodes(store), memory, scratch: () => space, open: null }
}

const item = (n: number) => ({ kind: 'record', resource: 'r', id: `r${String(n).padStart(5, '0')}` }) as const

/** A store with a snapshot, a large segment of changes of all kinds, and the snapshot that they give. */
async function build(): Promise<{ store: MemoryStore; timeline: Timeline; large: SegmentEntry }> {
  const store = new MemoryStore()
  const ulids = new UlidGenerator(() => 1_790_000_000_000)
  const ulid = ulids.next()
  const writer = new SnapshotWriter({ store, prefix: `snapshot/${ulid}/`, ulid, database: 'test' })
  const value = (n: number, v: number) => recordImage({ id: item(n).id, v, text: 'x'.repeat(200) })
  await writer.add(Array.from({ length: RECORDS }, (_, n) => ({ ...item(n), image: value(n, 0) })))
  const first = { ulid, consistentFrom: ulid, prefix: `snapshot/${ulid}/`, ...(await writer.finish()) }
  const events: Event[] = []
  const stamp = () => ({ ulid: ulids.next(), stream: 's', sequence: events.length + 1 })
  for (let n = 0; n < 40; n++) {
    const [before, about] = [value(n, 0), { ...item(n), context: NO_CONTEXT }]
    const after = recordImage({ id: item(n).id, text: randomBytes(MIB / 2).toString('base64') })
    events.push({ ...about, operation: 'update', before, after, stamp: stamp() })
    if (n % 3 === 0) events.push({ ...about, operation: 'delete', before: after, after: null, stamp: stamp() })
  }
  const added = { ...item(RECORDS), context: NO_CONTEXT, operation: 'insert', before: null } as const
  events.push({ ...added, after: value(RECORDS, 1), stamp: stamp() })
  const { bytes, info } = encodeSegment(frames(events, 1), { stream: 's', level: 0 })
  const large = { ...info, key: segmentKey({ ...info, nonce: '00000000' }) }
  expect(large.bytes).toBeGreaterThan(16 * MIB)
  await store.put(large.key, bytes)
  const one = applyChange(EMPTY_TIMELINE, { addSegments: [large], addSnapshots: [first] })
  const [moment, prefix] = [info.lastUlid, `snapshot/${info.lastUlid}/`]
  const second = new SnapshotWriter({ store, prefix, ulid: moment, database: 'test' })
  const states = replay(sourcesOver(store, 128 * MIB), await planRestore(NO_NODES, one, moment), {})
  for await (const batch of states) await second.add(batch)
  const entry = { ulid: moment, consistentFrom: moment, prefix, ...(await second.finish()) }
  return { store, timeline: applyChange(one, { addSnapshots: [entry] }), large }
}

const built = build()

test('verify reads each byte of a large segment and of two snapshots once, and compares them all the same', async () => {
  const { store, timeline, large } = await built
  let bytes = 0
  for await (const one of store.list('s')) bytes += one.bytes
  for (const memory of [128 * MIB, 100_000]) {
    const counting = new CountingStore(store)
    const { events, damage } = await verifyStore(sourcesOver(counting, memory), timeline)
    const ofTimeline = damage.filter(({ key }) => key !== 'tidemark.json' && !key.startsWith('timeline/'))
    expect([events, ofTimeline]).toEqual([large.events, []])
    expect(counting.bytesRead).toBe(bytes)
    // The footer, and each row group: not a request for each column of it.
    const gets = counting.log.filter((call) => call === `get ${large.key}`).length
    expect(gets).toBeGreaterThan(2)
    expect(gets).toBeLessThan(60)
  }
})

test('verify reads a small segment once, as a whole', async () => {
  const store = new MemoryStore()
  const about = { ...item(1), context: NO_CONTEXT, operation: 'insert', before: null } as const
  const stamp = { ulid: new UlidGenerator(() => 1_790_000_000_000).next(), stream: 's', sequence: 1 }
  const { bytes, info } = encodeSegment(frames([{ ...about, after: recordImage({ id: 'r' }), stamp }], 1), {
    stream: 's',
    level: 0,
  })
  const entry = { ...info, key: segmentKey({ ...info, nonce: '00000000' }) }
  await store.put(entry.key, bytes)
  const counting = new CountingStore(store)
  const { events } = await verifyStore(
    sourcesOver(counting, MIB),
    applyChange(EMPTY_TIMELINE, { addSegments: [entry] }),
  )
  expect([events, counting.bytesRead]).toEqual([1, bytes.length])
  expect(counting.log.filter((call) => call.startsWith('get segment/'))).toEqual([`get ${entry.key}`])
})

test('a file that is not what its manifest says is found, whatever its members say', async () => {
  const store = new MemoryStore()
  await store.put('a', Buffer.from('abcd'))
  const file = {
    file: 'a',
    bytes: 4,
    sha256: sha256(Buffer.from('abcd')),
    uncompressedBytes: 4,
    records: 1,
    members: [],
  }
  const read = async (over: Partial<typeof file>): Promise<void> => {
    const hashed = new HashedFiles(store)
    const said = { ...file, ...over }
    await hashed.begin('a', said, 4)
    for (const start of [0, 2]) await hashed.store.get('a', { start, end: start + 2 })
    await hashed.end(new Inspection(store, () => {}), 'a', said)
  }
  await read({})
  await expect(read({ sha256: sha256(Buffer.from('abce')) })).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' })
  await expect(read({ bytes: 5 })).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' })
})

test('a byte that is wrong anywhere in a large segment is found', async () => {
  const { store, timeline, large } = await built
  const whole = Buffer.from(await store.get(large.key))
  const places = [
    1,
    ...Array.from({ length: 4 }, (_, i) => Math.floor((whole.length * (i + 0.5)) / 4)),
    whole.length - 3,
  ]
  for (const at of places) {
    const spoilt = Buffer.from(whole)
    spoilt[at] = (spoilt[at] ?? 0) ^ 1
    await store.delete([large.key])
    await store.put(large.key, spoilt)
    const { damage } = await verifyStore(sourcesOver(store, 128 * MIB), timeline)
    expect(damage.map(({ key }) => key)).toContain(large.key)
  }
  await store.delete([large.key])
  await store.put(large.key, whole)
})

test('a byte that is wrong or missing in a snapshot is found, and one that is too many', async () => {
  const { store, timeline } = await built
  const key = `${timeline.snapshots[0]?.prefix}r.jsonl.gz`
  const whole = Buffer.from(await store.get(key))
  const flipped = Buffer.from(whole)
  flipped[whole.length >> 1] = (flipped[whole.length >> 1] ?? 0) ^ 1
  for (const bytes of [flipped, whole.subarray(0, -1), Buffer.concat([whole, Buffer.from([0])]), null]) {
    await store.delete([key])
    if (bytes !== null) await store.put(key, bytes)
    const { damage } = await verifyStore(sourcesOver(store, 128 * MIB), timeline)
    expect(damage.map((one) => one.key)).toContain(key)
  }
  await store.put(key, whole)
})

test('a snapshot that differs from what the events give in one record is found, and the record is named', async () => {
  const { store, timeline } = await built
  const [first, second] = timeline.snapshots
  if (first === undefined || second === undefined) throw new Error('no snapshots')
  const states = new Map<string, ReturnType<typeof recordImage>>()
  const reader = await new Snapshots(store).open(second)
  for await (const { lines } of reader.lines({}))
    for (const { id, image } of lines) states.set(`${Buffer.from(id)}`, image())
  const wrong = {
    changed: [...states].map(([id, image]) => [id, id === 'r00100' ? recordImage({ id, v: 9 }) : image] as const),
    missing: [...states].filter(([id]) => id !== 'r00100'),
    'not there': [...states, ['r00000', recordImage({ id: 'r00000' })] as const].sort(([a], [b]) => (a < b ? -1 : 1)),
  }
  for (const [what, records] of Object.entries(wrong)) {
    const prefix = `snapshot/${second.ulid}-${what.slice(0, 3)}/`
    const writer = new SnapshotWriter({ store, prefix, ulid: second.ulid, database: 'test' })
    await writer.add(records.map(([id, image]) => ({ kind: 'record', resource: 'r', id, image })))
    const entry = { ...second, prefix, ...(await writer.finish()) }
    const { damage } = await verifyStore(sourcesOver(store, 100_000), { ...timeline, snapshots: [first, entry] })
    const named = damage.find(({ key }) => key.startsWith(prefix))?.message
    expect(named).toContain(`r/${what === 'not there' ? 'r00000' : 'r00100'} is not what the snapshot before it`)
  }
})

test('of more findings than are named in a result each is told, and counted', async () => {
  const told: string[] = []
  const inspection = new Inspection(
    new MemoryStore(),
    () => {},
    async ({ key }) => void told.push(key),
  )
  for (let round = 0; round < 2; round++) {
    for (let n = 0; n < 1500; n++) inspection.found(`segment/${n}`, new Error('it is missing'))
  }
  await inspection.told()
  expect([inspection.damage.length, inspection.damaged, new Set(told).size, told.length]).toEqual([
    1000, 1500, 1500, 1500,
  ])
  expect(inspection.isDamaged('segment/1499')).toBe(true)
  const { store, timeline } = await built
  for (let n = 0; n < 1200; n++) await store.put(`left/${n}`, Buffer.from('x'))
  const unreferenced = new Set<string>()
  const listeners: Listeners = {
    onFile: () => {},
    onDamage: () => {},
    onUnreferenced: (key) => void unreferenced.add(key),
  }
  const found = await verifyStore(sourcesOver(store, 128 * MIB), timeline, listeners)
  const left = [...unreferenced].filter((key) => key.startsWith('left/')).length
  expect([found.unreferenced.length, left, found.unnamed]).toEqual([1000, 1200, unreferenced.size])
})
