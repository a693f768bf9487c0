import { encodedEventBytes, encodeEvent } from '../format/event-codec.ts'
import { digestEvent, type ErasedEvent, type SegmentChain } from '../format/segment/chain.ts'
import { EventColumns } from '../format/segment/columns.ts'
import { type EncodedSegment, encodeColumns } from '../format/segment/encode.ts'
import { EVENT_COLUMNS, eventsOf } from '../format/segment/events.ts'
import type { SegmentReader } from '../format/segment/read.ts'
import type { PartChain, RunChain } from '../format/segment/run-chain.ts'
import { type EncodedRunFile, encodeRunFile } from '../format/segment/run-file.ts'
import type { Event, Item } from '../model/event.ts'

/** A segment without the events of an item, and how many these were. */
export interface RewrittenSegment extends EncodedSegment {
  readonly erased: number
}

/** An event without content, and the stream that it is of. */
export interface GoneEvent extends ErasedEvent {
  readonly stream: string
}

/** The same of a file of a run. */
export interface RewrittenRunFile extends EncodedRunFile {
  readonly gone: readonly GoneEvent[]
}

/**
 * A segment of level 0 again without the content of the item's events: their sequences, ULIDs and digests stay, for the chain,
 * which is what it was; their salts go, so that the digests say nothing. Null where it has none of the item.
 */
export async function withoutItem(reader: SegmentReader, item: Item): Promise<RewrittenSegment | null> {
  const { info } = reader
  if (!('stream' in info)) throw new RangeError('a file of a run is not rewritten by itself')
  const known = reader.chain()
  const { columns, gone } = await split(reader, item, () => known)
  if (gone.length === 0) return null
  const { stream, level } = info
  const chain = chainWithout(known, gone, info)
  const { bytes, info: written } = encodeColumns(columns, { stream, level }, chain, { ...info, events: columns.count })
  return { bytes, info: written, erased: gone.length }
}

/** A file of a run without the item; null where it has none. What becomes of the chains is for `runWithout`. */
export async function runFileWithout(
  reader: SegmentReader,
  { chains }: RunChain,
  item: Item,
): Promise<RewrittenRunFile | null> {
  const { info } = reader
  if (!('run' in info)) throw new RangeError('a segment of level 0 is no file of a run')
  const chainOf = ({ stamp }: Event): SegmentChain => {
    const part = chains.find((one) => isIn(one, stamp))
    if (part === undefined) throw new RangeError(`event ${stamp.ulid} is in no chain of its run`)
    return part.chain
  }
  const { columns, gone } = await split(reader, item, chainOf)
  return gone.length === 0 ? null : { ...encodeRunFile(columns, info, info), gone }
}

/** The chains of a run without the content of events. */
export function runWithout(run: RunChain, gone: readonly GoneEvent[], erasures: number): RunChain {
  const chains = run.chains.map((part): PartChain => {
    const own = gone.filter((event) => isIn(part, event))
    return own.length === 0 ? part : { ...part, chain: chainWithout(part.chain, own, part) }
  })
  return { ...run, erasures, chains }
}

function isIn(
  { stream, firstSequence, lastSequence }: PartChain,
  event: { readonly stream: string; readonly sequence: number },
): boolean {
  return event.stream === stream && event.sequence >= firstSequence && event.sequence <= lastSequence
}

/** The events of a segment but for those of an item, and what is left of these. */
async function split(
  reader: SegmentReader,
  item: Item,
  chainOf: (event: Event) => SegmentChain,
): Promise<{ readonly columns: EventColumns; readonly gone: readonly GoneEvent[] }> {
  const columns = new EventColumns()
  const gone: GoneEvent[] = []
  if (!reader.mayContain(item)) return { columns, gone }
  for (const index of reader.rowGroups.keys()) {
    const group = await reader.readRowGroup(index, EVENT_COLUMNS)
    for (const event of eventsOf(group)) {
      const { stream } = event.stamp
      if (isOf(event, item)) gone.push({ ...erasedEvent(event, chainOf(event)), stream })
      else columns.append(stream, encoded(event))
    }
  }
  return { columns, gone }
}

function chainWithout(
  chain: SegmentChain,
  gone: readonly GoneEvent[],
  { firstSequence, lastSequence }: Pick<PartChain, 'firstSequence' | 'lastSequence'>,
): SegmentChain {
  const erased = [...chain.erased, ...gone.map(({ stream: _, ...event }) => event)]
  erased.sort((a, b) => a.sequence - b.sequence)
  const salts = chain.salts.without(new Set(erased.map(({ sequence }) => sequence)), firstSequence, lastSequence)
  return { ...chain, salts, erased }
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
