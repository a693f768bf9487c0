import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import type { TidemarkOptions } from '../../src/engine/tidemark-options.ts'
import { applyChange } from '../../src/model/apply-change.ts'
import { EMPTY_TIMELINE, type SnapshotEntry, type StreamEntry, type Timeline } from '../../src/model/timeline.ts'
import { firstUlidAt, ulidTime } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { keysOf } from '../../src/testing/objects.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { eventsAfter, segmentNodes } from '../../src/timeline/segments.ts'
import { dueAfter, isStillAfter, isWorthwhile } from '../../src/upkeep/snapshot-due.ts'
import { NO_NODES } from '../support/catalogue.ts'
import { STREAM, segments, streamOf } from '../support/many-segments.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'
import { CountingStore, GatedStore } from '../support/stores.ts'

const directory = mkdtempSync(join(tmpdir(), 'snapshots-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const START = ulidTime(STREAM)

function snapshot(at: number): SnapshotEntry {
  const ulid = firstUlidAt(at)
  return { ulid, consistentFrom: ulid, prefix: `snapshot/${ulid}/`, records: 7, bytes: 1, manifestSha256: '' }
}

/** A hundred segments of ten events, one a millisecond; the snapshot has the first forty of these segments in it. */
function timelineOf(...others: readonly StreamEntry[]): Timeline {
  return applyChange(EMPTY_TIMELINE, {
    putStreams: [streamOf(100), ...others],
    addSegments: segments(100),
    addSnapshots: [snapshot(START), snapshot(START + 400)],
  })
}

test('one is due by the events or by the time since the last one, to whoever has captured something since', async () => {
  const timeline = timelineOf()
  const due = async (events: number, everyMs: number, nowMs: number, now = timeline): Promise<boolean> =>
    (await dueAfter(NO_NODES, now, { events, everyMs }, { stream: STREAM, nowMs })) !== null
  const later = START + 5000
  expect([await due(600, 1e9, later), await due(601, 1e9, later)]).toEqual([true, false])
  expect([await due(1e9, 4600, later), await due(1e9, 4601, later)]).toEqual([true, false])
  // A clock that was set back says nothing.
  expect(await due(1e9, 1, START)).toBe(false)
  const idle = { ...timeline, snapshots: [snapshot(START + 1001)] }
  expect(await due(1, 1, later, idle)).toBe(false)
  expect(await due(1, 1, later, { ...timeline, snapshots: [] })).toBe(false)
  const policy = { events: 1, everyMs: 1 }
  expect(await dueAfter(NO_NODES, timeline, policy, { stream: 'another', nowMs: later })).toBeNull()
  const found = await dueAfter(NO_NODES, timeline, policy, { stream: STREAM, nowMs: later })
  expect(found).toEqual(timeline.snapshots[1])
  if (found === null) return
  expect(isStillAfter(timeline, found)).toBe(true)
  expect(isStillAfter(applyChange(timeline, { addSnapshots: [snapshot(START + 700)] }), found)).toBe(false)
})

test('of several that capture the one that began first makes it, and the others wait a quarter longer each', async () => {
  const ids = [1, 2, 3].map((n) => firstUlidAt(START + n))
  const timeline = timelineOf(...ids.map((id) => ({ ...streamOf(100, 'open', id), lastSequence: 0 })))
  const since = 1000
  const due = async (stream: string, share: number, now = timeline): Promise<boolean> => {
    const asking = { stream, nowMs: START + 400 + since * share }
    const byTime = await dueAfter(NO_NODES, now, { everyMs: since, events: 1e9 }, asking)
    const byEvents = await dueAfter(NO_NODES, now, { everyMs: 1e9, events: Math.floor(600 / share) }, asking)
    expect(byTime).toEqual(byEvents)
    return byTime !== null
  }
  for (const [i, stream] of [STREAM, ...ids].entries()) {
    expect([stream, await due(stream, 0.99 + i / 4), await due(stream, 1 + i / 4)]).toEqual([stream, false, true])
  }
  // One that has ended, or that captures nothing, is not waited for.
  const [first = ''] = ids
  const closed = applyChange(timeline, { putStreams: [streamOf(100, 'closed')] })
  expect(await due(first, 1, closed)).toBe(true)
  const idle = applyChange(timeline, { putStreams: [{ ...streamOf(100), lastUlid: firstUlidAt(START + 400) }] })
  expect(await due(first, 1, idle)).toBe(true)
})

test('through a gap that nobody has acknowledged none is due', async () => {
  const noted = { reason: 'a disk', by: 'ann' }
  const lost = {
    stream: STREAM,
    firstSequence: 1001,
    after: firstUlidAt(START + 1000),
    through: firstUlidAt(START + 1500),
  }
  const timeline = applyChange(timelineOf(), { addLosses: [{ ...lost, cause: 'ended', ...noted }] })
  const asking = { stream: STREAM, nowMs: START + 5000 }
  expect(await dueAfter(NO_NODES, timeline, { events: 1 }, asking)).toBeNull()
  const at = firstUlidAt(START + 2000)
  const acknowledgement = { stream: STREAM, firstSequence: 1001, lastSequence: null, at, ...noted }
  const known = applyChange(timeline, { addAcknowledgements: [acknowledgement] })
  expect(await dueAfter(NO_NODES, known, { events: 1 }, asking)).not.toBeNull()
})

test('what a stalled stream holds back is not made a snapshot of again and again', () => {
  const plan = {
    moment: firstUlidAt(START + 900),
    snapshot: snapshot(START + 400),
    segments: [],
    bytes: 0,
    except: [],
    erasures: 0,
  }
  const worth = (events: number, everyMs: number): boolean =>
    isWorthwhile({ ...plan, rows: plan.snapshot.records + 50 }, { events, everyMs })
  expect([worth(100, 1e9), worth(101, 1e9), worth(1e9, 1000), worth(1e9, 1001)]).toEqual([true, false, true, false])
})

test('in a large catalogue the events since are counted by reading a few nodes, once, and none where there are too few', async () => {
  const store = new CountingStore(new MemoryStore())
  const log = await TimelineLog.open(store)
  for (let from = 0; from < 3000; from += 100) {
    await log.commit(() => ({ addSegments: segments(100, from), putStreams: [streamOf(from + 100)] }))
  }
  const at = snapshot(START + 1234 * 10 + 5)
  const timeline = await log.commit(() => ({ addSnapshots: [at] }))
  const nodes = segmentNodes(store)
  store.reset()
  const asking = { stream: STREAM, nowMs: START + 5000 }
  expect(await dueAfter(nodes, timeline, { events: 1e6 }, asking)).toBeNull()
  expect(store.log).toEqual([])
  const events = (3000 - 1234) * 10
  expect(await eventsAfter(nodes, timeline.segments, at.ulid)).toBe(events)
  expect(store.calls.get).toBeLessThanOrEqual(2)
  expect(await dueAfter(nodes, timeline, { events }, asking)).not.toBeNull()
  expect(await dueAfter(nodes, timeline, { events: events + 1 }, asking)).toBeNull()
  expect(store.calls.get).toBeLessThanOrEqual(2)
})

/** The system's, in which idle time passes a thousand times as fast. */
const quick: Clock = { ...systemClock, idle: (ms, signal) => systemClock.idle(ms / 1000, signal) }
const silent = pino({ level: 'silent' })
const item = (id: string) => ({ kind: 'record', resource: 'r', id }) as const

let count = 0
/** Resolves when the baseline is there. */
async function capture(
  database: ModelDatabase,
  objects: ObjectStore,
  snapshots: TidemarkOptions['snapshots'],
): Promise<Tidemark> {
  const journal = join(directory, `journal-${count++}`)
  const store = { url: 'own://store', objects }
  const given = snapshots === undefined ? {} : { snapshots }
  const seal = { ageMs: 3_600_000_000 }
  const tidemark = await Tidemark.capture(
    { store, source: database, journal, logger: silent, seal, compaction: false, ...given },
    quick,
  )
  await until(async () => (await snapshotsOf(tidemark)) > 0)
  return tidemark
}

const snapshotsOf = async (tidemark: Tidemark): Promise<number> => (await tidemark.status()).snapshots.length

async function until(done: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1000 && !(await done()); i++) await new Promise((resolve) => setTimeout(resolve, 10))
  expect(await done()).toBe(true)
}

const looks = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 100))

test('events: a snapshot is made by itself once there are so many, and looking asks for nothing', async () => {
  const database = new ModelDatabase()
  const store = new CountingStore(new MemoryStore())
  const tidemark = await capture(database, store, { events: 20, everyMs: 3_600_000_000 })
  for (let n = 0; n < 19; n++) await database.write(item(`r${n}`), recordImage({ n }))
  await tidemark.flush()
  store.reset()
  await looks()
  expect(store.log).toEqual([])
  expect(await snapshotsOf(tidemark)).toBe(1)
  await database.write(item('r19'), recordImage({ n: 19 }))
  await tidemark.flush()
  expect((await tidemark.status()).replay?.events).toBeGreaterThan(18)
  await until(async () => (await snapshotsOf(tidemark)) === 2)
  const { snapshots, replay } = await tidemark.status()
  expect(snapshots.at(-1)).toMatchObject({ records: 20 })
  expect(replay).toMatchObject({ snapshot: snapshots.at(-1)?.ulid, events: 0 })
  store.reset()
  await looks()
  expect(store.log).toEqual([])
  expect((await tidemark.verify()).damage).toEqual([])
  await tidemark.close()
})

test('everyMs: a snapshot is made so long after the last one, unless nothing was captured since', async () => {
  const database = new ModelDatabase()
  const tidemark = await capture(database, new MemoryStore(), { everyMs: 1 })
  await looks()
  expect(await snapshotsOf(tidemark)).toBe(1)
  await database.write(item('a'), recordImage({ n: 1 }))
  await tidemark.flush()
  await until(async () => (await snapshotsOf(tidemark)) === 2)
  await looks()
  expect(await snapshotsOf(tidemark)).toBe(2)
  await tidemark.close()
})

test('snapshots: false, or the default, makes none of a few writes', async () => {
  for (const snapshots of [false, undefined] as const) {
    const database = new ModelDatabase()
    const tidemark = await capture(database, new MemoryStore(), snapshots)
    for (let n = 0; n < 30; n++) await database.write(item(`r${n}`), recordImage({ n }))
    await tidemark.flush()
    await looks()
    expect(await snapshotsOf(tidemark)).toBe(1)
    await tidemark.close()
  }
  const store = { url: 'own://store', objects: new MemoryStore() }
  const unknown: object = { snapshots: { everyS: 1 } }
  await expect(Tidemark.open({ store, ...unknown })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  for (const wrong of [{ events: 0 }, { everyMs: 1.5 }]) {
    await expect(Tidemark.open({ store, snapshots: wrong })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  }
})

test('of two processes that make one at the same time the slower leaves nothing behind, and afterwards none is made', async () => {
  const items = new Map()
  const store = new MemoryStore()
  const policy = { events: 20, everyMs: 3_600_000_000 }
  const [a, b] = [new ModelDatabase('model://two', items), new ModelDatabase('model://two', items)]
  const { promise: gate, resolve } = Promise.withResolvers<void>()
  const held: string[] = []
  const gated = new GatedStore(store, 'snapshot/', async () => {
    if (held.length > 0) held.push('it has begun')
    if (held.length > 0) await gate
  })
  const slow = new CountingStore(gated)
  const both = [await capture(a, slow, policy), await capture(b, store, policy)] as const
  const write = async (from: number, to: number): Promise<void> => {
    for (let n = from; n < to; n++) await (n % 2 === 0 ? a : b).write(item(`r${n}`), recordImage({ n }))
    // Each learns of what the others have committed when it commits itself.
    for (const one of both.toReversed()) await one.flush()
  }
  await write(0, 1)
  expect(await snapshotsOf(both[1])).toBe(1)
  held.push('the one that began first')
  await write(1, 23)
  await until(async () => held.length > 1)
  await write(23, 40)
  await until(async () => (await snapshotsOf(both[1])) === 2)
  resolve()
  // It is refused, and takes its files away; were it entered, there would be three.
  const isOver = (): boolean => slow.calls.delete > 0
  await until(async () => isOver() || (await snapshotsOf(both[1])) === 3)
  expect(await snapshotsOf(both[1])).toBe(2)
  expect((await keysOf(store.list('snapshot/'))).filter((key) => key.endsWith('s3db.json'))).toHaveLength(2)
  await both[0].close()
  await both[1].close()
})

test('where a stream that nobody can ask holds back what is reachable, no snapshot is made of next to nothing', async () => {
  const database = new ModelDatabase()
  const objects = new MemoryStore()
  const tidemark = await capture(database, objects, { events: 20, everyMs: 3_600_000_000 })
  for (let n = 0; n < 3; n++) await database.write(item(`r${n}`), recordImage({ n }))
  await tidemark.flush()
  const log = await TimelineLog.open(objects)
  const [own] = log.timeline.streams
  if (own === undefined) throw new Error('there is no stream')
  const journal = { kind: 'disk', path: '/nowhere' } as const
  const other = { ...streamOf(1, 'open', firstUlidAt(START)), lastSequence: 0, host: 'elsewhere', journal }
  await log.commit(() => ({ putStreams: [{ ...other, sealedThrough: own.sealedThrough }] }))
  for (let n = 3; n < 60; n++) await database.write(item(`r${n}`), recordImage({ n }))
  await tidemark.flush()
  await looks()
  expect(await snapshotsOf(tidemark)).toBe(1)
  expect(await keysOf(objects.list('snapshot/'))).toHaveLength(1)
  await log.commit((now) => ({
    putStreams: [{ ...other, state: 'closed', sealedThrough: now.segments.tail.at(-1)?.lastUlid ?? '' }],
  }))
  await until(async () => (await snapshotsOf(tidemark)) === 2)
  await tidemark.close()
})

test('a snapshot that is under way does not hold up the end of the capture, and leaves nothing behind', async () => {
  const database = new ModelDatabase()
  const store = new MemoryStore()
  let begun = false
  const { promise: gate, resolve } = Promise.withResolvers<void>()
  const gated = new GatedStore(store, 'snapshot/', async () => {
    if (begun) return
    begun = (await keysOf(store.list('snapshot/'))).length > 0
    if (begun) await gate
  })
  const tidemark = await capture(database, gated, { events: 5 })
  for (let n = 0; n < 5; n++) await database.write(item(`r${n}`), recordImage({ n }))
  await tidemark.flush()
  await until(async () => begun)
  const closed = tidemark.close()
  resolve()
  await closed
  await until(async () => (await keysOf(store.list('snapshot/'))).length === 1)
})
