import { Kept } from '../base/kept.ts'
import { parseRunFileKey } from '../format/keys.ts'
import { EVENT_COLUMNS } from '../format/segment/events.ts'
import { placedRowGroup } from '../format/segment/placed-group.ts'
import { filterMayContain, openBytes, openSegment, type SegmentReader } from '../format/segment/read.ts'
import type { RowGroup } from '../format/segment/row-group.ts'
import type { RowGroupPlace } from '../format/segment/run-index.ts'
import type { Item } from '../model/event.ts'
import type { MergedSegment, SegmentEntry } from '../model/timeline.ts'
import { type Ulid, ulidTime } from '../model/ulid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { type NextLookups, RunLookup } from './run-lookup.ts'

/** Bytes that open segments take which are kept: some ten kilobytes of a small one, a megabyte of a large one. */
const KEPT_BYTES = 64 * 1024 * 1024
/** As far as these, a scan leaves what it has opened: it may come by again, and has all of them in its hands anyway. */
const KEPT_BY_SCANS = KEPT_BYTES / 4
/** A segment up to this size is read as a whole where one item is looked for: another request costs more than these bytes. */
const WHOLE_BYTES = 32 * 1024
/** Row groups of a run that follow one another are read together up to so many bytes. */
const WINDOW_BYTES = 512 * 1024

/** What is looked through for an item at once: a segment of level 0, or the files of a run, as many of them as are asked for. */
export interface SegmentUnit extends Pick<SegmentEntry, 'firstUlid' | 'lastUlid'> {
  readonly entries: readonly SegmentEntry[]
}

/** What of an item is looked for. */
export interface LookedFor {
  readonly next: NextLookups
  /** Nothing behind this; null: whatever there is. */
  readonly through: Ulid | null
}

/** Whether files have events of an item, as far as the catalogue tells: 'no' is certain, 'likely' is what a filter says. */
export type Likelihood = 'no' | 'unknown' | 'likely'

/** Row groups with events of an item, from the oldest to the newest of these, or the other way round. */
export interface ItemRowGroups {
  forward(): AsyncGenerator<RowGroup>
  backward(): AsyncGenerator<RowGroup>
}

/** Segments as they are looked through: in the order in which each begins. */
export function unitsOf(segments: readonly SegmentEntry[]): readonly SegmentUnit[] {
  const units = Map.groupBy(segments, (entry) => ('run' in entry ? entry.run.key : entry.key))
  return Array.from(units.values(), (entries) => ({
    entries,
    firstUlid: entries.reduce((least, { firstUlid }) => (firstUlid < least ? firstUlid : least), 'Z'),
    lastUlid: entries.reduce((greatest, { lastUlid }) => (lastUlid > greatest ? lastUlid : greatest), ''),
  }))
}

/** Opens segments of a store; the footers of the last ones used are kept, since segments never change. */
export class Segments {
  readonly #store: ObjectStore
  readonly #kept = new Kept<Promise<SegmentReader>>(KEPT_BYTES)
  readonly #runs: RunLookup

  constructor(store: ObjectStore) {
    this.#store = store
    this.#runs = new RunLookup(store)
  }

  /** Errors: `SEGMENT_CORRUPT`, and those of the store. */
  open(entry: SegmentEntry): Promise<SegmentReader> {
    const known = this.#kept.get(entry.key)
    if (known !== undefined) return known
    const isSmall = entry.bytes <= WHOLE_BYTES
    const reader = isSmall ? this.#readWhole(entry) : this.#read(entry)
    return this.#keep(entry, reader, openBytes(entry.footer.bytes) + (isSmall ? entry.bytes : 0))
  }

  /** The same for who goes through very many once: nothing that others use makes room for these. */
  scan(entry: SegmentEntry): Promise<SegmentReader> {
    const known = this.#kept.peek(entry.key)
    if (known !== undefined) return known
    const reader = this.#read(entry)
    const bytes = openBytes(entry.footer.bytes)
    return this.#kept.bytes + bytes <= KEPT_BY_SCANS ? this.#keep(entry, reader, bytes) : reader
  }

  /**
   * Where the events of an item are; null: there are certainly none that are asked for, and where a filter in the catalogue says so
   * nothing is read. Of a run no footer is read, but its index. Errors: as `open`.
   */
  async find(unit: SegmentUnit, item: Item, { next, through }: LookedFor): Promise<ItemRowGroups | null> {
    const { entries } = unit
    const [first] = entries
    if (first === undefined || likelihoodOf(unit, item) === 'no') return null
    // Of a run that most likely has it, and is small: its index would be a request more.
    const isSmall = entries.length === 1 && first.bytes <= WHOLE_BYTES && first.filter !== undefined
    if (!('run' in first) || (isSmall && next === 'others')) return inSegment(await this.open(first), item)
    const { index } = first.run
    const found = await this.#runs.find(index, item, next)
    if (found === null || (through !== null && found.since > ulidTime(through))) return null
    const files = new Map(entries.map((entry) => [parseRunFileKey(entry.key)?.file, entry]))
    const placed = async (): Promise<readonly Placed[]> =>
      // Files that are not asked for have no events of the time that is.
      (await this.#runs.places(index, found.rowGroups, next)).flatMap((place) => {
        const entry = files.get(place.file)
        return entry !== undefined && 'run' in entry ? [{ entry, place }] : []
      })
    // Of the newest that has it they are needed alone, of a history all, and several are asked for at once.
    if (next === 'others') return inRun(this.#store, placed)
    const places = await placed()
    return inRun(this.#store, async () => places)
  }

  #read({ key, bytes, footer }: SegmentEntry): Promise<SegmentReader> {
    return openSegment({ name: key, bytes, footer, read: (start, end) => this.#store.get(key, { start, end }) })
  }

  async #readWhole({ key, bytes, footer }: SegmentEntry): Promise<SegmentReader> {
    const whole = await this.#store.get(key, { start: 0, end: bytes })
    return openSegment({ name: key, bytes, footer, read: async (start, end) => whole.subarray(start, end) })
  }

  #keep({ key }: SegmentEntry, reader: Promise<SegmentReader>, bytes: number): Promise<SegmentReader> {
    reader.catch(() => this.#kept.forget(key)) // the caller has the error; the next call tries again
    this.#kept.keep(key, reader, bytes)
    return reader
  }
}

/** Whether a unit has events of an item, without a request. */
export function likelihoodOf({ entries }: SegmentUnit, item: Item): Likelihood {
  const filters = entries.map(({ filter }) => filter)
  const isUnknown = filters.includes(undefined)
  const passes = (filter: string | undefined): boolean =>
    filter !== undefined && filterMayContain(Buffer.from(filter, 'base64'), item)
  if (filters.some(passes)) return 'likely'
  return isUnknown ? 'unknown' : 'no'
}

function inSegment(reader: SegmentReader, item: Item): ItemRowGroups | null {
  if (!reader.mayContain(item)) return null
  const indexes = reader.rowGroupsOf(item)
  async function* read(order: readonly number[]): AsyncGenerator<RowGroup> {
    for (const index of order) yield await reader.readRowGroup(index, EVENT_COLUMNS)
  }
  return { forward: () => read(indexes), backward: () => read(indexes.toReversed()) }
}

/** A row group of a run, and the file that it is in. */
interface Placed {
  readonly entry: MergedSegment
  readonly place: RowGroupPlace
}

function inRun(store: ObjectStore, placed: () => Promise<readonly Placed[]>): ItemRowGroups {
  async function* forward(): AsyncGenerator<RowGroup> {
    for (const window of windowsOf(await placed())) yield* await readWindow(store, window)
  }
  async function* backward(): AsyncGenerator<RowGroup> {
    for (const window of windowsFromEnd(await placed())) yield* (await readWindow(store, window)).toReversed()
  }
  return { forward, backward }
}

/** The last row group, then twice as many each time: of what has very many, one that is far from the end costs few requests. */
function windowsFromEnd(places: readonly Placed[]): readonly (readonly Placed[])[] {
  const windows: (readonly Placed[])[] = []
  for (let [end, most] = [places.length, 1]; end > 0; most *= 2) {
    const window = windowsOf(places.slice(Math.max(0, end - most), end)).at(-1) ?? []
    windows.push(window)
    end -= window.length
  }
  return windows
}

/** Row groups that stand one behind the other in a file, a few together. */
function windowsOf(places: readonly Placed[]): readonly (readonly Placed[])[] {
  const windows: Placed[][] = []
  let [end, bytes] = [0, 0]
  for (const one of places) {
    const { start, bytes: size } = one.place
    const window = windows.at(-1)
    const isNext = window?.[0]?.entry === one.entry && start === end && bytes + size <= WINDOW_BYTES
    if (isNext) window?.push(one)
    else {
      windows.push([one])
      bytes = 0
    }
    end = start + size
    bytes += size
  }
  return windows
}

async function readWindow(store: ObjectStore, window: readonly Placed[]): Promise<readonly RowGroup[]> {
  const [first, last] = [window[0], window.at(-1)]
  if (first === undefined || last === undefined) return []
  const { key } = first.entry
  const [start, end] = [first.place.start, last.place.start + last.place.bytes]
  const read = await store.get(key, { start, end })
  return window.map(({ place }) => {
    return placedRowGroup(key, place, read.subarray(place.start - start, place.start - start + place.bytes))
  })
}
