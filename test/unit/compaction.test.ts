import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { TidemarkError } from '../../src/base/errors.ts'
import { createLogger } from '../../src/base/log.ts'
import { CompactionJob, type CompactionPolicy, checkCompaction, compactNow } from '../../src/engine/compaction.ts'
import { jobsOf } from '../../src/engine/schedule.ts'
import { snapshotOf } from '../../src/engine/snapshots.ts'
import type { Head } from '../../src/model/head.ts'
import { keysOf } from '../../src/testing/objects.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { type CompactionSeams, compact } from '../../src/upkeep/compaction/compact.ts'
import { Lease } from '../../src/upkeep/compaction/lease.ts'
import { abandonRuns, sweepReplaced } from '../../src/upkeep/compaction/sweep.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'
import { checkHead } from '../../src/upkeep/head.ts'
import { commitRepair, planRepair } from '../../src/upkeep/repair.ts'
import { prune } from '../../src/upkeep/retention/prune.ts'
import { sweep } from '../../src/upkeep/retention/sweep.ts'
import { ALL_TOLD, liveState, memoryLogger, openReader, stateAt, verify } from '../support/capture-rig.ts'
import { allSegments } from '../support/catalogue.ts'
import { LockedStore } from '../support/locked-store.ts'
import { fillHour, keysIn, runKeys } from '../support/merged-world.ts'
import { World } from '../support/reach-world.ts'
import { eventsOf } from '../support/second-reader/state.ts'
import { readTimeline } from '../support/second-reader/timeline.ts'
import { CountingStore, FaultyStore } from '../support/stores.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

let directory = ''
let world: World
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'compaction-'))
  world = new World(directory, Date.UTC(2026, 10, 21))
  await world.fill()
})
afterEach(async () => {
  await world.close()
  rmSync(directory, { recursive: true, force: true })
})

function reader(): ReturnType<typeof openReader> {
  return openReader(world.store, world.clock, undefined, async (through) => {
    for (const { rig } of world.writers) await rig.session.complete(through)
    return ALL_TOLD
  })
}

async function expectState(): Promise<void> {
  const { archive } = await reader()
  for (const { at } of world.written.filter((_, i) => i % 7 === 0))
    expect([...(await stateAt(archive, at))].sort()).toEqual([...world.stateAt(at)].sort())
}

test('another thread merges, files that were replaced stay for the grace, and another reader agrees', async () => {
  await fillHour(world)
  const { archive } = await reader()
  const before = await keysIn(world.store, 'segment/')
  const told: number[] = []
  const { merges, deleted, isHeld } = await compactNow(archive, { onMerge: ({ events }) => told.push(events) })
  expect([isHeld, deleted]).toEqual([false, 0])
  expect(merges.at(-1)).toMatchObject({ level: 2, files: 1 })
  expect(told).toEqual(merges.map(({ events }) => events))
  expect(await keysIn(world.store, 'segment/')).toEqual(expect.arrayContaining(before))
  await expectState()
  expect((await verify((await reader()).archive)).damage).toEqual([])
  expect((await verify((await reader()).archive)).unreferenced).toEqual([])
  // An independent reader, which checks every chain, finds the same events.
  const files = new Map<string, Uint8Array>()
  for (const key of await keysIn(world.store, '')) files.set(key, await world.store.get(key))
  const { timeline } = readTimeline(files)
  const events = await eventsOf({ files, timeline, open: (_, image) => image })
  expect(events.map(({ ulid }) => ulid)).toEqual(world.written.map(({ ulid }) => ulid))
  // An hour later they go, and the list of them.
  world.pass(HOUR - 1000)
  expect((await compactNow(archive, {})).deleted).toBe(0)
  world.pass(2000)
  expect((await compactNow(archive, {})).deleted).toBeGreaterThan(before.length / 2)
  expect(await keysIn(world.store, 'replaced/')).toEqual([])
  await expectState()
  expect((await verify((await reader()).archive)).damage).toEqual([])
})

test('where nobody but `compact` looks after a store its catalogue does not grow, and every head can be compared', async () => {
  await fillHour(world)
  const { archive, timeline } = await reader()
  const heads: Head[] = []
  let files = 0
  for (let round = 0; round < 8; round++) {
    for (let n = 0; n < 75; n++) await timeline.commit(() => ({}))
    if (timeline.head !== null) heads.push(timeline.head)
    const { forgotten } = await compactNow(archive, {})
    if (forgotten > 0) files = (await keysIn(world.store, 'timeline/')).length
  }
  expect(timeline.timeline.generation).toBeGreaterThan(600)
  // The last 256 stay, and the commit that says that the others went.
  expect(files).toBe(257)
  expect((await keysIn(world.store, 'timeline/')).length).toBeLessThan(257 + 76 + 64)
  await expectState()
  const again = await reader()
  expect((await verify(again.archive)).damage).toEqual([])
  for (const head of heads) await checkHead(world.store, again.timeline.timeline, head)
})

test('a file that is locked keeps its list, and nothing else of what was merged', async () => {
  await fillHour(world)
  const store = new LockedStore()
  for (const key of await keysIn(world.store, '')) await store.put(key, await world.store.get(key))
  const seams = async () => (await openReader(store, world.clock)).archive
  const [locked = ''] = await keysIn(world.store, 'segment/')
  store.locks.set(locked, null)
  await compactNow(await seams(), {})
  world.pass(2 * HOUR)
  const { deleted, refused } = await compactNow(await seams(), {})
  expect(refused).toMatchObject([{ key: locked, until: null }])
  expect(deleted).toBeGreaterThan(10)
  expect(await keysOf(store.list('replaced/'))).toHaveLength(1)
  expect(await store.head(locked)).not.toBeNull()
  const logged: string[] = []
  await new CompactionJob(await seams(), {}, memoryLogger(logged)).run(new AbortController().signal)
  expect(logged.filter((line) => line.includes('does not let files go') && line.includes(locked))).toHaveLength(1)
  store.locks.clear()
  expect(await compactNow(await seams(), {})).toMatchObject({ deleted: expect.any(Number), refused: [] })
  expect(await keysOf(store.list('replaced/'))).toEqual([])
  expect(await store.head(locked)).toBeNull()
})

test('while another process merges nothing is merged; where it fell silent the next one goes on', async () => {
  await fillHour(world)
  const { archive } = await reader()
  const lease = await Lease.take(world.store, world.clock)
  expect(await Lease.take(world.store, world.clock)).toBeNull()
  expect(await compactNow(archive, {})).toEqual({ merges: [], deleted: 0, refused: [], isHeld: true, forgotten: 0 })
  world.pass(40_000)
  expect(await lease?.renew()).toBe(true)
  world.pass(40_000)
  expect((await compactNow(archive, {})).isHeld).toBe(true)
  world.pass(30_000)
  expect((await compactNow(archive, {})).merges.length).toBeGreaterThan(0)
  expect(await lease?.renew()).toBe(false)
  // It was given back, so that nobody waits.
  expect(await Lease.take(world.store, world.clock)).not.toBeNull()
})

test('damage of a run is named: a file, its chain file, its index, a file that is missing', async () => {
  await fillHour(world)
  await compactNow((await reader()).archive, { graceMs: 0 })
  const { timeline } = await reader()
  const [entry] = (await allSegments(world.store, timeline.timeline)).filter((one) => 'run' in one)
  if (entry === undefined || !('run' in entry)) throw new Error('there is a run')
  for (const key of [entry.key, entry.run.key, entry.run.index.key]) {
    const bytes = await world.store.get(key)
    const flipped = Uint8Array.from(bytes)
    flipped[bytes.length >> 1] = (flipped[bytes.length >> 1] ?? 0) ^ 1
    await world.store.put(key, flipped)
    expect((await verify((await reader()).archive)).damage).toMatchObject([{ key }])
    await world.store.delete([key])
    expect((await verify((await reader()).archive)).damage).toMatchObject([{ key }])
    await world.store.put(key, bytes)
  }
  expect((await verify((await reader()).archive)).damage).toEqual([])
})

test('each file of a run that is damaged is named, where all of them are', async () => {
  await fillHour(world)
  await compactNow((await reader()).archive, { graceMs: 0 })
  const runs = (await allSegments(world.store, (await reader()).timeline.timeline)).filter((one) => 'run' in one)
  const keys = new Set(runs.flatMap(({ key, run }) => [key, run.key, run.index.key]))
  expect(keys.size).toBeGreaterThan(2)
  for (const key of keys) {
    const bytes = Uint8Array.from(await world.store.get(key))
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
    await world.store.put(key, bytes)
  }
  const { damage } = await verify((await reader()).archive)
  expect(damage.map(({ key }) => key).sort()).toEqual([...keys].sort())
  await world.store.delete([...keys])
  const { damage: gone } = await verify((await reader()).archive)
  expect(new Set(gone.map(({ key }) => key))).toEqual(keys)
})

test('a catalogue that was lost is made again from runs alone', async () => {
  await fillHour(world)
  await compactNow((await reader()).archive, { graceMs: 0 })
  const before = (await allSegments(world.store, (await TimelineLog.open(world.store)).timeline)).map(({ key }) => key)
  expect((await runKeys(world.store)).files.length).toBeGreaterThan(0)
  while (world.writers.length > 0) {
    const [writer] = world.writers
    if (writer !== undefined) await world.stop(writer)
  }
  await world.store.delete([...(await keysIn(world.store, 'timeline/')), ...(await keysIn(world.store, 'node/'))])
  const plan = await planRepair(world.store, () => {})
  expect(plan.timeline.segments.tail.map(({ key }) => key).sort()).toEqual(expect.arrayContaining(before))
  expect(await commitRepair(world.store, plan)).toBe(true)
  const { timeline } = await TimelineLog.open(world.store)
  const streams = timeline.streams.map((stream) => ({ ...stream, state: 'closed' as const }))
  await (await TimelineLog.open(world.store)).commit(() => ({ putStreams: streams }))
  await expectState()
  expect((await verify((await reader()).archive)).damage).toEqual([])
})

test('who captures merges by itself, asks the store for nothing while nothing changes, and deletes when the grace is over', async () => {
  await fillHour(world)
  const store = new CountingStore(world.store)
  const { archive } = await openReader(store, world.clock)
  const { signal } = new AbortController()
  const job = new CompactionJob(archive, { graceMs: 5 * MINUTE }, createLogger('silent'))
  await job.run(signal)
  const { files } = await runKeys(world.store)
  expect(files.length).toBeGreaterThan(0)
  await job.run(signal)
  store.reset()
  for (let i = 0; i < 4; i++) {
    world.pass(MINUTE)
    await job.run(signal)
  }
  expect(store.calls).toEqual({ put: 0, get: 0, head: 0, list: 0, delete: 0 })
  world.pass(2 * MINUTE)
  await job.run(signal)
  expect(await keysIn(world.store, 'replaced/')).toEqual([])
  store.reset()
  world.pass(HOUR)
  await job.run(signal)
  expect(store.calls).toEqual({ put: 0, get: 0, head: 0, list: 0, delete: 0 })
})

test('who may not delete merges nothing, says so once, and is not asked again', async () => {
  await fillHour(world)
  const before = await keysIn(world.store, '')
  const denied = new TidemarkError('STORE_DENIED', 'delete is not allowed', { hint: '' })
  const store = new FaultyStore(world.store, (verb) => (verb === 'delete' ? denied : null))
  const { archive } = await openReader(store, world.clock)
  const logged: string[] = []
  const job = new CompactionJob(archive, {}, memoryLogger(logged))
  for (let i = 0; i < 3; i++) {
    await job.run(new AbortController().signal)
    world.pass(MINUTE)
  }
  expect(logged.filter((line) => line.includes('tidemark compact'))).toHaveLength(1)
  expect(await keysIn(world.store, '')).toEqual(before)
  await expect(compactNow(archive, {})).rejects.toBe(denied)
})

test('what fails is tried again later and later, and a lease of a clock that is ahead keeps nobody waiting', async () => {
  await fillHour(world)
  const lease = await Lease.take(world.store, { ...world.clock, now: () => world.now + 1000 * HOUR })
  expect(lease).not.toBeNull()
  let gets = 0
  const store = new FaultyStore(world.store, (verb, key) =>
    verb === 'get' && key.startsWith('segment/') ? 'before' : null,
  )
  const { archive } = await openReader(store, world.clock)
  const job = new CompactionJob(archive, {}, createLogger('silent'))
  const { signal } = new AbortController()
  for (let i = 0; i < 12; i++) {
    world.pass(MINUTE)
    await job.run(signal).catch(() => gets++)
  }
  // The first, and after one, two, four and so on that are left out.
  expect(gets).toBe(4)
  expect(await keysIn(world.store, 'merging/')).toEqual([])
  store.script = () => null
  for (let i = 0; i < 20; i++) await job.run(signal)
  expect((await runKeys(world.store)).files.length).toBeGreaterThan(0)
})

test('it ends after so many merges, and when it is told to', async () => {
  await fillHour(world)
  const { store, clock } = world
  const write: CompactionSeams['write'] = (request, onFile) => writeRun(store, request, onFile)
  const seams = { store, timeline: await TimelineLog.open(store), clock, memory: 1e7, write }
  expect((await compact(seams, { graceMs: HOUR, signal: AbortSignal.abort() })).merges).toHaveLength(0)
  expect((await compact(seams, { graceMs: HOUR, most: 1 })).merges).toHaveLength(1)
  expect((await compact(seams, { graceMs: HOUR })).merges.length).toBeGreaterThan(0)
})

test('options are honoured, and what is none is refused', async () => {
  const [writer] = [await world.start('journal')]
  const { archive, session } = writer.rig
  const seams = {
    archive,
    session,
    source: null,
    snapshots: false as const,
    retention: null,
    log: createLogger('silent'),
  }
  const jobs = (compaction: CompactionPolicy | false): unknown =>
    jobsOf({}, { ...seams, compaction }).map(({ name, everyMs }) => [name, everyMs])
  expect(jobs({ everyMs: 7 })).toEqual([['compact', 7]])
  expect(jobs({})).toEqual([['compact', 60_000]])
  expect(jobs(false)).toEqual([])
  for (const policy of [{ everyMs: 0 }, { graceMs: -1 }, { grace: 1 }])
    expect(() => checkCompaction('it', policy as CompactionPolicy)).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID' }),
    )
})

test('a run is pruned as a whole, with its chain file, and the history is whole from its end on', async () => {
  await fillHour(world)
  const { archive } = await reader()
  await compactNow(archive, { graceMs: 0 })
  await snapshotOf(archive, {})
  const { store, clock } = world
  const log = await TimelineLog.open(store)
  const { plan } = await prune({ store, timeline: log, clock }, { count: 1 })
  expect(plan.segments.filter((entry) => 'run' in entry).length).toBeGreaterThan(0)
  expect(plan.bases.size).toBe(2)
  world.pass(1000)
  await sweep({ store, timeline: log, clock }, 0)
  expect(await runKeys(world.store)).toEqual({ files: [], chains: [], indexes: [] })
  const { archive: now } = await reader()
  expect(await stateAt(now, 'latest')).toEqual(liveState(world.database))
  const { damage, unreferenced } = await verify(now)
  expect({ damage, unreferenced }).toEqual({ damage: [], unreferenced: [] })
})

test('a run whose merge was broken off goes in the end, and nothing of the history with it', async () => {
  await fillHour(world)
  const { archive } = await reader()
  let isOver = false
  const dying = new FaultyStore(world.store, (verb, key) => {
    isOver ||= verb === 'put' && key.startsWith('timeline/')
    return isOver ? 'before' : null
  })
  const broken = await openReader(dying, world.clock)
  await expect(compactNow(broken.archive, {})).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  const orphans = await runKeys(world.store)
  expect(orphans.files.length).toBeGreaterThan(0)
  expect((await verify((await reader()).archive)).unreferenced.length).toBeGreaterThan(0)
  world.pass(25 * HOUR)
  await compactNow(archive, {})
  world.pass(2 * HOUR)
  await compactNow(archive, {})
  expect(await keysIn(world.store, '')).not.toEqual(expect.arrayContaining(orphans.files))
  expect(await keysIn(world.store, 'merging/')).toEqual([])
  const { damage, unreferenced } = await verify((await reader()).archive)
  expect({ damage, unreferenced }).toEqual({ damage: [], unreferenced: [] })
  await expectState()
})

test('a run that was committed stays, although what says that it is written was left', async () => {
  await fillHour(world)
  const keeping = new FaultyStore(world.store, (verb, key) =>
    verb === 'delete' && key.includes('merging/') ? 'before' : null,
  )
  const { archive } = await openReader(keeping, world.clock)
  await expect(compactNow(archive, {})).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  expect(await keysIn(world.store, 'merging/')).toHaveLength(1)
  for (let i = 0; i < 3; i++) {
    world.pass(25 * HOUR)
    await compactNow((await reader()).archive, {})
  }
  expect(await keysIn(world.store, 'merging/')).toEqual([])
  expect((await verify((await reader()).archive)).damage).toEqual([])
  await expectState()
})

test('who slept through a merge commits nothing of what was let go meanwhile', async () => {
  await fillHour(world)
  const [timeline, { store, clock }] = [await TimelineLog.open(world.store), world]
  let slept = 0
  const write: CompactionSeams['write'] = async (request, onFile) => {
    const written = await writeRun(store, request, onFile)
    if (slept++ > 0) return written
    // For more than a day, while others take its run for one that nobody will commit.
    const other = await TimelineLog.open(store)
    world.pass(25 * HOUR)
    await abandonRuns(store, other, clock.now())
    world.pass(2 * HOUR)
    expect(await sweepReplaced(store, other, clock.now() - HOUR)).toEqual({
      deleted: written.files.length + 2,
      refused: [],
    })
    return written
  }
  // What it has written is no more: it begins anew.
  const { merges } = await compact({ store, timeline, clock, memory: 1e7, write }, { graceMs: HOUR })
  expect(merges.length).toBeGreaterThan(0)
  expect(slept).toBe(merges.length + 1)
  await expectState()
  const { damage, unreferenced } = await verify((await reader()).archive)
  expect({ damage, unreferenced }).toEqual({ damage: [], unreferenced: [] })
})
