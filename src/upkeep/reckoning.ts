import { createHash, hash } from 'node:crypto'
import type { DrillDifference, DrilledResource } from '../format/drill-file.ts'
import { EVENT_COLUMNS, eventsOf } from '../format/segment/events.ts'
import type { Event, Image, Item } from '../model/event.ts'
import type { SegmentEntry, SnapshotEntry } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import { openedImage, openSnapshot, type ReplaySources } from '../restore/replay.ts'
import type { SnapshotReader } from '../restore/snapshot-reader.ts'
import { RowParts } from './row-parts.ts'
import { checkEvents, eachEvent } from './segment-check.ts'

/** What the state of a moment is reckoned from. */
export interface ReckoningParts {
  readonly sources: ReplaySources
  readonly snapshot: SnapshotEntry
  /** Those with events after the snapshot and not after the moment. */
  readonly segments: readonly SegmentEntry[]
  readonly moment: Ulid
  /** What was restored. */
  readonly restored: SnapshotReader
}

/** How what was restored differs from what the events say. */
export interface Reckoned {
  readonly resources: readonly DrilledResource[]
  readonly differences: readonly DrillDifference[]
  /** How many there are; of these the first are listed. */
  readonly differing: number
}

/** The last that is known of an item: who said so, and the hash of its image, null where it does not exist. */
interface Last {
  readonly ulid: string
  readonly image: string | null
  seen: boolean
}

type What = DrillDifference['what']

/** An item with its image: of an event, or of a line of a snapshot. */
interface Stated {
  readonly item: Item
  readonly image: Image | null
}

type Totals = Map<string, { items: number; hash: Buffer }>

/** What an item costs in memory while it is reckoned, bytes: two hashes, a stamp, and the map. */
const ITEM_BYTES = 400
const HASH_BYTES = 32
const ULID_BYTES = 26
/** Name, stamp, whether there is an image, and its hash. */
const STATED_BYTES = HASH_BYTES + ULID_BYTES + 1 + HASH_BYTES
/** Name, number of the resource, and the hash of the image. */
const RESTORED_BYTES = HASH_BYTES + 4 + HASH_BYTES
const MOST_LISTED = 20

/**
 * Reckons the state of a moment from the events alone, with none of the code that a restore folds and merges with: a map
 * of the last writer of each item, by the hash of its name; and compares it with what was restored. Everything is read
 * once, and what is known of it is put into parts by these hashes, each of which fits the memory. Events are checked
 * against their hash chains. Errors: `OBJECT_CORRUPT`, `SEGMENT_CORRUPT`, `SNAPSHOT_CORRUPT`.
 */
export async function reckon(parts: ReckoningParts): Promise<Reckoned> {
  const { sources, snapshot, segments } = parts
  const rows = segments.reduce((sum, { events }) => sum + events, snapshot.records)
  const count = Math.max(1, Math.ceil((rows * ITEM_BYTES) / sources.memory))
  const stated = await statedRows(parts, new RowParts(sources.scratch, 'stated', count, STATED_BYTES))
  const restored = new RowParts(sources.scratch, 'restored', count, RESTORED_BYTES)
  const names = await restoredRows(parts.restored, restored)
  const totals: Totals = new Map()
  const wrong = new Map<string, What>()
  let differing = 0
  const differs = (name: string, what: What): void => {
    differing++
    if (wrong.size < MOST_LISTED) wrong.set(name, what)
  }
  for (let part = 0; part < count; part++) {
    const last = await lastWriters(stated.rows(part))
    await compare(restored.rows(part), names, last, totals, differs)
    for (const [name, { image, seen }] of last) if (image !== null && !seen) differs(name, 'missing')
    await stated.drop(part)
    await restored.drop(part)
  }
  const resources = [...totals]
    .map(([resource, { items, hash: sum }]) => ({ resource, items, hash: sum.toString('hex') }))
    .sort((a, b) => (a.resource < b.resource ? -1 : 1))
  return { resources, differences: await differencesOf(parts, wrong), differing }
}

/** Everything that the snapshot and the events say of the moment, checked. */
async function statedRows(parts: ReckoningParts, into: RowParts): Promise<RowParts> {
  const { sources, snapshot, segments, moment } = parts
  const row = Buffer.alloc(STATED_BYTES)
  const add = (item: Item, ulid: Ulid, image: Image | null): Promise<void> => {
    const hashed = hashOf(openedImage(sources, item, image))
    nameOf(item).copy(row)
    row.write(ulid, HASH_BYTES, 'latin1')
    row[HASH_BYTES + ULID_BYTES] = hashed === null ? 0 : 1
    if (hashed !== null) hashed.copy(row, HASH_BYTES + ULID_BYTES + 1)
    return into.add(row)
  }
  for await (const { item, image } of linesOf(await openSnapshot(sources, snapshot)))
    await add(item, snapshot.ulid, image)
  for (const segment of segments) {
    const reader = await sources.segments.scan(segment)
    const onEvent = async (event: Event): Promise<void> => {
      const { ulid } = event.stamp
      if (ulid > snapshot.ulid && ulid <= moment) await add(event, ulid, event.after)
    }
    // Of a run, other files may be needed to see that nothing is missing in this one: that is for a verification.
    if ('run' in segment) await eachEvent(reader, onEvent)
    else await checkEvents(reader, segment, onEvent)
  }
  return into
}

/** What was restored; returns the names of the resources by their numbers. */
async function restoredRows(restored: SnapshotReader, into: RowParts): Promise<readonly string[]> {
  const numbers = new Map<string, number>()
  const row = Buffer.alloc(RESTORED_BYTES)
  for await (const { item, image } of linesOf(restored)) {
    const number = numbers.get(item.resource) ?? numbers.size
    numbers.set(item.resource, number)
    nameOf(item).copy(row)
    row.writeUInt32LE(number, HASH_BYTES)
    hashOf(image)?.copy(row, HASH_BYTES + 4)
    await into.add(row)
  }
  return [...numbers.keys()]
}

async function lastWriters(rows: AsyncIterable<Buffer>): Promise<Map<string, Last>> {
  const last = new Map<string, Last>()
  for await (const row of rows) {
    const name = row.toString('latin1', 0, HASH_BYTES)
    const ulid = row.toString('latin1', HASH_BYTES, HASH_BYTES + ULID_BYTES)
    const known = last.get(name)
    if (known !== undefined && known.ulid >= ulid) continue
    const exists = row[HASH_BYTES + ULID_BYTES] === 1
    last.set(name, { ulid, image: exists ? row.toString('latin1', HASH_BYTES + ULID_BYTES + 1) : null, seen: false })
  }
  return last
}

async function compare(
  rows: AsyncIterable<Buffer>,
  resources: readonly string[],
  last: ReadonlyMap<string, Last>,
  totals: Totals,
  differs: (name: string, what: What) => void,
): Promise<void> {
  for await (const row of rows) {
    const name = row.toString('latin1', 0, HASH_BYTES)
    const expected = last.get(name)
    const known = expected?.image ?? null
    if (expected === undefined || known === null) differs(name, 'not there')
    else if (expected.seen) differs(name, 'twice there')
    else if (known !== row.toString('latin1', HASH_BYTES + 4)) differs(name, 'different')
    if (expected === undefined || known === null || expected.seen) continue
    expected.seen = true
    add(totals, resources[row.readUInt32LE(HASH_BYTES)] ?? '', row.subarray(0, HASH_BYTES), known)
  }
}

/** What is kept of an item is a hash of its name: those that are wrong are looked up again. */
async function differencesOf(parts: ReckoningParts, wrong: Map<string, What>): Promise<readonly DrillDifference[]> {
  const found: DrillDifference[] = []
  const look = ({ kind, resource, id }: Item): void => {
    const name = nameOf({ kind, resource, id }).toString('latin1')
    const what = wrong.get(name)
    if (what !== undefined && wrong.delete(name)) found.push({ kind, resource, id, what })
  }
  const snapshots = wrong.size === 0 ? [] : [parts.restored, await openSnapshot(parts.sources, parts.snapshot)]
  for (const snapshot of snapshots) for await (const { item } of linesOf(snapshot)) look(item)
  for (const segment of wrong.size > 0 ? parts.segments : []) {
    for await (const event of plainEventsOf(parts, segment)) look(event)
  }
  return found
}

async function* plainEventsOf({ sources }: ReckoningParts, segment: SegmentEntry): AsyncGenerator<Event> {
  const reader = await sources.segments.scan(segment)
  for (const index of reader.rowGroups.keys()) yield* eventsOf(await reader.readRowGroup(index, EVENT_COLUMNS))
}

async function* linesOf(snapshot: SnapshotReader): AsyncGenerator<Stated> {
  for await (const { kind, resource, lines } of snapshot.lines({})) {
    for (const line of lines) {
      yield { item: { kind, resource, id: Buffer.from(line.id).toString('utf8') }, image: line.image() }
    }
  }
}

function nameOf({ kind, resource, id }: Item): Buffer {
  return hash('sha256', JSON.stringify([kind, resource, id]), 'buffer')
}

function hashOf(image: Image | null): Buffer | null {
  if (image === null) return null
  const sum = createHash('sha256').update(`${image.json.length} ${image.raw === null ? '-' : image.raw.length} `)
  return sum
    .update(image.json)
    .update(image.raw ?? '')
    .digest()
}

/** The sum of a resource does not depend on the order of its items: each is hashed, and the hashes are combined by XOR. */
function add(totals: Totals, resource: string, name: Buffer, image: string): void {
  const total = totals.get(resource) ?? { items: 0, hash: Buffer.alloc(HASH_BYTES) }
  totals.set(resource, total)
  total.items++
  const item = createHash('sha256').update(name).update(Buffer.from(image, 'latin1')).digest()
  for (let i = 0; i < HASH_BYTES; i++) total.hash[i] = (total.hash[i] ?? 0) ^ (item[i] ?? 0)
}
