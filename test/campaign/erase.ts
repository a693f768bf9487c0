import { hasCode, TidemarkError } from '../../src/base/errors.ts'
import { eraseRecord } from '../../src/engine/erasure.ts'
import type { Item } from '../../src/model/event.ts'
import { findStoredEvents } from '../../src/restore/lookup.ts'
import { segmentsBetween } from '../../src/timeline/segments.ts'
import { type CompactionSeams, compact } from '../../src/upkeep/compaction/compact.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'
import { takeSnapshot } from '../../src/upkeep/snapshot.ts'
import { ALL_TOLD, openReader } from '../support/capture-rig.ts'
import { checkErasures } from '../support/erasure-check.ts'
import {
  type ErasureWorld,
  imageOf,
  items,
  livesOf,
  openWorld,
  pick,
  WAYS,
  type Way,
  type Written,
  write,
} from '../support/erasure-world.ts'
import { keyOf } from '../support/model-database.ts'
import { random } from '../support/simulated-disk.ts'
import { FaultyStore, type Verb } from '../support/stores.ts'
import { WormStore } from '../support/worm-store.ts'
import type { Campaign, Tally } from './campaign.ts'

/*
 * Erasure, by record keys in a store that refuses every deletion and every overwriting, by rewriting, and by both. A
 * history of records with tricky names; some are deleted and erased, by processes of their own, one or two at a time,
 * broken off at any call of either store and run again, while the writer, which still has the old keyring, goes on with
 * other records and makes some of these again, and other processes make a snapshot from the one before, and merge. The
 * oracle is the list of what was written; an enemy tries everything that is left.
 */
const MINUTE = 60_000
const HOUR = 60 * MINUTE
/** A run has several files, so that an erasure leaves some of them. */
const FILE_BYTES = 1500

export const erase: Campaign = { name: 'erase', seeds: 200, run: (seed, tally) => scenario(seed, tally) }

/** One scenario; `broken`: what is deleted is only hidden, which must not go unnoticed. */
export async function scenario(
  seed: number,
  tally: Tally,
  broken: { readonly keeps: boolean } = { keeps: false },
): Promise<void> {
  const way: Way = WAYS[seed % WAYS.length] ?? 'keys'
  const world = await openWorld(way, random(seed), tally, broken)
  tally.add(`histories erased by ${way === 'both' ? 'keys, then rewritten' : way}`)
  try {
    for (let round = 3 + pick(world, 3); round > 0; round--) await workRound(world)
    world.pass(10 * MINUTE)
    const victims = await deleteSome(world)
    await eraseAll(world, victims)
    const again = world.next() < 0.5
    if (again) for (const item of victims) await makeAgain(world, item)
    await world.rig.session.complete(null)
    await checkErasures(world)
    // A second life ends as the first did.
    if (again && world.next() < 0.7) {
      for (const item of victims) await deleteOne(world, item)
      await eraseAll(world, victims)
      await checkErasures(world)
    }
  } finally {
    await world.rig.session.close()
    world.rig.archive.close()
  }
  if (world.store instanceof WormStore && world.store.refused > 0)
    throw new Error('something was to be deleted or overwritten in the store')
}

async function workRound(world: ErasureWorld): Promise<void> {
  for (let i = 3 + pick(world, 6); i > 0; i--) {
    const item = items()[pick(world, items().length)]
    if (item !== undefined) await write(world, item, world.next() < 0.25 ? null : imageOf(item, 0, world.next()))
    if (i % 3 > 0) continue
    await world.rig.session.complete(null)
    world.pass(MINUTE)
  }
  await world.rig.session.complete(null)
  world.pass(2 * MINUTE)
  if (world.next() < 0.7) await merge(world, true)
  if (world.next() < 0.5) {
    const { archive, timeline } = world.rig
    const { plan } = await archive.reach('latest')
    const { carried } = await takeSnapshot(archive.sources, timeline, plan, 'model://test')
    world.tally.add('members carried over', carried.members)
  }
  const { head } = world.rig.timeline
  if (head !== null) world.heads.push(head)
}

/**
 * Merges what there is to merge, by a process of its own, which dies in it now and then where it may: what such a one leaves
 * beside an erasure the next one deletes. Where nothing may be deleted, nothing is merged.
 */
async function merge(world: ErasureWorld, mayDie: boolean): Promise<void> {
  if (world.way === 'keys') return
  let call = 0
  const due = mayDie && world.next() < 0.3 ? pick(world, 60) : -1
  const store = new FaultyStore(world.store, () => (call++ >= due && due >= 0 ? 'before' : null))
  const complete = (through: string | null): Promise<typeof ALL_TOLD> => completing(world, through)
  try {
    const { archive, timeline } = await openReader(store, world.clock, world.keys ?? undefined, complete)
    const write: CompactionSeams['write'] = (request, onFile) =>
      writeRun(store, { ...request, fileBytes: FILE_BYTES }, onFile)
    const graceMs = world.next() < 0.5 ? 0 : HOUR
    const { merges } = await compact({ store, timeline, clock: world.clock, memory: 1e7, write }, { graceMs })
    archive.close()
    world.tally.add(mayDie ? 'merges' : 'merges beside an erasure', merges.length)
  } catch (error) {
    if (due < 0 || !hasCode(error, 'STORE_UNAVAILABLE')) throw error
    world.tally.add('merges broken off')
  }
}

/** One to three records that have been something. */
async function deleteSome(world: ErasureWorld): Promise<Item[]> {
  const victims: Item[] = []
  for (const item of items().sort(() => world.next() - 0.5)) {
    if (victims.length === 1 + pick(world, 3)) break
    const once = world.base.has(keyOf(item)) || world.written.some((one) => keyOf(one.item) === keyOf(item))
    if (!once) continue
    await deleteOne(world, item)
    victims.push(item)
  }
  return victims
}

/** Deletes a record, and gives the enemy what the store has of its present life. */
async function deleteOne(world: ErasureWorld, item: Item): Promise<void> {
  await write(world, item, null)
  await world.rig.session.complete(null)
  if (world.keys === null) return
  const { archive } = world.rig
  const { timeline } = await archive.refresh()
  const sealed: Uint8Array[] = []
  const segments = await segmentsBetween(archive.sources.nodes, timeline.segments, '', END)
  for await (const { before, after } of findStoredEvents(archive.sources, segments, item)) {
    for (const image of [before, after]) if (image?.raw != null) sealed.push(Buffer.from(image.raw))
  }
  const incarnation = livesOf(world, item)
  const own = sealed.filter((raw) => incarnationOf(raw) === incarnation)
  world.victims.push({ ...item, incarnation, sealed: own.filter((_, i) => i === 0 || world.next() < 0.3) })
}

const END = '7ZZZZZZZZZZZZZZZZZZZZZZZZZ'

function incarnationOf(raw: Uint8Array): number {
  const start = { 196: 2, 197: 3, 198: 5 }[raw[0] ?? 0] ?? 0
  return Buffer.from(raw).readUInt32LE(start + 1)
}

/** Erases them, now and then by several processes at once, while the writer goes on. */
async function eraseAll(world: ErasureWorld, victims: readonly Item[]): Promise<void> {
  const merging = world.next() < 0.5 ? merge(world, false) : null
  const busy = Promise.all([writeOthers(world, victims), snapshotMeanwhile(world), merging])
  if (victims.length > 1 && world.next() < 0.5) {
    world.tally.add('erasures at the same time', victims.length)
    await Promise.all(victims.map((item) => eraseVictim(world, item)))
  } else for (const item of victims) await eraseVictim(world, item)
  await busy
  await world.rig.session.complete(null)
}

/** From the one before, whose files may be written anew meanwhile; where it may hold what is erased it is refused. */
async function snapshotMeanwhile(world: ErasureWorld): Promise<void> {
  if (world.next() < 0.5) return
  // By a process that may delete nothing where nothing may be deleted: what it cannot take away stays, and is of no use.
  const denied = new TidemarkError('STORE_DENIED', 'No right to delete.', { hint: '' })
  const script = (verb: Verb): Error | null => (verb === 'delete' && world.way === 'keys' ? denied : null)
  const complete = (through: string | null): Promise<typeof ALL_TOLD> => completing(world, through)
  const store = new FaultyStore(world.store, script)
  const { archive, timeline } = await openReader(store, world.clock, world.keys ?? undefined, complete)
  try {
    const { plan } = await archive.reach('latest')
    const { isNew, carried } = await takeSnapshot(archive.sources, timeline, plan, 'model://test')
    if (isNew) world.tally.add('snapshots made beside an erasure')
    world.tally.add('members carried over', carried.members)
  } catch (error) {
    if (!hasCode(error, 'ERASURE_RACED')) throw error
    world.tally.add('snapshots refused beside an erasure')
  } finally {
    archive.close()
  }
}

async function completing(world: ErasureWorld, through: string | null): Promise<typeof ALL_TOLD> {
  await world.rig.session.complete(through)
  return ALL_TOLD
}

async function writeOthers(world: ErasureWorld, victims: readonly Item[]): Promise<void> {
  const names = victims.map(keyOf)
  const others = items().filter((item) => !names.includes(keyOf(item)))
  for (let i = pick(world, 8); i > 0; i--) {
    const item = others[pick(world, others.length)]
    if (item !== undefined) await write(world, item, imageOf(item, 0, world.next()))
    if (world.next() < 0.5) await world.rig.session.complete(null)
    world.tally.add('writes during an erasure')
  }
}

/** Erases one until that is done, in every way that the world wants; now and then it is made again meanwhile. */
async function eraseVictim(world: ErasureWorld, item: Item): Promise<void> {
  const modes = world.way === 'both' ? (['keys', 'rewritten'] as const) : [undefined]
  for (const [i, mode] of modes.entries()) {
    const racing = modes.length === 1 && world.next() < 0.25 ? remake(world, item) : null
    while (!(await tryToErase(world, item, mode))) {
      // It was made again before: what came of that must be deleted, and belongs to the life that ends.
      await racing
      await write(world, item, null)
      await world.rig.session.complete(null)
    }
    if (i === 0) world.erased.set(keyOf(item), livesOf(world, item) + 1)
    const remade = await racing
    await world.rig.session.complete(null)
    // Where the erasure went through all the same, this is another life.
    if (remade !== null && world.database.items_.has(keyOf(item))) {
      remade.life++
      world.tally.add('records made again during their erasure')
    }
  }
  world.tally.add('records erased')
}

function remake(world: ErasureWorld, item: Item): Promise<Written | null> {
  return write(world, item, imageOf(item, livesOf(world, item) + 1, world.next()))
}

/** False where the record exists. */
async function tryToErase(world: ErasureWorld, item: Item, mode: 'keys' | 'rewritten' | undefined): Promise<boolean> {
  const complete = (through: string | null): Promise<typeof ALL_TOLD> => completing(world, through)
  for (let attempt = 1; ; attempt++) {
    let call = 0
    const due = attempt < 4 && world.next() < 0.7 ? pick(world, 40) : -1
    const script = (): 'before' | 'after' | null => {
      if (call++ !== due) return null
      world.tally.add('calls broken off')
      return world.next() < 0.5 ? 'before' : 'after'
    }
    try {
      const keys = world.keys === null ? undefined : new FaultyStore(world.keys, script)
      const { archive } = await openReader(new FaultyStore(world.store, script), world.clock, keys, complete)
      await eraseRecord(archive, item, { reason: 'asked to', ...(mode === undefined ? {} : { mode }) }).finally(() =>
        archive.close(),
      )
      return true
    } catch (error) {
      // Done before, but for the answer, where nothing of it is left.
      if (attempt > 1 && hasCode(error, 'RECORD_NOT_FOUND')) return true
      if (hasCode(error, 'RECORD_EXISTS')) return false
      if (!hasCode(error, 'STORE_UNAVAILABLE') && !hasCode(error, 'ERASURE_RACED')) throw error
      world.tally.add(hasCode(error, 'ERASURE_RACED') ? 'erasures that lost a race' : 'erasures broken off')
    }
  }
}

/** The writer still has the keyring that it began with; what it writes now must be readable all the same. */
async function makeAgain(world: ErasureWorld, item: Item): Promise<void> {
  for (let i = 0; i < 2; i++) await write(world, item, imageOf(item, livesOf(world, item), world.next()))
  world.tally.add('records made again')
}
