import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { compactNow } from '../../src/engine/compaction.ts'
import { eraseRecord } from '../../src/engine/erasure.ts'
import type { Item } from '../../src/model/event.ts'
import type { MergedSegment } from '../../src/model/timeline.ts'
import { newUlid } from '../../src/model/ulid.ts'
import { findEvents } from '../../src/restore/lookup.ts'
import type { ReplaySources } from '../../src/restore/replay.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'
import { commitRepair, planRepair } from '../../src/upkeep/repair.ts'
import { ALL_TOLD, openReader, stateAt, verify } from '../support/capture-rig.ts'
import { allSegments } from '../support/catalogue.ts'
import { fillHour, keysIn, runKeys } from '../support/merged-world.ts'
import { keyOf } from '../support/model-database.ts'
import { itemOf, RECORDS, World } from '../support/reach-world.ts'
import { eventsOf } from '../support/second-reader/state.ts'
import { readTimeline } from '../support/second-reader/timeline.ts'
import { CountingStore } from '../support/stores.ts'

let directory = ''
let world: World
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'run-lookups-'))
  world = new World(directory, Date.UTC(2026, 10, 21))
  await world.fill()
})
afterEach(async () => {
  await world.close()
  rmSync(directory, { recursive: true, force: true })
})

function reader(store: ObjectStore = world.store): ReturnType<typeof openReader> {
  return openReader(store, world.clock, undefined, async (through) => {
    for (const { rig } of world.writers) await rig.session.complete(through)
    return ALL_TOLD
  })
}

async function expectState(): Promise<void> {
  const { archive } = await reader()
  for (const { at } of world.written.filter((_, i) => i % 7 === 0))
    expect([...(await stateAt(archive, at))].sort()).toEqual([...world.stateAt(at)].sort())
}

async function mergedFiles(): Promise<MergedSegment[]> {
  const segments = await allSegments(world.store, (await TimelineLog.open(world.store)).timeline)
  return segments.flatMap((entry) => ('run' in entry ? [entry] : []))
}

async function stampsOf(sources: ReplaySources, files: readonly MergedSegment[], item: Item): Promise<string[]> {
  const stamps: string[] = []
  for await (const { stamp } of findEvents(sources, files, item)) stamps.push(stamp.ulid)
  return stamps
}

test('one item costs a request of the index and one of its rows, known again only the rows, and none of a footer', async () => {
  await fillHour(world)
  await compactNow((await reader()).archive, { graceMs: 0 })
  const files = await mergedFiles()
  expect(new Set(files.map(({ run }) => run.key)).size).toBe(1)
  const counting = new CountingStore(world.store)
  const { archive } = await reader(counting)
  const merged = new Set(files.map(({ key }) => key))
  let found = 0
  for (const isKnown of [false, true]) {
    for (let n = 0; n < RECORDS; n++) {
      counting.reset()
      const stamps = await stampsOf(archive.sources, files, itemOf(n))
      found += stamps.length
      const index = isKnown || n > 0 ? 0 : 1 // it is small, and read as a whole
      expect(counting.calls.get).toBe(index + (stamps.length > 0 ? 1 : 0))
      expect(counting.log.filter((call) => merged.has(call.slice(4))).length).toBe(stamps.length > 0 ? 1 : 0)
    }
  }
  expect(found).toBeGreaterThan(20)
  counting.reset()
  expect(await stampsOf(archive.sources, files, { kind: 'record', resource: 'r', id: 'nobody' })).toEqual([])
  expect(counting.calls.get).toBe(0)
})

test('the index of a run that is damaged or missing keeps every lookup from answering, and is made again from the files', async () => {
  await fillHour(world)
  await compactNow((await reader()).archive, { graceMs: 0 })
  const [run] = (await allSegments(world.store, (await reader()).timeline.timeline)).flatMap((entry) =>
    'run' in entry ? [entry.run] : [],
  )
  if (run === undefined) throw new Error('there is a run')
  const histories = async (): Promise<string[]> => {
    const { archive, timeline } = await reader()
    const segments = await allSegments(world.store, timeline.timeline)
    const events: string[] = []
    for (let n = 0; n < RECORDS; n++)
      for await (const { stamp } of findEvents(archive.sources, segments, itemOf(n))) events.push(stamp.ulid)
    return events.sort()
  }
  const expected = world.written.map(({ ulid }) => ulid).sort()
  expect(await histories()).toEqual(expected)
  const { key } = run.index
  let index = await world.store.get(key)
  const flipped = Uint8Array.from(index, (byte, i) => (i === 5 ? byte ^ 1 : byte))
  for (const bytes of [flipped, null]) {
    const [{ run: now } = { run }] = (await allSegments(world.store, (await reader()).timeline.timeline)).flatMap(
      (one) => ('run' in one ? [one] : []),
    )
    index = await world.store.get(now.index.key)
    if (bytes === null) await world.store.delete([now.index.key])
    else await world.store.put(now.index.key, bytes)
    await expect(histories()).rejects.toMatchObject({ details: { key: now.index.key } })
    await expectState() // whole restores do without
    const plan = await planRepair(world.store, () => {})
    expect(plan).toMatchObject({ isNeeded: true, remade: [{ key: now.index.key }], takenOut: [], entered: [] })
    expect(await keysIn(world.store, 'segment/')).not.toContain(plan.indexes[0]?.file.key)
    expect(await commitRepair(world.store, plan)).toBe(true)
    expect(await histories()).toEqual(expected)
    await world.store.delete([now.index.key])
    expect((await verify((await reader()).archive)).damage).toEqual([])
    // It says the same, under another name.
    const made = plan.indexes[0]?.file
    expect([made?.bytes, made?.rowGroups]).toEqual([index.length, now.index.rowGroups])
  }
  expect(await planRepair(world.store, () => {})).toMatchObject({ isNeeded: false, remade: [], indexes: [] })
})

test('a file that an erasure has emptied is in the way of no other, and of no lookup', async () => {
  await fillHour(world)
  const victims = [...world.database.items_.values()].map(({ item }) => item).slice(-2)
  for (const victim of victims) {
    await world.writers[0]?.database.write(victim, null)
    world.pass(5)
  }
  for (const { rig } of world.writers) await rig.session.complete(null)
  const { store } = world
  const timeline = await TimelineLog.open(store)
  const units = (await allSegments(store, timeline.timeline)).map((entry) => [entry])
  // Each event has a file for itself.
  const request = { run: newUlid(world.now), level: 1, erasures: 0, units, memory: 1e8, fileBytes: 1 }
  const { replaced, files } = await writeRun(store, request, () => {})
  await timeline.commit(() => ({ merge: { replaced, by: files } }))
  const stamps = async (item: Item): Promise<string[]> =>
    stampsOf((await reader()).archive.sources, await mergedFiles(), item)
  const kept = Array.from({ length: RECORDS }, (_, n) => itemOf(n)).filter(
    (item) => !victims.some((victim) => keyOf(victim) === keyOf(item)),
  )
  const before = await Promise.all(kept.map(stamps))
  expect(before.flat().length).toBeGreaterThan(20)
  for (const victim of victims) {
    expect((await stamps(victim)).length).toBeGreaterThan(0)
    await eraseRecord((await reader()).archive, victim, { reason: 'asked for', mode: 'rewritten' })
    expect(await stamps(victim)).toEqual([])
    expect(await Promise.all(kept.map(stamps))).toEqual(before)
    expect((await verify((await reader()).archive)).damage).toEqual([])
  }
  expect((await mergedFiles()).filter(({ events }) => events === 0).length).toBeGreaterThan(2)
})

test('a catalogue that was lost is made again from runs of which an index is lost too', async () => {
  await fillHour(world)
  await compactNow((await reader()).archive, { graceMs: 0 })
  while (world.writers.length > 0) {
    const [writer] = world.writers
    if (writer !== undefined) await world.stop(writer)
  }
  const { indexes } = await runKeys(world.store)
  await world.store.delete([
    ...(await keysIn(world.store, 'timeline/')),
    ...(await keysIn(world.store, 'node/')),
    ...indexes,
  ])
  const plan = await planRepair(world.store, () => {})
  expect(plan.indexes.length).toBe(indexes.length)
  expect(await commitRepair(world.store, plan)).toBe(true)
  expect((await runKeys(world.store)).indexes.length).toBe(indexes.length)
  const { timeline } = await TimelineLog.open(world.store)
  const streams = timeline.streams.map((stream) => ({ ...stream, state: 'closed' as const }))
  await (await TimelineLog.open(world.store)).commit(() => ({ putStreams: streams }))
  await expectState()
  expect((await verify((await reader()).archive)).damage).toEqual([])
  // Where it is made again, a second reader goes on from what cannot be read.
  const files = new Map<string, Uint8Array>()
  for (const key of await keysIn(world.store, '')) files.set(key, await world.store.get(key))
  const read = readTimeline(files)
  const events = await eventsOf({ files, timeline: read.timeline, open: (_, image) => image })
  expect(events.map(({ ulid }) => ulid)).toEqual(world.written.map(({ ulid }) => ulid))
})
