import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { eraseRecord } from '../../src/engine/erasure.ts'
import type { Item } from '../../src/model/event.ts'
import { formatHead, parseHead } from '../../src/model/head.ts'
import { findEvents } from '../../src/restore/lookup.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { type Compaction, type CompactionSeams, compact } from '../../src/upkeep/compaction/compact.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'
import { verifyStore } from '../../src/upkeep/verify.ts'
import { ALL_TOLD, openReader, stateAt } from '../support/capture-rig.ts'
import { allSegments } from '../support/catalogue.ts'
import { keyOf } from '../support/model-database.ts'
import { itemOf, RECORDS, World } from '../support/reach-world.ts'
import { hashOf } from '../support/second-reader/run-index.ts'
import { showEvent } from '../support/segments.ts'
import { random } from '../support/simulated-disk.ts'
import { FaultyStore } from '../support/stores.ts'

const HOUR = 3_600_000
const GRACE = HOUR

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'compaction-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

/** What a history says: every event of every record, and the state at moments of it. */
interface Said {
  readonly histories: ReadonlyMap<string, readonly string[]>
  readonly heads: string[]
}

/** Between what is sealed together: within each of the windows, and beyond it. */
const PAUSES: readonly number[] = [60_000, 60_000, 200_000, HOUR / 2, 10 * HOUR]

/** A world of two processes that write by turns, each seal a segment, over some days. */
async function build(seed: number): Promise<{ readonly world: World; readonly heads: string[] }> {
  const next = random(seed)
  const world = new World(mkdtempSync(join(directory, 'world-')), Date.UTC(2026, 10, 21))
  await world.fill()
  const writers = [await world.start('journal'), await world.start('journal')]
  const heads: string[] = []
  for (let round = 0; round < 60; round++) {
    world.pass(Math.floor(next() * (PAUSES[Math.floor(next() * PAUSES.length)] ?? 0)))
    const writer = writers[Math.floor(next() * writers.length)]
    for (let i = 0; writer !== undefined && i < 1 + next() * 4; i++) {
      world.pass(1 + Math.floor(next() * 5))
      await world.write(writer, next(), next() < 0.2)
    }
    if (next() < 0.7) await writer?.rig.session.complete(null)
    if (next() < 0.1)
      heads.push(formatHead((await TimelineLog.open(world.store)).head ?? { generation: 0, sha256: '' }))
  }
  for (const { rig } of writers) await rig.session.complete(null)
  world.pass(40 * 24 * HOUR)
  for (const writer of writers) {
    await world.write(writer, 0.5, false)
    world.pass(5)
    await writer.rig.session.complete(null)
  }
  return { world, heads }
}

async function said(world: World, store: ObjectStore = world.store): Promise<Said> {
  const { archive, timeline } = await readerOf(world, store)
  const segments = await allSegments(store, timeline.timeline)
  const histories = new Map<string, readonly string[]>()
  for (const { key, item } of named()) {
    const events: string[] = []
    for await (const event of findEvents(archive.sources, segments, item)) events.push(showEvent(event))
    histories.set(key, events)
  }
  return { histories, heads: [] }
}

/** Reads a store; whoever writes is asked for what is not in it yet. */
function readerOf(world: World, store: ObjectStore = world.store): ReturnType<typeof openReader> {
  return openReader(store, world.clock, undefined, async (through) => {
    for (const { rig } of world.writers) await rig.session.complete(through)
    return ALL_TOLD
  })
}

function named(): readonly { readonly key: string; readonly item: Item }[] {
  return Array.from({ length: RECORDS }, (_, i) => ({ key: keyOf(itemOf(i)), item: itemOf(i) }))
}

/** That every moment of the world is what it was, but for what was erased, and that the store is whole. */
async function expectSound(world: World, heads: readonly string[], erased: ReadonlySet<string>): Promise<void> {
  const { archive, timeline } = await readerOf(world)
  const step = Math.max(1, Math.floor(world.written.length / 8))
  for (const [i, { at }] of world.written.entries()) {
    if (i % step !== 0) continue
    const expected = [...world.stateAt(at)].filter(([key]) => !erased.has(key)).sort()
    expect([...(await stateAt(archive, at))].sort()).toEqual(expected)
  }
  for (const head of [null, ...heads]) {
    const noted = head === null ? null : parseHead(head)
    expect((await verifyStore(archive.sources, timeline.timeline, undefined, noted)).damage).toEqual([])
  }
}

/** The indexes of runs, named or not, in which the hash of an item stands. */
async function namesIn({ store }: World, item: Item): Promise<string[]> {
  const found: string[] = []
  for await (const { key } of store.list('segment/')) {
    if (!key.endsWith('.bin')) continue
    const [, run = ''] = key.split('/')
    const bytes = Buffer.from(await store.get(key))
    const hash = hashOf(run, item)
    for (let at = 0; at < bytes.length; at += 4) if (bytes.readUInt32LE(at) === hash) found.push(key)
  }
  return found
}

function seamsOf(world: World, store: ObjectStore, timeline: TimelineLog): CompactionSeams {
  const { clock } = world
  // Small files: a run of many, as that of a large store is.
  const write: CompactionSeams['write'] = (request, onFile) => writeRun(store, { ...request, fileBytes: 2000 }, onFile)
  return { store, timeline, clock, memory: 1e7, write }
}

async function compactWith(world: World, store: ObjectStore = world.store): Promise<Compaction> {
  return compact(seamsOf(world, store, await TimelineLog.open(store)), { graceMs: GRACE })
}

test('what is merged says what it said before: every moment, every history, every head', {
  timeout: 120_000,
}, async () => {
  for (const seed of [1, 2]) {
    const { world, heads } = await build(seed)
    const before = await said(world)
    const count = (await allSegments(world.store, (await TimelineLog.open(world.store)).timeline)).length
    const { merges } = await compactWith(world)
    expect(merges.length).toBeGreaterThan(2)
    expect(new Set(merges.map(({ level }) => level)).size).toBeGreaterThan(2)
    const after = await said(world)
    expect(after.histories).toEqual(before.histories)
    const left = await allSegments(world.store, (await TimelineLog.open(world.store)).timeline)
    expect(new Set(left.map((entry) => ('run' in entry ? entry.run.key : entry.key))).size).toBeLessThan(count / 4)
    await expectSound(world, heads, new Set())
    // Nothing is left to do, and what was replaced goes when its time is over.
    const again = await compactWith(world)
    expect(again).toEqual({ merges: [], deleted: 0, refused: [], isHeld: false })
    world.pass(2 * GRACE)
    expect((await compactWith(world)).deleted).toBeGreaterThanOrEqual(count - left.length)
    expect((await said(world)).histories).toEqual(before.histories)
    await expectSound(world, heads, new Set())
    await world.close()
  }
})

test('a compaction that is broken off anywhere changes nothing, and another goes on', {
  timeout: 120_000,
}, async () => {
  const { world, heads } = await build(4)
  const before = await said(world)
  const next = random(5)
  for (let attempt = 0; attempt < 60; attempt++) {
    let calls = Math.floor(next() * 40)
    const point = next() < 0.5 ? 'before' : 'after'
    const dying = new FaultyStore(world.store, () => (calls-- === 0 || calls < 0 ? point : null))
    await compactWith(world, dying).catch((error: unknown) =>
      expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' }),
    )
    world.pass(61_000)
    if (attempt % 10 === 0) expect((await said(world)).histories).toEqual(before.histories)
  }
  await compactWith(world)
  expect((await compactWith(world)).merges).toEqual([])
  expect((await said(world)).histories).toEqual(before.histories)
  await expectSound(world, heads, new Set())
  await world.close()
})

test('an erasure beside a compaction takes the record out of what was merged and of what was not', {
  timeout: 120_000,
}, async () => {
  for (const when of ['before', 'while it writes', 'after'] as const) {
    const { world, heads } = await build(6)
    const victim = [...world.database.items_.values()].at(-1)?.item
    if (victim === undefined) throw new Error('there are records')
    const [writer] = world.writers
    await writer?.database.write(victim, null)
    world.pass(5)
    await writer?.rig.session.complete(null)
    const before = await said(world)
    const erase = async (): Promise<void> => {
      const { archive } = await readerOf(world)
      await eraseRecord(archive, victim, { reason: 'asked for', mode: 'rewritten' })
    }
    if (when === 'before') await erase()
    const timeline = await TimelineLog.open(world.store)
    const seams = seamsOf(world, world.store, timeline)
    let writes = 0
    const write: CompactionSeams['write'] = async (request, onFile) => {
      const written = await seams.write(request, onFile)
      if (when === 'while it writes' && ++writes === 4) await erase()
      return written
    }
    await compact({ ...seams, write }, { graceMs: GRACE })
    if (when === 'after') await erase()
    const after = await said(world)
    const key = keyOf(victim)
    expect(after.histories.get(key)).toEqual([])
    expect(new Map(after.histories).set(key, before.histories.get(key) ?? [])).toEqual(before.histories)
    await expectSound(world, heads, new Set([key]))
    expect(await namesIn(world, victim)).toEqual([])
    // Nor is it in a file that nobody names.
    if (when === 'after') for await (const { key: name } of world.store.list('replaced/')) expect.unreachable(name)
    await world.close()
  }
})
