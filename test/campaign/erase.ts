import { gunzipSync } from 'node:zlib'
import { systemClock } from '../../src/base/clock.ts'
import { hasCode } from '../../src/base/errors.ts'
import type { Archive } from '../../src/engine/archive.ts'
import { eraseRecord } from '../../src/engine/erasure.ts'
import { openSegment } from '../../src/format/segment/read.ts'
import type { Event, Image, Item } from '../../src/model/event.ts'
import type { Head } from '../../src/model/head.ts'
import { findEvents, findStoredEvents } from '../../src/restore/lookup.ts'
import { segmentsBetween } from '../../src/restore/plan.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { takeSnapshot } from '../../src/upkeep/snapshot.ts'
import { verifyStore } from '../../src/upkeep/verify.ts'
import { show } from '../support/arbitrary.ts'
import { ALL_TOLD, openReader, openRig, type Rig, stateAt } from '../support/capture-rig.ts'
import { attack, type Victim } from '../support/key-attack.ts'
import { keyOf, ModelDatabase, recordImage } from '../support/model-database.ts'
import { allEvents } from '../support/segments.ts'
import { random } from '../support/simulated-disk.ts'
import { FaultyStore } from '../support/stores.ts'
import { WormStore } from '../support/worm-store.ts'
import type { Campaign, Tally } from './campaign.ts'

/*
 * Erasure by record keys, in a store that refuses every deletion and every overwriting. A history of records with
 * tricky names; some are deleted and erased, by a process of its own, broken off at any call of either store and run
 * again; some are made again meanwhile, by a writer that still has the old keyring. The oracle is the list of what was
 * written.
 */
export const erase: Campaign = { name: 'erase', seeds: 200, run }

const NAMES: readonly (readonly [string, string])[] = [
  ['people', 'ann'],
  ['people', 'a/b'],
  ['people', ''],
  ['people', '__proto__'],
  ['peoplea', 'nn'],
  ['orders', '\u{1f600}'],
  ['', 'x'],
]
const SECRET = 'canary-value'
const END = '7ZZZZZZZZZZZZZZZZZZZZZZZZZ'

interface Written {
  readonly item: Item
  readonly image: Image | null
  /** How often the record had been erased before. */
  readonly life: number
}

interface World {
  readonly next: () => number
  readonly tally: Tally
  readonly database: ModelDatabase
  readonly objects: MemoryStore
  readonly store: WormStore
  readonly keys: MemoryStore
  rig: Rig
  /** What the database held before the capture, and every write that changed something since, in order. */
  readonly base: Map<string, string>
  readonly written: Written[]
  /** How often each record was erased. */
  readonly erased: Map<string, number>
  readonly heads: Head[]
}

async function run(seed: number, tally: Tally): Promise<void> {
  const world = await open(random(seed), tally)
  try {
    for (let round = 2 + pick(world, 3); round > 0; round--) await workRound(world)
    const victims = await chooseVictims(world)
    for (const victim of victims) await eraseVictim(world, victim)
    const again = world.next() < 0.5
    if (again) await makeAgain(world, victims)
    await world.rig.session.complete(null)
    await check(world, victims)
    // A second life ends as the first did.
    if (again && world.next() < 0.5) {
      const second = await endSecondLife(world, victims)
      await check(world, [...victims, ...second])
    }
  } finally {
    await world.rig.session.close()
  }
  if (world.store.refused > 0) throw new Error('something was to be deleted or overwritten in the store')
}

async function open(next: () => number, tally: Tally): Promise<World> {
  const database = new ModelDatabase()
  const base = new Map<string, string>()
  for (const item of items()) {
    if (next() < 0.4) database.put(item, imageOf(item, next()))
  }
  database.put({ kind: 'schema', resource: 'people', id: '' }, recordImage({ name: 'people' }))
  database.put({ kind: 'object', resource: 'people', id: 'sequence' }, recordImage({ value: 1 }))
  for (const { item, image } of database.items_.values()) base.set(keyOf(item), show(image))
  const [objects, keys] = [new MemoryStore(), new MemoryStore()]
  const store = new WormStore(objects)
  const rig = await openRig({ store, keys, database, directory: '', clock: systemClock, ack: 'memory' })
  await rig.session.complete(null)
  return { next, tally, database, objects, store, keys, rig, base, written: [], erased: new Map(), heads: [] }
}

function items(): Item[] {
  return NAMES.map(([resource, id]) => ({ kind: 'record', resource, id }))
}

function imageOf({ id }: Item, value: number): Image {
  const text = { id, value, secret: SECRET }
  const raw = Buffer.alloc(9, 0xcb)
  raw.writeDoubleBE(value, 1)
  return recordImage(text, value < 0.5 ? null : raw)
}

function pick({ next }: World, below: number): number {
  return Math.floor(next() * below)
}

async function write(world: World, item: Item, image: Image | null): Promise<void> {
  const had = world.database.items_.get(keyOf(item))
  if (had === undefined && image === null) return
  await world.database.write(item, image)
  world.written.push({ item, image, life: livesOf(world, item) })
}

function livesOf({ erased }: World, item: Item): number {
  return erased.get(keyOf(item)) ?? 0
}

async function workRound(world: World): Promise<void> {
  for (let i = 3 + pick(world, 6); i > 0; i--) {
    const item = items()[pick(world, NAMES.length)]
    if (item !== undefined) await write(world, item, world.next() < 0.25 ? null : imageOf(item, world.next()))
  }
  await world.rig.session.complete(null)
  if (world.next() < 0.5) {
    const { archive, timeline } = world.rig
    const { plan } = await archive.reach('latest')
    await takeSnapshot(archive.sources, timeline, plan, 'model://test')
  }
  const { head } = world.rig.timeline
  if (head !== null) world.heads.push(head)
}

/** One to three records that have been something, deleted now. */
async function chooseVictims(world: World): Promise<Victim[]> {
  const victims: Victim[] = []
  for (const item of items().sort(() => world.next() - 0.5)) {
    if (victims.length === 1 + pick(world, 3)) break
    const once = world.base.has(keyOf(item)) || world.written.some((one) => keyOf(one.item) === keyOf(item))
    if (!once) continue
    await write(world, item, null)
    await world.rig.session.complete(null)
    victims.push({ resource: item.resource, id: item.id, incarnation: 0, sealed: await sealedOf(world, item) })
  }
  return victims
}

async function sealedOf({ rig, next }: World, item: Item): Promise<Uint8Array[]> {
  const { timeline } = await rig.archive.refresh()
  const sealed: Uint8Array[] = []
  for await (const event of findStoredEvents(rig.archive.sources, segmentsBetween(timeline, '', END), item)) {
    for (const image of [event.before, event.after]) if (image?.raw != null) sealed.push(Buffer.from(image.raw))
  }
  return sealed.filter((_, i) => i === 0 || next() < 0.3)
}

/** Erases by another process, which may be broken off anywhere; then again, until it says that it is done. */
async function eraseVictim(world: World, { resource, id }: Victim): Promise<void> {
  const item: Item = { kind: 'record', resource, id }
  const [store, keys] = [new FaultyStore(world.store), new FaultyStore(world.keys)]
  const complete = async (through: string | null): Promise<typeof ALL_TOLD> => {
    await world.rig.session.complete(through)
    return ALL_TOLD
  }
  for (let attempt = 1; ; attempt++) {
    let call = 0
    const due = attempt < 4 && world.next() < 0.7 ? pick(world, 40) : -1
    const script = (): 'before' | 'after' | null => {
      if (call++ !== due) return null
      world.tally.add('calls broken off')
      return world.next() < 0.5 ? 'before' : 'after'
    }
    store.script = script
    keys.script = script
    try {
      const { archive } = await openReader(store, systemClock, keys, complete)
      await eraseRecord(archive, item, { reason: 'asked to' })
      break
    } catch (error) {
      // Done before, but for the answer, where nothing of it is left.
      if (attempt > 1 && hasCode(error, 'RECORD_NOT_FOUND')) break
      if (!hasCode(error, 'STORE_UNAVAILABLE')) throw error
      world.tally.add('erasures broken off')
    }
  }
  world.erased.set(keyOf(item), livesOf(world, item) + 1)
  world.tally.add('records erased')
}

/** The writer still has the keyring that it began with; what it writes now must be readable all the same. */
async function makeAgain(world: World, victims: readonly Victim[]): Promise<void> {
  for (const { resource, id } of victims) {
    const item: Item = { kind: 'record', resource, id }
    await write(world, item, imageOf(item, world.next()))
    await write(world, item, imageOf(item, world.next()))
    world.tally.add('records made again')
  }
}

async function endSecondLife(world: World, victims: readonly Victim[]): Promise<Victim[]> {
  const ended: Victim[] = []
  for (const { resource, id } of victims) {
    const item: Item = { kind: 'record', resource, id }
    await write(world, item, null)
    await world.rig.session.complete(null)
    const sealed = (await sealedOf(world, item)).filter((raw) => incarnationOf(raw) === 1)
    const second = { resource, id, incarnation: 1, sealed }
    await eraseVictim(world, second)
    ended.push(second)
  }
  return ended
}

function incarnationOf(raw: Uint8Array): number {
  const start = { 196: 2, 197: 3, 198: 5 }[raw[0] ?? 0] ?? 0
  return Buffer.from(raw).readUInt32LE(start + 1)
}

/** Everything that was promised, by a process that opens the store anew. */
async function check(world: World, victims: readonly Victim[]): Promise<void> {
  const { archive } = await openReader(world.store, systemClock, world.keys)
  const { timeline } = await archive.refresh()
  for (const head of [null, ...world.heads]) {
    const { damage } = await verifyStore(archive.sources, timeline, () => {}, head)
    if (damage.length > 0) throw new Error(`verify after an erasure: ${JSON.stringify(damage)}`)
  }
  await checkStates(world, archive)
  for (const victim of victims) world.tally.add('keys tried', await attack(world.keys, victim))
  await checkNothingPlain(world)
  const files: string[] = []
  for await (const { key } of world.keys.list('')) files.push(key)
  if (files.length !== 1) throw new Error(`keyrings left: ${files.join(' ')}`)
}

/** At every event and before it: what the list of writes says, without the lives that were erased. */
async function checkStates(world: World, archive: Archive): Promise<void> {
  const { timeline } = await archive.refresh()
  const segments = segmentsBetween(timeline, '', END)
  const stored: Event[] = []
  const opened = new Set<string>()
  for (const item of items()) {
    for await (const event of findStoredEvents(archive.sources, segments, item)) stored.push(event)
    for await (const event of findEvents(archive.sources, segments, item)) opened.add(event.stamp.ulid)
  }
  stored.sort((a, b) => (a.stamp.ulid < b.stamp.ulid ? -1 : 1))
  if (stored.length !== world.written.length)
    throw new Error(`${stored.length} events of ${world.written.length} writes`)
  const state = new Map([...world.base].filter(([key]) => !world.erased.has(key)))
  for (const [index, event] of stored.entries()) {
    const { stamp } = event
    const written = world.written[index]
    if (written === undefined || keyOf(written.item) !== keyOf(event)) throw new Error('events out of order')
    const { item, image, life } = written
    const erased = life < livesOf(world, item)
    if (opened.has(stamp.ulid) === erased) throw new Error(`event ${index} is ${erased ? 'still there' : 'missing'}`)
    if (image == null || erased) state.delete(keyOf(item))
    else state.set(keyOf(item), show(image))
    if (world.next() < 0.4) same(await stateAt(archive, stamp.ulid), state, `at write ${index}`)
    world.tally.add('events compared')
  }
  same(await stateAt(archive, 'latest'), state, 'latest')
}

function same(found: ReadonlyMap<string, string>, expected: ReadonlyMap<string, string>, when: string): void {
  const missing = [...expected].filter(([key, image]) => found.get(key) !== image)
  const surplus = [...found.keys()].filter((key) => !expected.has(key))
  if (missing.length + surplus.length === 0) return
  throw new Error(
    `${when}: not as written: ${missing.map(([key]) => key).join(' ')}; not written: ${surplus.join(' ')}`,
  )
}

/** No image of any record stands in the store as it was, whatever is unpacked. */
async function checkNothingPlain({ objects }: World): Promise<void> {
  for await (const { key } of objects.list('')) {
    const bytes = await objects.get(key)
    const texts: Buffer[] = [Buffer.from(bytes)]
    if (key.endsWith('.gz')) texts.push(gunzipSync(bytes))
    if (key.endsWith('.parquet')) {
      const read = async (start: number, end: number): Promise<Uint8Array> => bytes.subarray(start, end)
      const reader = await openSegment({ name: key, bytes: bytes.length, footer: null, read })
      for (const { before, after } of await allEvents(reader)) {
        for (const image of [before, after])
          if (image !== null) texts.push(Buffer.from(image.json), Buffer.from(image.raw ?? []))
      }
    }
    if (texts.some((text) => text.includes(SECRET))) throw new Error(`${key} has an image as it was captured`)
  }
}
