import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { hasCode } from '../../src/base/errors.ts'
import type { Image, Item } from '../../src/model/event.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { Body, PutOptions } from '../../src/store/object-store.ts'
import { show } from '../support/arbitrary.ts'
import {
  copyJournals,
  liveState,
  openReader,
  openRig,
  type Rig,
  type RigOptions,
  stateAt,
  verify,
} from '../support/capture-rig.ts'
import { keyOf, ModelDatabase, recordImage } from '../support/model-database.ts'

const home = mkdtempSync(join(tmpdir(), 'closed-stream-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

const x = { kind: 'record', resource: 'r', id: 'x' } as const
const y = { kind: 'record', resource: 'r', id: 'y' } as const

/** Lets something be done before a generation of the timeline is put. */
class Gated extends MemoryStore {
  before: () => Promise<void> = async () => {}

  override async put(key: string, body: Body, options?: PutOptions): Promise<void> {
    if (key.startsWith('timeline/')) await this.before()
    return super.put(key, body, options)
  }
}

/** The answer of the next write is lost, and then the database is gone. */
class Losing extends ModelDatabase {
  isDown = false
  loses = false

  protected override async access(): Promise<void> {
    await super.access()
    if (this.isDown) throw new Error('the database is down')
  }

  override put(item: Item, image: Image | null): void {
    super.put(item, image)
    if (!this.loses) return
    this.loses = false
    this.isDown = true
    throw new Error('the answer was lost')
  }
}

let worlds = 0

/**
 * A process that captures, and beside its journal that of another one, which was killed when it had written x: that is 2, of
 * which nobody has heard.
 */
async function besideKilled(): Promise<{ options: RigOptions & { store: Gated; database: Losing }; rig: Rig }> {
  const name = join(home, String(++worlds))
  const store = new Gated()
  const shared = { store, clock: systemClock }
  const killed = { ...shared, database: new Losing(), directory: `${name}-killed` }
  const first = await openRig(killed)
  await killed.database.write(x, recordImage({ n: 1 }))
  await first.session.complete(null)
  const database = new Losing('model://test', killed.database.items_)
  const options = { ...shared, database, directory: name }
  const rig = await openRig(options)
  await database.write(y, recordImage({ n: 1 }))
  await rig.session.complete(null)
  killed.database.loses = true
  await expect(killed.database.write(x, recordImage({ n: 2 }))).rejects.toThrow('the answer was lost')
  copyJournals(killed.directory, `${name}-copy`)
  for (const stream of readdirSync(`${name}-copy`))
    cpSync(join(`${name}-copy`, stream), join(name, stream), { recursive: true })
  return { options, rig }
}

/** What is told of a time when everything has ended; null: that it cannot be told yet. */
async function toldOf({ store }: RigOptions, now: number): Promise<Map<string, string> | null> {
  const { archive } = await openReader(store, systemClock)
  try {
    return await stateAt(archive, now)
  } catch (error) {
    if (hasCode(error, 'MOMENT_UNREACHABLE')) return null
    throw error
  }
}

/** What was told stays so, whatever the next process finds, and the end is what the database holds. */
async function expectFinal(options: RigOptions, isTold: boolean): Promise<void> {
  const now = Date.now()
  await systemClock.sleep(2)
  const told = await toldOf(options, now)
  expect(told !== null).toBe(isTold)
  const next = await openRig({ ...options, database: new Losing('model://test', options.database.items_) })
  await next.session.settled()
  await next.session.complete(null)
  if (told !== null) expect(await stateAt(next.archive, now)).toEqual(told)
  expect(await stateAt(next.archive, 'latest')).toEqual(liveState(options.database))
  expect((await verify(next.archive)).damage).toEqual([])
  await next.session.close()
  expect((await next.timeline.refresh()).streams.map(({ state }) => state)).toEqual(['closed', 'closed'])
}

test('what is taken over while a capture ends is settled before its stream is closed', async () => {
  const { options, rig } = await besideKilled()
  const isClosed = Promise.withResolvers<void>()
  // The first generation is that with which the stream is taken over: it waits for the end of the other, for a while.
  options.store.before = async () => {
    options.store.before = async () => isClosed.resolve()
    await Promise.race([isClosed.promise, systemClock.sleep(300)])
  }
  const adopted = rig.session.adopt(options.directory)
  const closed = rig.session.close()
  expect(await adopted).toHaveLength(1)
  await closed
  await expectFinal(options, true)
})

test('what can only be settled when the stream is closed already is left to the next start', async () => {
  const { options, rig } = await besideKilled()
  await rig.session.adopt(options.directory)
  options.database.isDown = true
  options.store.before = async () => {
    options.database.isDown = false
  }
  await rig.session.close()
  await expectFinal(options, false)
})

test('what the journal of a closed stream holds besides comes behind what was told since', async () => {
  const directory = join(home, String(++worlds))
  const options = { store: new MemoryStore(), clock: systemClock, database: new Losing(), directory }
  const first = await openRig(options)
  await options.database.write(x, recordImage({ n: 1 }))
  await first.session.close()
  const setBack = new MemoryStore()
  for await (const { key } of options.store.list('')) await setBack.put(key, await options.store.get(key))
  const second = await openRig({ ...options, seal: { ageMs: 600_000 } })
  await options.database.write(x, recordImage({ n: 2 }))
  copyJournals(directory, `${directory}-copy`)
  await second.session.close()
  const now = Date.now()
  await systemClock.sleep(2)
  const left = { ...options, store: setBack, directory: `${directory}-copy` }
  expect(await toldOf(left, now)).toEqual(new Map([[keyOf(x), show(recordImage({ n: 1 }))]]))
  const next = await openRig(left)
  expect(next.session.stream).toBe(first.session.stream)
  await next.session.complete(null)
  expect(await stateAt(next.archive, now)).toEqual(new Map([[keyOf(x), show(recordImage({ n: 1 }))]]))
  expect(await stateAt(next.archive, 'latest')).toEqual(liveState(options.database))
  expect((await verify(next.archive)).damage).toEqual([])
  await next.session.close()
})

test('of a store that was set back every closed stream is looked at: what its journal has is brought in, what it had let go is told', async () => {
  const directory = join(home, String(++worlds))
  const seal = { ageMs: 600_000 }
  const options = { store: new MemoryStore(), clock: systemClock, database: new Losing(), directory, seal }
  const beside = { ...options, database: new Losing('model://test', options.database.items_) }
  const both = async (n: number): Promise<readonly [Rig, Rig]> => {
    const [one, other] = [await openRig(options), await openRig(beside)]
    await options.database.write(x, recordImage({ n }))
    await beside.database.write(y, recordImage({ n }))
    return [one, other]
  }
  const before = await both(1)
  for (const { session } of before) await session.close()
  const setBack = new MemoryStore()
  for await (const { key } of options.store.list('')) await setBack.put(key, await options.store.get(key))
  const after = await both(2)
  expect(after.map(({ session }) => session.stream)).toEqual(before.map(({ session }) => session.stream))
  // What the first one has written is in the store that is no more, and its journal has let it go.
  await after[0].session.complete(null)
  copyJournals(directory, `${directory}-copy`)
  for (const { session } of after) await session.close()
  const left = { ...options, store: setBack, directory: `${directory}-copy`, database: new Losing('model://test') }
  left.database.put(x, recordImage({ n: 2 }))
  left.database.put(y, recordImage({ n: 2 }))
  const next = await openRig(left)
  await next.session.complete(null)
  const { streams, losses } = await next.timeline.refresh()
  const [gone, kept] = before.map(({ session }) => session.stream)
  expect(losses.map(({ stream, cause, firstSequence }) => [stream, cause, firstSequence])).toEqual([
    [gone, 'missing', 2],
  ])
  expect(streams.map(({ id, lastSequence }) => [id, lastSequence])).toEqual([
    [gone, 1],
    [kept, 2],
  ])
  const { damage } = await verify(next.archive)
  expect(damage.map(({ message }) => message)).toEqual([expect.stringContaining(`of stream ${gone} are lost`)])
  await next.session.close()
})

test('a write of which nobody knows is settled too where a store that was set back calls its stream closed, and what was told stays', async () => {
  const directory = join(home, String(++worlds))
  const options = { store: new MemoryStore(), clock: systemClock, database: new Losing(), directory }
  const beside = { ...options, database: new Losing('model://test', options.database.items_) }
  for (const { session } of [await openRig(options), await openRig(beside)]) await session.close()
  const setBack = new MemoryStore()
  for await (const { key } of options.store.list('')) await setBack.put(key, await options.store.get(key))
  const [first, other] = [await openRig(options), await openRig(beside)]
  // The older one: a reader raises what is told at the younger.
  options.database.loses = true
  await expect(options.database.write(y, recordImage({ n: 1 }))).rejects.toThrow('the answer was lost')
  copyJournals(directory, `${directory}-copy`)
  const now = Date.now()
  await systemClock.sleep(2)
  const left = { ...options, store: setBack, directory: `${directory}-copy` }
  expect(await toldOf(left, now)).toEqual(new Map())
  const database = new Losing('model://test', options.database.items_)
  database.isDown = true
  const next = await openRig({ ...left, database })
  // Nobody can say yet whether it happened.
  expect(await toldOf(left, now)).toEqual(new Map())
  database.isDown = false
  await next.session.settled()
  await next.session.complete(null)
  expect(await stateAt(next.archive, now)).toEqual(new Map())
  expect(await stateAt(next.archive, 'latest')).toEqual(new Map([[keyOf(y), show(recordImage({ n: 1 }))]]))
  await next.session.close()
  options.database.isDown = false
  for (const { session } of [first, other]) await session.close()
})
