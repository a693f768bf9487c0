import { encodedEventBytes, encodeEvent } from '../format/event-codec.ts'
import { digestEvent, type ErasedEvent, type SegmentChain } from '../format/segment/chain.ts'
import { EventColumns } from '../format/segment/columns.ts'
import { type EncodedSegment, encodeColumns } from '../format/segment/encode.ts'
import { EVENT_COLUMNS, eventsOf } from '../format/segment/events.ts'
import type { SegmentReader } from '../format/segment/read.ts'
import type { Event, Item } from '../model/event.ts'

/** A segment without the events of an item, and how many these were. */
export interface RewrittenSegment extends EncodedSegment {
  readonly erased: number
}

/**
 * The segment again without the content of the item's events: their sequences, ULIDs and digests stay, for the chain,
 * which is what it was; their salts go, so that the digests say nothing. Null where it has none of the item.
 */
export async function withoutItem(reader: SegmentReader, item: Item): Promise<RewrittenSegment | null> {
  if (!reader.mayContain(item)) return null
  const { stream, level, firstSequence, lastSequence } = reader.info
  const chain = reader.chain()
  const columns = new EventColumns()
  const erased: ErasedEvent[] = []
  for (const index of reader.rowGroups.keys()) {
    const group = await reader.readRowGroup(index, EVENT_COLUMNS)
    for (const event of eventsOf(group)) {
      if (isOf(event, item)) erased.push(erasedEvent(event, chain))
      else columns.append(event.stamp.stream, encoded(event))
    }
  }
  if (erased.length === 0) return null
  const gone = [...chain.erased, ...erased].sort((a, b) => a.sequence - b.sequence)
  const salts = chain.salts.without(new Set(gone.map(({ sequence }) => sequence)), firstSequence, lastSequence)
  const range = { ...reader.info, events: columns.count }
  const { bytes, info } = encodeColumns(columns, { stream, level }, { ...chain, salts, erased: gone }, range)
  return { bytes, info, erased: erased.length }
}

function isOf(event: Event, { kind, resource, id }: Item): boolean {
  return event.kind === kind && event.resource === resource && event.id === id
}

function erasedEvent(event: Event, { salts }: SegmentChain): ErasedEvent {
  const { sequence, ulid } = event.stamp
  const salt = salts.of(sequence)
  if (salt === null) throw new RangeError(`event ${sequence} has no salt`)
  return { sequence, ulid, digest: Buffer.from(digestEvent(salt, event)).toString('hex') }
}

function encoded(event: Event): Buffer {
  const bytes = Buffer.alloc(encodedEventBytes(event))
  encodeEvent(bytes, 0, event, event.stamp.ulid, event.stamp.sequence)
  return bytes
}
