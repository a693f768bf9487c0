import fc from 'fast-check'
import { encodedEventBytes, encodeEvent } from '../../src/format/event-codec.ts'
import type { EncodedSegment } from '../../src/format/segment/encode.ts'
import { EVENT_COLUMNS, eventsOf } from '../../src/format/segment/events.ts'
import { openSegment, type SegmentReader } from '../../src/format/segment/read.ts'
import { type Change, changeBetween, type Event, type Image, type Kind } from '../../src/model/event.ts'
import { UlidGenerator } from '../../src/model/ulid.ts'
import { image, show, trickyId } from './arbitrary.ts'

const id = fc.oneof(trickyId, fc.constantFrom('\0', 'a\0', 'a\0b', '\u{10ffff}', '\uffff', 'x'.repeat(1000)))
const note = fc.option(fc.oneof(fc.constant(''), fc.string({ unit: 'grapheme', maxLength: 9 })))

interface Step {
  readonly kind: Kind
  readonly resource: string
  readonly id: string
  /** Whether the before-image is the last after-image of the item, as in life. */
  readonly chained: boolean
  readonly before: Image | null
  readonly after: Image | null
  readonly actor: string | null
  readonly transaction: string | null
  readonly metadata: string | null
  readonly wait: number
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom<Kind>('schema', 'object', 'record', 'record', 'record'),
  resource: fc.oneof({ weight: 3, arbitrary: fc.constantFrom('users', 'orders') }, { weight: 1, arbitrary: id }),
  id: fc.oneof({ weight: 2, arbitrary: fc.constantFrom('u1', 'u2') }, { weight: 1, arbitrary: id }),
  chained: fc.integer({ min: 0, max: 4 }).map((n) => n > 0),
  before: fc.option(image),
  after: fc.option(image),
  actor: note,
  transaction: note,
  metadata: fc.option(fc.jsonValue({ maxDepth: 1 }).map((value) => JSON.stringify(value))),
  wait: fc.double({ min: 0, max: 3, noNaN: true }),
})

/** Events of one stream: mostly unbroken chains of images on few items, with ids and texts of every kind. */
export function events(stream = 's1', maxLength = 60, minLength = 1): fc.Arbitrary<Event[]> {
  return fc
    .tuple(fc.array(step, { minLength, maxLength, size: 'max' }), fc.integer({ min: 1, max: 2 ** 52 }))
    .map(([steps, firstSequence]) => stamped(stream, firstSequence, steps))
    .filter((list) => list.length > 0)
}

function stamped(stream: string, firstSequence: number, steps: readonly Step[]): Event[] {
  let now = 1_700_000_000_000
  const ulids = new UlidGenerator(() => now, Buffer.from(stream.padEnd(8)))
  const last = new Map<string, Image | null>()
  const out: Event[] = []
  for (const { kind, resource, id: itemId, chained, before, after, wait, ...context } of steps) {
    const item = { kind, resource, id: itemId }
    const key = JSON.stringify(item)
    const { actor, transaction, metadata } = context
    const change = changeBetween(item, chained ? (last.get(key) ?? null) : before, after, {
      actor,
      transaction,
      metadata,
    })
    if (change === null) continue
    last.set(key, after)
    now += wait
    out.push({ ...change, stamp: { ulid: ulids.next(), stream, sequence: firstSequence + out.length } })
  }
  return out
}

/** Encoded events in as many buffers as asked for. */
export function frames(list: readonly Event[], buffers = 2): Uint8Array[] {
  const size = Math.ceil(list.length / buffers)
  return Array.from({ length: Math.ceil(list.length / size) }, (_, i) => {
    const part = list.slice(i * size, (i + 1) * size)
    const change = (event: Event): Change => event
    const buffer = Buffer.alloc(part.reduce((sum, event) => sum + encodedEventBytes(change(event)), 0))
    let at = 0
    for (const event of part) at = encodeEvent(buffer, at, event, event.stamp.ulid, event.stamp.sequence)
    return buffer
  })
}

const RANK: readonly Kind[] = ['schema', 'object', 'record']

/** The documented order of rows, written again. */
export function sortedEvents(list: readonly Event[]): Event[] {
  const bytes = (text: string): Buffer => Buffer.from(text)
  return [...list].sort(
    (a, b) =>
      RANK.indexOf(a.kind) - RANK.indexOf(b.kind) ||
      Buffer.compare(bytes(a.resource), bytes(b.resource)) ||
      Buffer.compare(bytes(a.id), bytes(b.id)) ||
      Buffer.compare(bytes(a.stamp.ulid), bytes(b.stamp.ulid)),
  )
}

/** A comparable form of an event: every byte of it. */
export function showEvent(event: Event): string {
  const { kind, resource, id: itemId, operation, context, stamp } = event
  const { actor, transaction, metadata } = context
  return JSON.stringify([
    [stamp.ulid, stamp.stream, stamp.sequence],
    [kind, resource, itemId, operation],
    [actor, transaction, metadata],
    [show(event.before), show(event.after)],
  ])
}

/** Opens encoded bytes, counting what is read of them. */
export async function open(
  segment: EncodedSegment,
  bytes: Uint8Array = segment.bytes,
  footer: EncodedSegment['info']['footer'] | null = segment.info.footer,
): Promise<{ reader: SegmentReader; reads: [number, number][] }> {
  const reads: [number, number][] = []
  const read = async (start: number, end: number): Promise<Uint8Array> => {
    reads.push([start, end])
    return bytes.subarray(start, end)
  }
  return { reader: await openSegment({ name: 'segment/test.parquet', bytes: bytes.length, footer, read }), reads }
}

export async function allEvents(reader: SegmentReader): Promise<Event[]> {
  const out: Event[] = []
  for (let i = 0; i < reader.rowGroups.length; i++) out.push(...eventsOf(await reader.readRowGroup(i, EVENT_COLUMNS)))
  return out
}
