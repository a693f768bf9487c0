import { utf8 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { chainValue, digestBytes, digestEvent, LARGE_BYTES, type SegmentChain } from '../format/segment/chain.ts'
import { ChainRoom, ChainRows } from '../format/segment/chain-rows.ts'
import { EVENT_COLUMNS, eventsOf } from '../format/segment/events.ts'
import type { SegmentReader } from '../format/segment/read.ts'
import { RowEvents } from '../format/segment/row-events.ts'
import type { RowGroup } from '../format/segment/row-group.ts'
import { type PartChain, sequencesOf } from '../format/segment/run-chain.ts'
import { SALT_BYTES } from '../format/segment/salts.ts'
import type { Event } from '../model/event.ts'
import type { SegmentFile, StreamSegment } from '../model/timeline.ts'
import { RowOrder } from './row-order.ts'

/** Is given an event; the next one waits for it. */
export type OnEvent = (event: Event) => Promise<void> | void
/** Is given a row group, and its number in the file. */
export type OnRowGroup = (reader: SegmentReader, index: number, group: RowGroup) => void

/**
 * Checks every event of a segment of level 0, in the order of its rows, against what the timeline says of it and against its
 * hash chain: once this has resolved, none was missing, twice there or changed. Returns how many there are. Errors:
 * `OBJECT_CORRUPT`, `SEGMENT_CORRUPT`.
 */
export async function checkEvents(
  reader: SegmentReader,
  entry: StreamSegment,
  onEvent: OnEvent | null = null,
): Promise<number> {
  const chain = reader.chain()
  const { key, stream, firstSequence, lastSequence, firstUlid, lastUlid } = entry
  // Before room is made for them: the numbers are those of the timeline, which somebody else may have written.
  if (reader.info.events + chain.erased.length !== lastSequence - firstSequence + 1)
    throw wrongContent(key, 'events are missing')
  const check = new ChainCheck(key, [{ stream, firstSequence, lastSequence, firstUlid, lastUlid, chain }])
  await check.addFile(reader, entry, onEvent)
  if (chain.previous !== entry.chain.previous || chainValue(chain) !== entry.chain.value)
    throw wrongContent(key, 'its hash chain is not the one that the timeline has')
  check.end()
  return entry.events
}

/** Gives every event of a segment, in the order of its rows, as its checksums have it. Errors: `SEGMENT_CORRUPT`. */
export async function eachEvent(reader: SegmentReader, onEvent: OnEvent): Promise<void> {
  for (const index of reader.rowGroups.keys()) {
    for (const event of eventsOf(await reader.readRowGroup(index, EVENT_COLUMNS))) await onEvent(event)
  }
}

/** Of one part of what is checked no more than its links and their rows: a run of many small segments has very many. */
interface CheckedPart
  extends Pick<PartChain, 'firstSequence' | 'lastSequence'>,
    Pick<SegmentChain, 'previous' | 'links'> {
  readonly rows: ChainRows
}

/**
 * The events of one or more files against the hash chains that they are parts of, and the order of their rows; the files may
 * come in any order.
 */
export class ChainCheck {
  readonly #name: string
  readonly #parts: ReadonlyMap<string, readonly CheckedPart[]>
  /** Of the files of a run, by their numbers. */
  readonly #orders: RowOrder[] = []
  #salted: Buffer = Buffer.alloc(64 * 1024)

  /** `name`: the key of what is checked. The chains are by stream and sequence. */
  constructor(name: string, chains: readonly PartChain[]) {
    this.#name = name
    const room = new ChainRoom(sequencesOf(chains))
    const parts = new Map<string, CheckedPart[]>()
    for (const { stream, firstSequence, lastSequence, chain } of chains) {
      const { previous, links, salts, erased } = chain
      const rows = new ChainRows(salts, firstSequence, lastSequence, room)
      for (const { sequence, ulid, digest } of erased)
        rows.setErased(sequence, ulid, latin1(Buffer.from(digest, 'hex')))
      const own = parts.get(stream) ?? []
      own.push({ firstSequence, lastSequence, previous, links, rows })
      parts.set(stream, own)
    }
    this.#parts = parts
  }

  /** Takes every event of a file. Errors: `OBJECT_CORRUPT`, `SEGMENT_CORRUPT`. */
  async addFile(
    reader: SegmentReader,
    file: SegmentFile,
    onEvent: OnEvent | null = null,
    onRowGroup: OnRowGroup | null = null,
  ): Promise<void> {
    if (file.filter !== undefined && file.filter !== reader.filter)
      throw wrongContent(file.key, 'its filter is not the one that the timeline has')
    const order = new RowOrder()
    if ('run' in reader.info) this.#orders[reader.info.file] = order
    let events = 0
    for (const index of reader.rowGroups.keys()) {
      const group = await this.#addGroup(reader, index, file, onEvent)
      if (!order.add(group)) throw wrongContent(file.key, 'its rows are not in order')
      onRowGroup?.(reader, index, group)
      events += group.rows
    }
    if (events !== file.events) throw wrongContent(file.key, 'events are missing')
  }

  /** Whether every event was there. */
  get isComplete(): boolean {
    return [...this.#parts.values()].flat().every(({ rows }) => rows.complete)
  }

  /**
   * Sees that nothing is missing, that the links are those of these events, and that the files follow one another. Errors:
   * `OBJECT_CORRUPT`.
   */
  end(): void {
    if (!this.isComplete) throw wrongContent(this.#name, 'events are missing')
    const orders = this.#orders.filter((order) => order !== undefined)
    if (!orders.every((order, i) => i === 0 || orders[i - 1]?.isFollowedBy(order) === true))
      throw wrongContent(this.#name, 'the files of its run are not in order')
    for (const { firstSequence, lastSequence, links, rows, ...part } of [...this.#parts.values()].flat()) {
      let [previous, first] = [part.previous, firstSequence]
      for (const [last, value] of links) {
        if (last < first || last > lastSequence || rows.link(previous, first, last) !== value)
          throw wrongContent(this.#name, `events ${first} to ${last} are not those that its hash chain was made of`)
        previous = value
        first = last + 1
      }
    }
  }

  /** By itself, so that nothing of a row group is left in memory when the next one is read. */
  async #addGroup(reader: SegmentReader, index: number, file: SegmentFile, onEvent: OnEvent | null): Promise<RowGroup> {
    const group = await reader.readRowGroup(index, EVENT_COLUMNS)
    const [streams, ulids, sequences] = [group.codes('stream'), group.bytes('ulid'), group.numbers('sequence')]
    const rows = new RowEvents(group)
    const [least, greatest] = [utf8(file.firstUlid), utf8(file.lastUlid)]
    for (let row = 0; row < group.rows; row++) {
      const [sequence, at] = [sequences[row] ?? 0, ulids.starts[row] ?? 0]
      const part = this.#partOf(streams.values[streams.codes[row] ?? -1] ?? '', sequence)
      if (part === null || compareAt(ulids.data, at, least) < 0 || compareAt(ulids.data, at, greatest) > 0)
        throw wrongContent(file.key, `event ${ulids.text(row)} is not what the timeline says`)
      const digest = this.#digest(part.rows, sequence, { group, rows, row })
      if (digest === null || !part.rows.set(sequence, ulids.data, at, digest))
        throw wrongContent(file.key, `event ${ulids.text(row)} is twice there, or stands where one was erased`)
    }
    if (onEvent !== null) for (const event of eventsOf(group)) await onEvent(event)
    return group
  }

  #partOf(stream: string, sequence: number): CheckedPart | null {
    const parts = this.#parts.get(stream) ?? []
    let [low, high] = [0, parts.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((parts[middle]?.lastSequence ?? 0) < sequence) low = middle + 1
      else high = middle
    }
    const part = parts[low]
    return part !== undefined && part.firstSequence <= sequence ? part : null
  }

  /** As Latin-1; null where the salt of the event is gone. */
  #digest(links: ChainRows, sequence: number, { group, rows, row }: PlacedRow): string | null {
    const size = rows.at(row)
    const isLarge = size > LARGE_BYTES
    const bytes = SALT_BYTES + (isLarge ? 0 : size)
    if (bytes > this.#salted.length) this.#salted = Buffer.alloc(2 * bytes)
    if (!links.putSalt(sequence, this.#salted)) return null
    if (isLarge) {
      const [event] = eventsOf(group, row, row + 1)
      return event === undefined ? null : latin1(digestEvent(this.#salted.subarray(0, SALT_BYTES), event))
    }
    return digestBytes(this.#salted.subarray(0, rows.write(this.#salted, SALT_BYTES, row)))
  }
}

/** A row of a row group. */
interface PlacedRow {
  readonly group: RowGroup
  readonly rows: RowEvents
  readonly row: number
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

/** How the ULID that begins at `start` stands to another one. */
function compareAt(data: Uint8Array, start: number, ulid: Uint8Array): number {
  for (let i = 0; i < ulid.length; i++) {
    const difference = (data[start + i] ?? 0) - (ulid[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

const NEXT = 'Keep the store as it is; restore the file from a copy, or restore to a moment that does not need it.'

/** The error for a file that is not what was noted when it was written. */
export function wrongContent(key: string, what: string): TidemarkError {
  return new TidemarkError('OBJECT_CORRUPT', `${key} is damaged: ${what}.`, { hint: NEXT, details: { key } })
}
