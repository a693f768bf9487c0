import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import type { Item } from '../../src/model/event.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { liveState, openReader, openRig, stateAt } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

/** Nothing is sealed by itself: the test says when. */
const clock: Clock = { ...systemClock, idle: (_, signal) => systemClock.idle(2 ** 30, signal) }
const home = mkdtempSync(join(tmpdir(), 'first-baseline-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

/** A database whose reading as a whole waits, before it begins or when it has found what there is. */
class SlowDatabase extends ModelDatabase {
  before: Promise<void> = Promise.resolve()
  after: Promise<void> = Promise.resolve()

  override async *items(resources?: readonly string[]): AsyncGenerator<readonly Item[]> {
    await this.before
    yield* super.items(resources)
    await this.after
  }
}

test('nothing is reachable while another process may hold events from before the end of the first baseline', async () => {
  const store = new MemoryStore()
  const [never, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const others = new SlowDatabase()
  others.before = never.promise
  const own = new SlowDatabase('model://test', others.items_)
  own.after = held.promise
  const a = { kind: 'record', resource: 'r', id: 'a' } as const
  const writer = await openRig({ store, database: others, directory: join(home, 'writer'), clock })
  await others.write(a, recordImage({ n: 1 }))

  const reader = await openRig({ store, database: own, directory: join(home, 'reader'), clock })
  const baseline = reader.session.baseline()
  await new Promise((done) => setTimeout(done, 20))
  await others.write(a, null)
  held.resolve()
  await baseline
  await reader.session.complete(reader.session.mark())

  // Somebody who can ask nobody, as on another host.
  const { archive } = await openReader(store, clock)
  await expect(archive.reach('latest')).rejects.toMatchObject({
    code: 'MOMENT_UNREACHABLE',
    message: expect.stringContaining(`stream ${writer.session.stream}`),
  })
  // Its own baseline, which waits, is not waited for.
  await writer.session.complete(writer.session.mark(), 'begun')
  expect(await stateAt(archive, 'latest')).toEqual(liveState(others))
  expect(liveState(others).size).toBe(0)

  never.resolve()
  for (const one of [writer, reader]) {
    await one.session.close()
    one.archive.close()
  }
  archive.close()
})

/** The time that closing gives to a baseline is over at once; nothing else comes by time. */
const hasty: Clock = {
  ...systemClock,
  idle: (ms, signal) => (ms === 1_000 ? Promise.resolve() : clock.idle(ms, signal)),
}

test('flush and closing wait for no baseline, and the next start begins it again', async () => {
  const store = new MemoryStore()
  const held = Promise.withResolvers<void>()
  const database = new SlowDatabase()
  const record = (id: string): Item => ({ kind: 'record', resource: 'r', id })
  for (const id of ['a', 'b']) database.put(record(id), recordImage({ id }))
  const options = { store, database, directory: join(home, 'broken off'), clock: hasty }
  const begun = Promise.withResolvers<void>()
  database.read = async function (item) {
    begun.resolve()
    if (item.id !== 'c') await held.promise
    return ModelDatabase.prototype.read.call(this, item)
  }
  const first = await openRig(options)
  await begun.promise
  await first.session.flush()
  await database.write(record('c'), recordImage({ n: 1 }))
  await first.session.flush()
  expect((await first.timeline.refresh()).segments.tail.map(({ events }) => events)).toEqual([1])
  const closed = first.session.close()
  await new Promise((done) => setTimeout(done, 20))
  // What is being read is not waited for longer than it takes; nothing more is read.
  held.resolve()
  await closed
  const { snapshots, streams } = await first.timeline.refresh()
  expect([snapshots, streams.map(({ state }) => state)]).toEqual([[], ['closed']])
  expect(first.logged.join()).toContain('the next start begins it again')

  const second = await openRig(options)
  await second.session.complete(null)
  expect(await stateAt(second.archive, 'latest')).toEqual(liveState(database))
  await second.session.close()
  for (const { archive } of [first, second]) archive.close()
})
