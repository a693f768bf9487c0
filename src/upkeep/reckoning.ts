import { createHash, hash } from 'node:crypto'
import type { DrillDifference, DrilledResource } from '../format/drill-file.ts'
import { EVENT_COLUMNS, eventsOf } from '../format/segment/events.ts'
import type { Event, Image, Item } from '../model/event.ts'
import type { SegmentEntry, SnapshotEntry } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import { openedImage, openSnapshot, type ReplaySources } from '../restore/replay.ts'
import type { SnapshotReader } from '../restore/snapshot-reader.ts'
import { checkedEvents } from './segment-check.ts'

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
  readonly ulid: Ulid
  readonly image: string | null
  seen: boolean
}

/** An item with its image: of an event, or of a line of a snapshot. */
interface Stated {
  readonly item: Item
  readonly image: Image | null
}

type Totals = Map<string, { items: number; hash: Buffer }>

/** What an item costs in memory while it is reckoned, bytes: two hashes, a stamp, and the map. */
const ITEM_BYTES = 400
const HASH_BYTES = 32
const MOST_LISTED = 20

/**
 * Reckons the state of a moment from the events alone, with none of the code that a restore folds and merges with: a map
 * of the last writer of each item, by the hash of its name, in as many passes as fit the memory; and compares it with what
 * was restored. Events are checked against their hash chains. Errors: `OBJECT_CORRUPT`, `SEGMENT_CORRUPT`,
 * `SNAPSHOT_CORRUPT`.
 */
export async function reckon(parts: ReckoningParts): Promise<Reckoned> {
  const { sources, snapshot, segments } = parts
  const rows = segments.reduce((sum, { events }) => sum + events, snapshot.records)
  const passes = Math.max(1, Math.ceil((rows * ITEM_BYTES) / sources.memory))
  const totals: Totals = new Map()
  const found: DrillDifference[] = []
  let differing = 0
  const differs = (difference: DrillDifference): void => {
    differing++
    if (found.length < MOST_LISTED) found.push(difference)
  }
  for (let pass = 0; pass < passes; pass++) {
    const isMine = (name: Buffer): boolean => name.readUInt32LE(0) % passes === pass
    const last = await lastWriters(parts, isMine, pass === 0)
    await compare(parts.restored, last, isMine, totals, differs)
    for (const { kind, resource, id } of await missing(parts, last)) differs({ kind, resource, id, what: 'missing' })
  }
  const resources = [...totals]
    .map(([resource, { items, hash: sum }]) => ({ resource, items, hash: sum.toString('hex') }))
    .sort((a, b) => (a.resource < b.resource ? -1 : 1))
  return { resources, differences: found, differing }
}

async function lastWriters(
  parts: ReckoningParts,
  isMine: (name: Buffer) => boolean,
  checked: boolean,
): Promise<Map<string, Last>> {
  const { sources, snapshot, segments, moment } = parts
  const last = new Map<string, Last>()
  for await (const { item, image } of linesOf(await openSnapshot(sources, snapshot))) {
    const name = nameOf(item)
    if (!isMine(name)) continue
    const opened = openedImage(sources, item, image)
    last.set(name.toString('latin1'), { ulid: snapshot.ulid, image: hashOf(opened), seen: false })
  }
  for (const segment of segments) {
    for await (const event of checked ? checkedEventsOf(parts, segment) : plainEventsOf(parts, segment)) {
      const { ulid } = event.stamp
      if (ulid <= snapshot.ulid || ulid > moment) continue
      const name = nameOf(event)
      if (!isMine(name)) continue
      const key = name.toString('latin1')
      const known = last.get(key)
      if (known !== undefined && known.ulid >= ulid) continue
      last.set(key, { ulid, image: hashOf(openedImage(sources, event, event.after)), seen: false })
    }
  }
  return last
}

async function compare(
  restored: SnapshotReader,
  last: ReadonlyMap<string, Last>,
  isMine: (name: Buffer) => boolean,
  totals: Totals,
  differs: (difference: DrillDifference) => void,
): Promise<void> {
  for await (const { item, image } of linesOf(restored)) {
    const name = nameOf(item)
    if (!isMine(name)) continue
    const { kind, resource, id } = item
    const expected = last.get(name.toString('latin1'))
    const known = expected?.image ?? null
    if (expected === undefined || known === null) differs({ kind, resource, id, what: 'not there' })
    else if (expected.seen) differs({ kind, resource, id, what: 'twice there' })
    else if (known !== hashOf(image)) differs({ kind, resource, id, what: 'different' })
    if (expected === undefined || known === null || expected.seen) continue
    expected.seen = true
    add(totals, resource, name, known)
  }
}

/** Items that should be there and were not seen, by name: what is kept of them is a hash, so they are looked up again. */
async function missing(parts: ReckoningParts, last: ReadonlyMap<string, Last>): Promise<readonly Item[]> {
  const names = new Set([...last].flatMap(([name, { image, seen }]) => (image !== null && !seen ? [name] : [])))
  const items: Item[] = []
  const look = (item: Item): void => {
    if (names.delete(nameOf(item).toString('latin1'))) items.push(item)
  }
  if (names.size > 0) {
    for await (const { item } of linesOf(await openSnapshot(parts.sources, parts.snapshot))) look(item)
  }
  for (const segment of names.size > 0 ? parts.segments : []) {
    for await (const { kind, resource, id } of plainEventsOf(parts, segment)) look({ kind, resource, id })
  }
  return items
}

async function* checkedEventsOf({ sources }: ReckoningParts, segment: SegmentEntry): AsyncGenerator<Event> {
  yield* checkedEvents(await sources.segments.open(segment), segment)
}

async function* plainEventsOf({ sources }: ReckoningParts, segment: SegmentEntry): AsyncGenerator<Event> {
  const reader = await sources.segments.open(segment)
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

function hashOf(image: Image | null): string | null {
  if (image === null) return null
  const sum = createHash('sha256').update(`${image.json.length} ${image.raw === null ? '-' : image.raw.length} `)
  return sum
    .update(image.json)
    .update(image.raw ?? '')
    .digest()
    .toString('latin1')
}

/** The sum of a resource does not depend on the order of its items: each is hashed, and the hashes are combined by XOR. */
function add(totals: Totals, resource: string, name: Buffer, image: string): void {
  const total = totals.get(resource) ?? { items: 0, hash: Buffer.alloc(HASH_BYTES) }
  totals.set(resource, total)
  total.items++
  const item = createHash('sha256').update(name).update(Buffer.from(image, 'latin1')).digest()
  for (let i = 0; i < HASH_BYTES; i++) total.hash[i] = (total.hash[i] ?? 0) ^ (item[i] ?? 0)
}
