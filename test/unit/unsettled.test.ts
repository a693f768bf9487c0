import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import type { Image, Item } from '../../src/model/event.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { findEvents } from '../../src/restore/lookup.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { show } from '../support/arbitrary.ts'
import { copyJournals, liveState, openRig, type Rig, type RigOptions, stateAt, verify } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

const home = mkdtempSync(join(tmpdir(), 'unsettled-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

const x = { kind: 'record', resource: 'r', id: 'x' } as const
const y = { kind: 'record', resource: 'r', id: 'y' } as const

/** Time between attempts goes by when the test says so; then it goes by at once. */
class Turns implements Clock {
  #waiting: (() => void)[] = []
  readonly now = systemClock.now
  readonly sleep = systemClock.sleep

  idle(_: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve()
      signal.addEventListener('abort', () => resolve(), { once: true })
      this.#waiting.push(resolve)
    })
  }

  async pass(): Promise<void> {
    for (const resolve of this.#waiting.splice(0)) resolve()
    await systemClock.sleep(30)
  }
}

/** A database that can go away: `read` of some items or all fails, and a write is done and its answer lost. */
class Failing extends ModelDatabase {
  isDown = false
  /** The next write takes effect, or not, and fails; then the database is gone. */
  next: 'done' | 'not done' | null = null

  protected override async access(): Promise<void> {
    await super.access()
    if (this.isDown) throw new Error('the database is down')
  }

  override put(item: Item, image: Image | null): void {
    const { next } = this
    if (next !== 'not done') super.put(item, image)
    if (next === null) return
    this.next = null
    this.isDown = true
    throw new Error('the answer was lost')
  }
}

interface World extends RigOptions {
  readonly store: MemoryStore
  readonly database: Failing
  readonly clock: Turns
}

let worlds = 0
function world(): World {
  return {
    store: new MemoryStore(),
    database: new Failing(),
    directory: join(home, String(++worlds)),
    clock: new Turns(),
  }
}

/** What a process that was killed while it wrote x left behind: n was 1, and is 2 or not; then the database went away. */
async function killed(next: 'done' | 'not done'): Promise<{ world: World; before: number }> {
  const first = world()
  const { database } = first
  const rig = await openRig(first)
  await database.write(x, recordImage({ n: 1 }))
  await rig.session.complete(null)
  const before = Date.now()
  await systemClock.sleep(2)
  await rig.session.complete(null)
  await rig.session.complete(firstUlidAt(before + 1))
  await database.write(y, recordImage({ n: 1 }))
  database.next = next
  await expect(database.write(x, recordImage({ n: 2 }))).rejects.toThrow()
  const directory = `${first.directory}-killed`
  copyJournals(first.directory, directory)
  return { world: { ...first, clock: new Turns(), directory }, before }
}

async function sameAsLive({ archive }: Rig, database: Failing): Promise<void> {
  expect(await stateAt(archive, 'latest')).toEqual(liveState(database))
  expect((await verify(archive)).damage).toEqual([])
}

async function historyOf({ archive }: Rig, item: Item): Promise<string[]> {
  const { segments } = await archive.segmentsAfter(firstUlidAt(0))
  const told: string[] = []
  for await (const { before, after } of findEvents(archive.sources, segments, item)) {
    told.push(`${show(before)} > ${show(after)}`)
  }
  return told
}

/** Its images, one after the other, as `historyOf` tells them. */
function chain(...numbers: readonly (number | null)[]): string[] {
  const images = numbers.map((n) => show(n === null ? null : recordImage({ n })))
  return images.slice(1).map((image, i) => `${images[i]} > ${image}`)
}

async function end(rig: Rig): Promise<void> {
  await rig.session.close()
  rig.archive.close()
}

test('what cannot be settled at the start hides nothing from before, and is settled when the database is back', async () => {
  for (const next of ['done', 'not done'] as const) {
    const { world, before } = await killed(next)
    const { database, clock } = world
    const rig = await openRig(world)
    await rig.session.settled()
    expect(rig.logged.join()).toContain('the database is down')
    await rig.session.complete(null)
    expect([...(await stateAt(rig.archive, before)).values()]).toEqual([show(recordImage({ n: 1 }))])
    const now = Date.now()
    await expect(rig.archive.reach(now)).rejects.toMatchObject({ code: 'MOMENT_UNREACHABLE' })
    await expect(rig.session.complete(null, 'begun')).rejects.toMatchObject({ code: 'MOMENT_UNREACHABLE' })
    await expect(rig.session.baseline()).rejects.toThrow('the database is down')
    await clock.pass()
    expect(rig.session.recorder.undecided).toEqual([x])
    database.isDown = false
    await clock.pass()
    await expect.poll(() => rig.session.recorder.undecided).toEqual([])
    expect(rig.session.pending.events).toBe(next === 'done' ? 1 : 0)
    await sameAsLive(rig, database)
    await rig.archive.reach(now)
    expect(await historyOf(rig, x)).toEqual(next === 'done' ? chain(null, 1, 2) : chain(null, 1))
    await rig.session.baseline()
    await end(rig)
    expect((await rig.timeline.refresh()).streams.map(({ state }) => state)).toEqual(['closed'])
  }
})

test('nothing is written to an item before what is open of it is settled', async () => {
  const { world } = await killed('done')
  const rig = await openRig(world)
  await rig.session.settled()
  await expect(world.database.write(x, recordImage({ n: 3 }))).rejects.toThrow('the database is down')
  world.database.isDown = false
  await world.database.write(x, recordImage({ n: 3 }))
  await world.database.write(x, null)
  expect(await historyOf(rig, x)).toEqual(chain(null, 1, 2, 3, null))
  expect(rig.session.findings.count.count).toBe(0)
  await sameAsLive(rig, world.database)
  await end(rig)
})

test('what an earlier process left is brought into the store, whatever another one left open', async () => {
  const { world: left } = await killed('done')
  const { database, directory, store } = left
  const other: World = { ...world(), store, database: new Failing('model://test', database.items_) }
  const second = await openRig(other)
  await other.database.write(y, recordImage({ n: 2 }))
  copyJournals(other.directory, directory)
  // Only x cannot be read.
  database.isDown = false
  const read = database.read.bind(database)
  database.read = async (item): Promise<Image | null> => {
    if (item.id === 'x') throw new Error('x cannot be read')
    return read(item)
  }
  const rig = await openRig(left)
  expect(rig.session.stream < second.session.stream).toBe(true)
  await rig.session.settled()
  const states = async (): Promise<string[]> => (await rig.timeline.refresh()).streams.map(({ state }) => state)
  expect(await states()).toEqual(['open', 'closed'])
  database.read = read
  await sameAsLive(rig, database)
  await end(rig)
})

test('what another stream left open is settled and closed later', async () => {
  const { world: left } = await killed('done')
  const { database, directory, store } = left
  const other: World = { ...world(), store, database: new Failing('model://test', database.items_) }
  const second = await openRig(other)
  other.database.next = 'done'
  await expect(other.database.write(y, recordImage({ n: 2 }))).rejects.toThrow()
  copyJournals(other.directory, directory)
  const rig = await openRig(left)
  expect(rig.session.stream < second.session.stream).toBe(true)
  await rig.session.settled()
  await rig.session.complete(null)
  const states = async (): Promise<string[]> => (await rig.timeline.refresh()).streams.map(({ state }) => state)
  expect(await states()).toEqual(['open', 'open'])
  database.isDown = false
  await left.clock.pass()
  await expect.poll(states).toEqual(['open', 'closed'])
  await sameAsLive(rig, database)
  expect([await historyOf(rig, x), await historyOf(rig, y)]).toEqual([chain(null, 1, 2), chain(null, 1, 2)])
  await end(rig)
})

test('a moment that is in the store already waits for no baseline', async () => {
  const options = world()
  const rig = await openRig(options)
  await options.database.write(x, recordImage({ n: 1 }))
  await rig.session.complete(null)
  const before = Date.now()
  await rig.session.complete(firstUlidAt(before + 1))
  const [begun, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  options.database.items = async function* (): AsyncGenerator<readonly Item[]> {
    begun.resolve()
    await held.promise
    yield []
  }
  const baseline = rig.session.baseline()
  await begun.promise
  expect([...(await stateAt(rig.archive, before)).values()]).toEqual([show(recordImage({ n: 1 }))])
  held.resolve()
  await baseline
  await end(rig)
})

test('a stream stays open while the database does not say what happened, until the start at which it does', async () => {
  const { world } = await killed('done')
  const { database } = world
  const rig = await openRig(world)
  await end(rig)
  const states = async (): Promise<string[]> => (await rig.timeline.refresh()).streams.map(({ state }) => state)
  expect(await states()).toEqual(['open'])
  database.isDown = false
  const next = await openRig({ ...world, clock: new Turns() })
  expect(next.session.stream).toBe(rig.session.stream)
  await sameAsLive(next, database)
  expect(await historyOf(next, x)).toEqual(chain(null, 1, 2))
  await end(next)
  expect(await states()).toEqual(['closed'])
})

test('what could not be settled before is settled by closing, where the database is back then', async () => {
  const { world } = await killed('done')
  const rig = await openRig(world)
  await rig.session.settled()
  world.database.isDown = false
  await end(rig)
  expect((await rig.timeline.refresh()).streams.map(({ state }) => state)).toEqual(['closed'])
  expect(await stateAt(rig.archive, 'latest')).toEqual(liveState(world.database))
})

test('a write that fails when the database goes away is settled when it is back, and nothing is complete before', async () => {
  for (const next of ['done', 'not done'] as const) {
    const options = world()
    const { database, clock } = options
    const rig = await openRig(options)
    await database.write(x, recordImage({ n: 1 }))
    await rig.session.complete(null)
    database.next = next
    await expect(database.write(x, recordImage({ n: 2 }))).rejects.toThrow('the answer was lost')
    const after = Date.now()
    const sealed = async (): Promise<string> => (await rig.timeline.refresh()).streams[0]?.sealedThrough ?? ''
    await rig.session.complete(null)
    await expect(rig.archive.reach(after)).rejects.toMatchObject({ code: 'MOMENT_UNREACHABLE' })
    await clock.pass()
    expect(rig.session.recorder.undecided).toEqual([x])
    expect((await sealed()) < firstUlidAt(after + 1)).toBe(true)
    database.isDown = false
    await clock.pass()
    await expect.poll(() => rig.session.recorder.undecided).toEqual([])
    await database.write(y, recordImage({ n: 1 }))
    await database.write(x, recordImage({ n: 3 }))
    await rig.archive.reach(after)
    await sameAsLive(rig, database)
    expect(await historyOf(rig, x)).toEqual(next === 'done' ? chain(null, 1, 2, 3) : chain(null, 1, 3))
    expect(rig.session.findings.count.count).toBe(0)
    await end(rig)
    expect((await rig.timeline.refresh()).streams.map(({ state }) => state)).toEqual(['closed'])
  }
})

test('other writes go on behind one of which nobody knows, and are reachable once it is settled', async () => {
  const options = world()
  const { database } = options
  const rig = await openRig(options)
  await database.write(x, recordImage({ n: 1 }))
  database.next = 'done'
  await expect(database.write(x, recordImage({ n: 2 }))).rejects.toThrow('the answer was lost')
  const known = rig.session.mark()
  // Only x cannot be read.
  database.isDown = false
  const read = database.read.bind(database)
  database.read = async (item): Promise<Image | null> => {
    if (item.id === 'x') throw new Error('x cannot be read')
    return read(item)
  }
  for (let n = 1; n <= 5; n++) {
    await database.write(y, recordImage({ n }))
    await rig.session.complete(null)
  }
  expect(rig.session.pending.events).toBe(0)
  const [stream] = (await rig.timeline.refresh()).streams
  expect(stream?.lastSequence).toBe(6)
  expect(stream !== undefined && stream.sealedThrough < known && stream.lastUlid > known).toBe(true)
  await expect(rig.session.complete(null, 'begun')).rejects.toMatchObject({ code: 'MOMENT_UNREACHABLE' })
  database.read = read
  await sameAsLive(rig, database)
  await rig.session.complete(null, 'begun')
  expect([await historyOf(rig, x), await historyOf(rig, y)]).toEqual([chain(null, 1, 2), chain(null, 1, 2, 3, 4, 5)])
  await end(rig)
})
