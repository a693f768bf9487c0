import { TidemarkError } from '../base/errors.ts'
import { ChainRows, chainValue, digestEvent, type SegmentChain } from '../format/segment/chain.ts'
import { EVENT_COLUMNS, eventsOf } from '../format/segment/events.ts'
import type { SegmentReader } from '../format/segment/read.ts'
import type { Event } from '../model/event.ts'
import type { SegmentEntry } from '../model/timeline.ts'

/** Is given an event; the next one waits for it. */
export type OnEvent = (event: Event) => Promise<void> | void

/**
 * Checks every event of a segment, in the order of its rows, against what the timeline says of it and against its hash
 * chain: once this has resolved, none was missing, twice there or changed. Returns how many there are. Errors:
 * `OBJECT_CORRUPT`, `SEGMENT_CORRUPT`.
 */
export async function checkEvents(
  reader: SegmentReader,
  entry: SegmentEntry,
  onEvent: OnEvent = () => {},
): Promise<number> {
  const chain = reader.chain()
  // Before room is made for them: the numbers are those of the timeline, which somebody else may have written.
  if (reader.info.events + chain.erased.length !== entry.lastSequence - entry.firstSequence + 1)
    throw wrongContent(entry.key, 'events are missing')
  const rows = new ChainRows(entry.firstSequence, entry.lastSequence)
  for (const { sequence, ulid, digest } of chain.erased) rows.set(sequence, ulid, Buffer.from(digest, 'hex'))
  let events = 0
  const check = (event: Event): void => {
    const { stamp } = event
    const inside = stamp.ulid >= entry.firstUlid && stamp.ulid <= entry.lastUlid && stamp.stream === entry.stream
    if (!inside) throw wrongContent(entry.key, `event ${stamp.ulid} is not what the timeline says`)
    const salt = chain.salts.of(stamp.sequence)
    if (salt === null || !rows.set(stamp.sequence, stamp.ulid, digestEvent(salt, event)))
      throw wrongContent(entry.key, `event ${stamp.ulid} is twice there, or stands where one was erased`)
    events++
  }
  for (const index of reader.rowGroups.keys()) await eachOf(reader, index, check, onEvent)
  if (events !== entry.events || !rows.complete) throw wrongContent(entry.key, 'events are missing')
  if (chain.previous !== entry.chain.previous || chainValue(chain) !== entry.chain.value)
    throw wrongContent(entry.key, 'its hash chain is not the one that the timeline has')
  checkLinks(entry, chain, rows)
  return events
}

/** By itself, so that nothing of a row group is left in memory when the next one is read. */
async function eachOf(
  reader: SegmentReader,
  index: number,
  check: (event: Event) => void,
  onEvent: OnEvent,
): Promise<void> {
  for (const event of eventsOf(await reader.readRowGroup(index, EVENT_COLUMNS))) {
    check(event)
    await onEvent(event)
  }
}

function checkLinks(entry: SegmentEntry, chain: SegmentChain, rows: ChainRows): void {
  let [previous, first] = [chain.previous, entry.firstSequence]
  for (const [last, value] of chain.links) {
    if (last < first || last > entry.lastSequence || rows.link(previous, first, last) !== value)
      throw wrongContent(entry.key, `events ${first} to ${last} are not those that its hash chain was made of`)
    previous = value
    first = last + 1
  }
}

const NEXT = 'Keep the store as it is; restore the file from a copy, or restore to a moment that does not need it.'

/** The error for a file that is not what was noted when it was written. */
export function wrongContent(key: string, what: string): TidemarkError {
  return new TidemarkError('OBJECT_CORRUPT', `${key} is damaged: ${what}.`, { hint: NEXT, details: { key } })
}
