import type { Image, Item } from '../../src/model/event.ts'
import type { Head } from '../../src/model/head.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import type { Tally } from '../campaign/campaign.ts'
import { show } from './arbitrary.ts'
import { openRig, type Rig } from './capture-rig.ts'
import { KeepingStore } from './keeping-store.ts'
import { BEGIN, SetClock } from './kept-history.ts'
import type { Victim } from './key-attack.ts'
import { keyOf, ModelDatabase, recordImage } from './model-database.ts'
import { WormStore } from './worm-store.ts'

/**
 * How records are erased: by their keys, in a store that refuses every deletion; by rewriting, in one without record
 * keys; by their keys and then by rewriting, as where the store keeps everything for a time only.
 */
export const WAYS = ['keys', 'rewritten', 'both'] as const
export type Way = (typeof WAYS)[number]

/** One write of the workload, as it was given to the database. */
export interface Written {
  readonly item: Item
  readonly image: Image | null
  /** How often the record had been erased before. */
  life: number
}

/** A history, the stores that it is in, and what an enemy gets of them. */
export interface ErasureWorld {
  readonly way: Way
  readonly next: () => number
  readonly tally: Tally
  readonly database: ModelDatabase
  /** Every byte of the store, and of the place of the keyring: also what was deleted, where deletions are broken. */
  readonly objects: MemoryStore
  readonly keyObjects: MemoryStore
  readonly store: ObjectStore
  readonly keys: ObjectStore | null
  readonly rig: Rig
  /** Minutes pass when `pass` says so. */
  readonly clock: SetClock
  readonly pass: (ms: number) => void
  /** What the database held before the capture, and every write that changed something since, in order. */
  readonly base: Map<string, string>
  readonly written: Written[]
  /** How often each record was erased. */
  readonly erased: Map<string, number>
  readonly victims: Victim[]
  readonly heads: Head[]
}

const NAMES: readonly (readonly [string, string])[] = [
  ['people', 'ann'],
  ['people', 'a/b'],
  ['people', ''],
  ['people', '__proto__'],
  ['peoplea', 'nn'],
  ['orders', '\u{1f600}'],
  ['', 'x'],
]
/** Stands in every image of every record. */
export const CANARY = 'canary-'

/** Opens a capture of a database that holds something already. `keeps`: deletions only hide, as with kept versions. */
export async function openWorld(
  way: Way,
  next: () => number,
  tally: Tally,
  { keeps }: { readonly keeps: boolean },
): Promise<ErasureWorld> {
  const [database, clock] = [new ModelDatabase(), new SetClock()]
  let now = BEGIN
  const pass = (ms: number): void => {
    now += ms
    clock.set(now)
  }
  for (const item of items()) {
    if (next() < 0.4) database.put(item, imageOf(item, 0, next()))
  }
  database.put({ kind: 'schema', resource: 'people', id: '' }, recordImage({ name: 'people' }))
  database.put({ kind: 'object', resource: 'people', id: 'sequence' }, recordImage({ value: 1 }))
  const base = new Map([...database.items_.values()].map(({ item, image }) => [keyOf(item), show(image)]))
  const [objects, keyObjects] = [new MemoryStore(), new MemoryStore()]
  const deletable = (inner: MemoryStore): ObjectStore => (keeps ? new KeepingStore(inner) : inner)
  const store = way === 'keys' ? new WormStore(objects) : deletable(objects)
  const keys = way === 'rewritten' ? null : deletable(keyObjects)
  const options = { store, database, directory: '', clock, ack: 'memory' as const }
  const rig = await openRig(keys === null ? options : { ...options, keys })
  await rig.session.complete(null)
  const history = { base, written: [], erased: new Map(), victims: [], heads: [] }
  return { way, next, tally, database, objects, keyObjects, store, keys, rig, clock, pass, ...history }
}

/** Every record that the workload writes. */
export function items(): Item[] {
  return NAMES.map(([resource, id]) => ({ kind: 'record', resource, id }))
}

/** An image with a text that no other record has, and no other life of this one. */
export function imageOf(item: Item, life: number, value: number): Image {
  const raw = Buffer.alloc(9, 0xcb)
  raw.writeDoubleBE(value, 1)
  return recordImage({ id: item.id, value, secret: canaryOf(item, life) }, value < 0.5 ? null : raw)
}

/** The text in every image of one life of a record. */
export function canaryOf(item: Item, life: number): string {
  const index = NAMES.findIndex(([resource, id]) => resource === item.resource && id === item.id)
  return `${CANARY}${index}-${life}-`
}

/** Writes as the application does; what changes nothing is not written. */
export async function write(world: ErasureWorld, item: Item, image: Image | null): Promise<Written | null> {
  if (image === null && !world.database.items_.has(keyOf(item))) return null
  const written = { item, image, life: livesOf(world, item) }
  world.written.push(written)
  await world.database.write(item, image)
  return written
}

/** How often a record was erased. */
export function livesOf({ erased }: Pick<ErasureWorld, 'erased'>, item: Item): number {
  return erased.get(keyOf(item)) ?? 0
}

/** A whole number below a bound. */
export function pick({ next }: ErasureWorld, below: number): number {
  return Math.floor(next() * below)
}
