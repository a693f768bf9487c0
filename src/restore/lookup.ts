import { eventsOf } from '../format/segment/events.ts'
import type { SegmentReader } from '../format/segment/read.ts'
import type { RowGroup } from '../format/segment/row-group.ts'
import { changeBetween, type Event, type Item } from '../model/event.ts'
import { fold, type Version } from '../model/fold.ts'
import type { SegmentEntry, SegmentTree } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import { ahead } from './ahead.ts'
import type { Plan } from './plan.ts'
import { OPENED_AHEAD, openedImage, type ReplaySources } from './replay.ts'
import { type ItemRowGroups, likelihoodOf, type SegmentUnit, unitsOf } from './segments.ts'

/** Where nothing tells which segments have an item, so many are asked first; where none of them has it, twice as many. */
const FIRST_ASKED = 1

/** What is known of the history before the snapshot of a plan without asking for it. */
export interface Before {
  /** Of an item that has events since, these say what the snapshot says: see `sameSince`. */
  readonly since: Ulid
  /** The segments with events in `(after, through]`; null: that is not known. */
  readonly between: (after: Ulid, through: Ulid) => readonly SegmentEntry[] | null
}

/**
 * The version of one item at the plan's moment, or null where it never existed until then, or was erased. Reads the one gzip member
 * and the row groups that can hold the item; newest segments first, and none that cannot say anything newer. With `before` the
 * snapshot is left out where what was read says what is in it.
 */
export async function findVersion(
  sources: ReplaySources,
  plan: Plan,
  item: Item,
  before: Before | null = null,
): Promise<Version | null> {
  const { segments, snapshot, moment } = plan
  const after = before?.since ?? snapshot.ulid
  const found = await newestVersion(sources, { segments, after, through: moment }, item)
  if (found !== null && isLast(found, plan, item, before)) return openedVersion(sources, found, item)
  const image = await (await sources.snapshots.open(snapshot)).find(item)
  return image === null ? null : openedVersion(sources, { ulid: snapshot.ulid, image }, item)
}

/** Whether nothing that was not searched has an event of an item between this one and the snapshot of a plan. */
function isLast({ ulid }: Version, { segments, snapshot }: Plan, item: Item, before: Before | null): boolean {
  if (ulid > snapshot.ulid) return true
  const others = before?.between(ulid, snapshot.ulid) ?? null
  const searched = new Set(segments.map(({ key }) => key))
  return others?.every((entry) => searched.has(entry.key) || hasNot(entry, item)) === true
}

function hasNot(entry: SegmentEntry, item: Item): boolean {
  return likelihoodOf({ ...entry, entries: [entry] }, item) === 'no'
}

/**
 * The same where the item was changed so recently that the root of the catalogue alone tells it: no node has been read then. Null:
 * it was not. `after`: the stamp of the snapshot that the moment is made from.
 */
export function findRecent(
  sources: ReplaySources,
  { nodes, tail }: SegmentTree,
  { after, through }: EventsBetween,
  item: Item,
): Promise<Version | null> {
  const sealed = tail.filter((entry) => !('run' in entry))
  // Of a run some files may be in nodes. What is later than all of these is in no other segment.
  const others = [...nodes, ...tail.filter((entry) => 'run' in entry)].filter(({ firstUlid }) => firstUlid <= through)
  const since = others.reduce((latest, { lastUlid }) => (lastUlid > latest ? lastUlid : latest), after)
  const segments = sealed.filter(({ firstUlid, lastUlid }) => lastUlid > since && firstUlid <= through)
  return newestVersion(sources, { segments, after: since, through }, item).then((found) =>
    found === null ? null : openedVersion(sources, found, item),
  )
}

/** The events in `(after, through]`. */
interface EventsBetween {
  readonly after: Ulid
  readonly through: Ulid
}

/** What the last of these events in these segments leaves of an item; null: there is none. */
async function newestVersion(
  sources: ReplaySources,
  { segments, after, through }: EventsBetween & { readonly segments: readonly SegmentEntry[] },
  item: Item,
): Promise<Version | null> {
  let found: Version | null = null
  const isDecided = (unit: SegmentUnit): boolean => found !== null && unit.lastUlid < found.ulid
  const asked = askedOf(unitsOf(segments), item)
  for (let most = FIRST_ASKED; ; most = Math.min(OPENED_AHEAD, 2 * most)) {
    const together = nextAsked(asked, most).filter((unit) => !isDecided(unit))
    if (together.length === 0) return found
    const opened = together.map(
      (unit) => [unit, sources.segments.find(unit, item, { next: 'others', through })] as const,
    )
    for (const [, groups] of opened) groups.catch(() => {}) // thrown in its turn, below
    for (const [unit, groups] of opened) {
      // Nothing older is read, nor has to be readable, once something newer is found.
      if (isDecided(unit)) break
      const version = await lastVersion(await groups, item, after, through)
      if (version !== null) found = fold(found, version)
    }
  }
}

/** With its image as it was captured; null where that was erased. */
function openedVersion(sources: ReplaySources, version: Version, item: Item): Version | null {
  if (version.image === null) return version
  const image = openedImage(sources, item, version.image)
  return image === null ? null : { ...version, image }
}

/** A unit that may have an item, and whether it most likely has. */
interface Asked {
  readonly unit: SegmentUnit
  readonly isLikely: boolean
}

/** What may have an item, the newest first. */
function askedOf(units: readonly SegmentUnit[], item: Item): Asked[] {
  return units
    .toSorted((a, b) => (a.lastUlid > b.lastUlid ? -1 : 1))
    .map((unit) => ({ unit, likelihood: likelihoodOf(unit, item) }))
    .filter(({ likelihood }) => likelihood !== 'no')
    .map(({ unit, likelihood }) => ({ unit, isLikely: likelihood === 'likely' }))
}

/** Takes out what is asked for together: at most so many, and nothing older than what most likely has the item. */
function nextAsked(asked: Asked[], most: number): readonly SegmentUnit[] {
  const likely = asked.findIndex(({ isLikely }) => isLikely)
  const count = likely < 0 ? most : Math.min(most, likely + 1)
  return asked.splice(0, count).map(({ unit }) => unit)
}

async function lastVersion(
  groups: ItemRowGroups | null,
  item: Item,
  after: Ulid,
  through: Ulid,
): Promise<Version | null> {
  if (groups === null) return null
  // Of an item the stamps grow from row to row: what stands in front of a version says nothing newer.
  for await (const group of groups.backward()) {
    let found: Version | null = null
    for (const event of eventsIn(group, item)) {
      const { ulid } = event.stamp
      if (ulid > after && ulid <= through) found = fold(found, { ulid, image: event.after })
    }
    if (found !== null) return found
  }
  return null
}

/** Every event of one item in these segments that was not erased, by stamp. */
export async function* findEvents(
  sources: ReplaySources,
  segments: readonly SegmentEntry[],
  item: Item,
): AsyncGenerator<Event> {
  for await (const event of findStoredEvents(sources, segments, item)) {
    const opened = openedEvent(sources, event)
    if (opened !== null) yield opened
  }
}

/** An event with its images as they were captured, or null where one of them was erased: then the event was. */
function openedEvent(sources: ReplaySources, event: Event): Event | null {
  if (sources.open === null) return event
  const { stamp, context } = event
  const [before, after] = [openedImage(sources, event, event.before), openedImage(sources, event, event.after)]
  const whole = (before === null) === (event.before === null) && (after === null) === (event.after === null)
  const change = whole ? changeBetween(event, before, after, context) : null
  return change === null ? null : { ...change, stamp }
}

/** The same with the images as the store has them, and with what was erased. */
export async function* findStoredEvents(
  sources: ReplaySources,
  segments: readonly SegmentEntry[],
  item: Item,
): AsyncGenerator<Event> {
  // Segments of several streams overlap in time: events wait until no segment left can hold an earlier one.
  let waiting: Event[] = []
  const units = unitsOf(segments).filter((unit) => likelihoodOf(unit, item) !== 'no')
  const begun = ahead(units.entries(), OPENED_AHEAD, ([, unit]) => beginUnit(sources, unit, item))
  for await (const [[index, unit], groups] of begun) {
    const next = units[index + 1]?.firstUlid
    // Nothing can come in between: none of them waits in memory for the others.
    const isApart = waiting.length === 0 && (next === undefined || next > unit.lastUlid)
    if (isApart) {
      if (groups !== null) yield* eventsOfItem(groups, item)
      continue
    }
    if (groups !== null) {
      for await (const event of eventsOfItem(groups, item)) waiting.push(event)
      waiting.sort((a, b) => (a.stamp.ulid < b.stamp.ulid ? -1 : 1))
    }
    const ready = waiting.filter(({ stamp }) => next === undefined || stamp.ulid < next)
    waiting = waiting.slice(ready.length)
    yield* ready
  }
}

/** The row groups of a unit that may have an item, of which the first ones are read; null: there are none. */
async function beginUnit(
  sources: ReplaySources,
  unit: SegmentUnit,
  item: Item,
): Promise<AsyncIterable<RowGroup> | null> {
  const found = await sources.segments.find(unit, item, { next: 'none', through: null })
  if (found === null) return null
  const groups = found.forward()
  const first = await groups.next()
  return {
    async *[Symbol.asyncIterator]() {
      if (first.done === true) return
      yield first.value
      yield* groups
    },
  }
}

async function* eventsOfItem(groups: AsyncIterable<RowGroup>, item: Item): AsyncGenerator<Event> {
  for await (const group of groups) yield* eventsIn(group, item)
}

function* eventsIn(group: RowGroup, item: Item): Generator<Event> {
  for (const row of rowsOf(group, item)) yield* eventsOf(group, row, row + 1)
}

/** The rows of one item in a row group. */
function rowsOf(group: RowGroup, { kind, resource, id }: Item): number[] {
  const [kinds, resources, ids] = [group.codes('kind'), group.codes('resource'), group.bytes('record_id')]
  const kindCode = kinds.values.indexOf(kind)
  const resourceCode = resources.values.indexOf(resource)
  const wanted = Buffer.from(id)
  const rows: number[] = []
  for (let row = 0; row < group.rows; row++) {
    if (kinds.codes[row] !== kindCode || resources.codes[row] !== resourceCode) continue
    const bytes = ids.bytes(row)
    if (bytes !== null && wanted.equals(bytes)) rows.push(row)
  }
  return rows
}

/** Whether the history holds the event `ulid`; reads one column of the segments that may, and of files of runs what is around it. */
export async function hasEvent(
  sources: ReplaySources,
  segments: readonly SegmentEntry[],
  ulid: Ulid,
): Promise<boolean> {
  const wanted = Buffer.from(ulid)
  for (const entry of segments) {
    if (ulid < entry.firstUlid || ulid > entry.lastUlid) continue
    const reader = await sources.segments.open(entry)
    for await (const group of 'run' in entry ? allOf(reader) : eachOf(reader)) {
      const column = group.bytes('ulid')
      for (let row = 0; row < column.starts.length; row++) {
        if (wanted.equals(column.bytes(row) ?? wanted.subarray(1))) return true
      }
    }
  }
  return false
}

/** Row groups of a run are small: a request for each would cost more than what stands between their columns. */
function allOf(reader: SegmentReader): AsyncGenerator<RowGroup> {
  return reader.scan([...reader.rowGroups.keys()], ['ulid'])
}

async function* eachOf(reader: SegmentReader): AsyncGenerator<RowGroup> {
  for (const index of reader.rowGroups.keys()) yield await reader.readRowGroup(index, ['ulid'])
}
