import { gunzipSync } from 'node:zlib'
import { hasCode } from '../../src/base/errors.ts'
import type { Archive } from '../../src/engine/archive.ts'
import { View } from '../../src/engine/view.ts'
import { openSegment } from '../../src/format/segment/read.ts'
import type { Event, Item } from '../../src/model/event.ts'
import { findEvents, findStoredEvents } from '../../src/restore/lookup.ts'
import { segmentsBetween } from '../../src/timeline/segments.ts'
import { verifyStore } from '../../src/upkeep/verify.ts'
import { show } from './arbitrary.ts'
import { openReader, stateAt } from './capture-rig.ts'
import { CANARY, canaryOf, type ErasureWorld, items, livesOf } from './erasure-world.ts'
import { attack } from './key-attack.ts'
import { keyOf } from './model-database.ts'
import { allEvents } from './segments.ts'

const END = '7ZZZZZZZZZZZZZZZZZZZZZZZZZ'

/** Everything that an erasure promises, by a process that opens the store anew. Throws where something is not so. */
export async function checkErasures(world: ErasureWorld): Promise<void> {
  const { archive } = await openReader(world.store, world.clock, world.keys ?? undefined)
  const { timeline } = await archive.refresh()
  for (const head of [null, ...world.heads]) {
    const { damage } = await verifyStore(archive.sources, timeline, undefined, head)
    if (damage.length > 0) throw new Error(`verify after an erasure: ${JSON.stringify(damage)}`)
  }
  await checkStates(world, archive)
  for (const victim of world.victims) world.tally.add('keys tried', await attack(world.keyObjects, victim))
  await checkNothingPlain(world)
  archive.close()
  if (world.keys === null) return
  const files: string[] = []
  for await (const { key } of world.keys.list('')) files.push(key)
  if (files.length !== 1) throw new Error(`keyrings left: ${files.join(' ')}`)
}

/** At every event and before it: what the list of writes says, without the lives that were erased. */
async function checkStates(world: ErasureWorld, archive: Archive): Promise<void> {
  const { stored, opened } = await eventsIn(archive)
  const isErased = ({ item, life }: { item: Item; life: number }): boolean => life < livesOf(world, item)
  // What was rewritten is gone; what lost its key is still there, for those who count.
  const expected = world.written.filter((one) => world.way === 'keys' || !isErased(one))
  if (stored.length !== expected.length) throw new Error(`${stored.length} events of ${expected.length} writes`)
  const ulids = new Map(expected.map((one, i) => [one, stored[i]]))
  const state = new Map([...world.base].filter(([key]) => !world.erased.has(key)))
  for (const [index, one] of world.written.entries()) {
    const { item, image } = one
    if (image == null || isErased(one)) state.delete(keyOf(item))
    else state.set(keyOf(item), show(image))
    const event = ulids.get(one)
    if (event === undefined) continue
    if (keyOf(item) !== keyOf(event)) throw new Error(`event ${index} is of another record`)
    const { ulid } = event.stamp
    if (opened.has(ulid) === isErased(one))
      throw new Error(`event ${index} is ${isErased(one) ? 'still there' : 'missing'}`)
    if (world.next() < 0.4) await checkMoment(world, archive, { moment: ulid, state, item })
    world.tally.add('events compared')
  }
  same(await stateAt(archive, 'latest'), state, 'latest')
}

async function checkMoment(
  world: ErasureWorld,
  archive: Archive,
  { moment, state, item }: { moment: string; state: ReadonlyMap<string, string>; item: Item },
): Promise<void> {
  same(await stateAt(archive, moment), state, `at ${moment}`)
  const found = await new View(archive, moment).get(item.resource, item.id).catch((error: unknown) => {
    // Nothing may be left of a resource that has no schema.
    if (hasCode(error, 'RESOURCE_NOT_FOUND') && ![...state.keys()].some((key) => resourceOf(key) === item.resource))
      return null
    throw error
  })
  if ((found !== null) !== state.has(keyOf(item))) throw new Error(`at ${moment} a record is looked up wrongly`)
  world.tally.add('moments compared')
}

function resourceOf(key: string): unknown {
  const [, resource]: unknown[] = JSON.parse(key)
  return resource
}

/** The events of every record: as they are stored, in order, and the stamps of those that can be read. */
async function eventsIn(archive: Archive): Promise<{ stored: Event[]; opened: Set<string> }> {
  const { timeline } = await archive.refresh()
  const segments = await segmentsBetween(archive.sources.nodes, timeline.segments, '', END)
  const stored: Event[] = []
  const opened = new Set<string>()
  for (const item of items()) {
    for await (const event of findStoredEvents(archive.sources, segments, item)) stored.push(event)
    for await (const event of findEvents(archive.sources, segments, item)) opened.add(event.stamp.ulid)
  }
  stored.sort((a, b) => (a.stamp.ulid < b.stamp.ulid ? -1 : 1))
  return { stored, opened }
}

function same(found: ReadonlyMap<string, string>, expected: ReadonlyMap<string, string>, when: string): void {
  const missing = [...expected].filter(([key, image]) => found.get(key) !== image)
  const surplus = [...found.keys()].filter((key) => !expected.has(key))
  if (missing.length + surplus.length === 0) return
  throw new Error(
    `${when}: not as written: ${missing.map(([key]) => key).join(' ')}; not written: ${surplus.join(' ')}`,
  )
}

/** With record keys no image stands in the store as it was, whatever is unpacked; without, none that was erased. */
async function checkNothingPlain(world: ErasureWorld): Promise<void> {
  const erased = items().flatMap((item) =>
    Array.from({ length: livesOf(world, item) }, (_, life) => canaryOf(item, life)),
  )
  const forbidden = world.keys === null ? erased : [CANARY]
  for await (const { key } of world.objects.list('')) {
    const texts = await unpacked(key, await world.objects.get(key))
    if (forbidden.some((canary) => texts.some((text) => text.includes(canary))))
      throw new Error(`${key} has an image as it was captured`)
  }
}

async function unpacked(key: string, bytes: Uint8Array): Promise<Buffer[]> {
  const texts: Buffer[] = [Buffer.from(bytes)]
  if (key.endsWith('.gz')) texts.push(gunzipSync(bytes))
  if (!key.endsWith('.parquet')) return texts
  const read = async (start: number, end: number): Promise<Uint8Array> => bytes.subarray(start, end)
  const reader = await openSegment({ name: key, bytes: bytes.length, footer: null, read })
  for (const { before, after } of await allEvents(reader)) {
    for (const image of [before, after])
      if (image !== null) texts.push(Buffer.from(image.json), Buffer.from(image.raw ?? []))
  }
  return texts
}
