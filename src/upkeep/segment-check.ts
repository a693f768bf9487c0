import { TidemarkError } from '../base/errors.ts'
import { ChainRows, chainValue, digestEvent, type SegmentChain } from '../format/segment/chain.ts'
import { EVENT_COLUMNS, eventsOf } from '../format/segment/events.ts'
import type { SegmentReader } from '../format/segment/read.ts'
import type { Event } from '../model/event.ts'
import type { SegmentEntry } from '../model/timeline.ts'

/**
 * Every event of a segment, in the order of its rows, checked against what the timeline says of it and against its hash
 * chain: once it has ended, none was missing, twice there or changed. Errors: `OBJECT_CORRUPT`, `SEGMENT_CORRUPT`.
 */
export async function* checkedEvents(reader: SegmentReader, entry: SegmentEntry): AsyncGenerator<Event> {
  const chain = reader.chain()
  // Before room is made for them: the numbers are those of the timeline, which somebody else may have written.
  if (reader.info.events + chain.erased.length !== entry.lastSequence - entry.firstSequence + 1)
    throw wrongContent(entry.key, 'events are missing')
  const rows = new ChainRows(entry.firstSequence, entry.lastSequence)
  for (const { sequence, ulid, digest } of chain.erased) rows.set(sequence, ulid, Buffer.from(digest, 'hex'))
  let events = 0
  for (const index of reader.rowGroups.keys()) {
    for (const event of eventsOf(await reader.readRowGroup(index, EVENT_COLUMNS))) {
      const { stamp } = event
      const inside = stamp.ulid >= entry.firstUlid && stamp.ulid <= entry.lastUlid && stamp.stream === entry.stream
      if (!inside) throw wrongContent(entry.key, `event ${stamp.ulid} is not what the timeline says`)
      const salt = chain.salts.of(stamp.sequence)
      if (salt === null || !rows.set(stamp.sequence, stamp.ulid, digestEvent(salt, event)))
        throw wrongContent(entry.key, `event ${stamp.ulid} is twice there, or stands where one was erased`)
      events++
      yield event
    }
  }
  if (events !== entry.events || !rows.complete) throw wrongContent(entry.key, 'events are missing')
  if (chain.previous !== entry.chain.previous || chainValue(chain) !== entry.chain.value)
    throw wrongContent(entry.key, 'its hash chain is not the one that the timeline has')
  checkLinks(entry, chain, rows)
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
