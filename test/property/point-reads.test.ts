import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { snapshotOf } from '../../src/engine/snapshots.ts'
import { View } from '../../src/engine/view.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { compact } from '../../src/upkeep/compaction/compact.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'
import { ALL_TOLD, openReader } from '../support/capture-rig.ts'
import { keyOf } from '../support/model-database.ts'
import { itemOf, RECORDS, World } from '../support/reach-world.ts'
import { random } from '../support/simulated-disk.ts'
import { CountingStore } from '../support/stores.ts'

const HOUR = 3_600_000

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'point-reads-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

function readerOf(world: World, store: ObjectStore = world.store): ReturnType<typeof openReader> {
  return openReader(store, world.clock, undefined, async (through) => {
    for (const { rig } of world.writers) await rig.session.complete(through)
    return ALL_TOLD
  })
}

/** Merges what is over into runs of so small files that a record may be in one and its neighbour in another. */
async function merge({ store, clock }: World, fileBytes: number): Promise<void> {
  const timeline = await TimelineLog.open(store)
  const write: Parameters<typeof compact>[0]['write'] = (request, onFile) =>
    writeRun(store, { ...request, fileBytes }, onFile)
  await compact({ store, timeline, clock, memory: 1e7, write }, { graceMs: HOUR })
}

/** Two processes write by turns over days, seal when they like, and somebody makes snapshots of moments and merges in between. */
async function build(seed: number): Promise<World> {
  const next = random(seed)
  const world = new World(mkdtempSync(join(directory, 'world-')), Date.UTC(2026, 10, 21))
  await world.fill()
  const writers = [await world.start('journal'), await world.start('journal')]
  for (let round = 0; round < 50; round++) {
    world.pass(Math.floor(next() * 6 * HOUR))
    const writer = writers[Math.floor(next() * writers.length)]
    for (let i = 0; writer !== undefined && i < 1 + next() * 4; i++) {
      world.pass(1 + Math.floor(next() * 5))
      await world.write(writer, next() ** 2, next() < 0.2)
    }
    if (next() < 0.5) await writer?.rig.session.complete(null)
    if (next() < 0.2) {
      const { archive } = await readerOf(world)
      await snapshotOf(
        archive,
        next() < 0.5 ? {} : { at: world.written[Math.floor(next() * world.written.length)]?.at ?? 0 },
      )
      archive.close()
    }
    if (next() < 0.1) await merge(world, next() < 0.5 ? 2000 : 1e6)
  }
  return world
}

/** What it has read: reads of snapshots, of members but not of manifests, and lookups. */
async function readAll(world: World): Promise<{ readonly lookups: number; readonly members: number }> {
  const store = new CountingStore(world.store)
  const { archive } = await readerOf(world, store)
  let lookups = 0
  store.reset()
  for (const { at } of world.written) {
    const view = new View(archive, at)
    const truth = world.stateAt(at)
    for (let i = 0; i < RECORDS; i++) {
      const { resource, id } = itemOf(i)
      const expected = truth.get(keyOf(itemOf(i)))
      const found = await view.get(resource, id)
      expect(found, `${resource}/${id} at ${at}`).toEqual(
        expected === undefined ? null : JSON.parse(expected.split(' | ')[0] ?? ''),
      )
      lookups++
    }
  }
  archive.close()
  const members = store.log.filter((call) => call.startsWith('get snapshot/') && call.endsWith('.gz')).length
  return { lookups, members }
}

test('a record is what it was at every moment, of two writers, whatever snapshots and merges there were since', {
  timeout: 240_000,
}, async () => {
  let [lookups, members] = [0, 0]
  for (const seed of [1, 2, 3, 4]) {
    const world = await build(seed)
    for (const how of ['as it is', 'merged']) {
      if (how === 'merged') {
        world.pass(40 * 24 * HOUR)
        for (const { rig } of world.writers) await rig.session.complete(null)
        await merge(world, 4000)
      }
      const read = await readAll(world)
      lookups += read.lookups
      members += read.members
    }
    await world.close()
  }
  // Of most records that were not changed since the snapshot it is not read.
  expect(members).toBeLessThan(lookups / 2)
})
