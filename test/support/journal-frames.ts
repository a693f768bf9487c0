import fc from 'fast-check'
import { EMPTY } from '../../src/base/bytes.ts'
import { EventCursor, FIELD } from '../../src/format/event-codec.ts'
import type { Intent } from '../../src/format/intent-codec.ts'
import { decodeFrame, FrameBuilder, streamSeed } from '../../src/format/journal-frame.ts'
import {
  type Change,
  type Context,
  changeBetween,
  type Image,
  type Item,
  KINDS,
  OPERATIONS,
} from '../../src/model/event.ts'
import { firstUlidAt, type Ulid } from '../../src/model/ulid.ts'
import { image, show, trickyId } from './arbitrary.ts'

export const STREAM = '01KAJ0QZX3N5V7E8T9RYBWDCFG'
export const SEED: number = streamSeed(STREAM)
const WRITER = Uint8Array.of(1, 2, 3, 4, 5, 6)

/** What a frame is made of, and what must come out of it. */
export interface FrameParts {
  readonly changes: readonly { readonly change: Change; readonly settles: number }[]
  readonly intents: readonly Intent[]
  readonly aborted: readonly number[]
}

const item: fc.Arbitrary<Item> = fc.record({ kind: fc.constantFrom(...KINDS), resource: trickyId, id: trickyId })
const context: fc.Arbitrary<Context> = fc.record({
  actor: fc.option(trickyId),
  transaction: fc.option(trickyId),
  metadata: fc.option(fc.json({ maxDepth: 1 })),
})
const change: fc.Arbitrary<Change> = fc
  .tuple(item, context, fc.option(image), image, fc.boolean())
  .map(([about, who, before, after, isDelete]) => {
    const made = isDelete ? changeBetween(about, before ?? after, null, who) : changeBetween(about, before, after, who)
    if (made === null) throw new Error('both images cannot be null')
    return made
  })
const intentId = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
const fingerprints = fc.oneof(fc.constant(EMPTY), fc.uint8Array({ minLength: 32, maxLength: 32 }))
const intent: fc.Arbitrary<Intent> = fc.record({
  intent: intentId,
  item,
  before: fc.option(image),
  isAssumed: fc.boolean(),
  meant: fc.option(fingerprints),
  context,
})

export const frameParts: fc.Arbitrary<FrameParts> = fc.record({
  changes: fc.array(fc.record({ change, settles: fc.oneof(fc.constant(0), intentId) }), { maxLength: 6 }),
  intents: fc.array(intent, { maxLength: 4 }),
  aborted: fc.array(intentId, { maxLength: 4 }),
})

/** ULID of the event with this sequence. */
function ulidOf(sequence: number): Ulid {
  return firstUlidAt(1_760_000_000_000 + sequence)
}

/** A frame of these parts; a copy that the caller may keep. */
export function buildFrame(number: number, firstSequence: number, parts: FrameParts, keepFrom = 0): Uint8Array {
  const builder = new FrameBuilder()
  for (const [index, { change, settles }] of parts.changes.entries()) {
    builder.addEvent(change, ulidOf(firstSequence + index), firstSequence + index, settles)
  }
  for (const intent of parts.intents) builder.addIntent(intent)
  for (const intent of parts.aborted) builder.addAbort(intent)
  const lastUlid = ulidOf(firstSequence + parts.changes.length - 1)
  const standing = { number, firstSequence, sealedThrough: 3, keepFrom, lastUlid, writer: WRITER }
  return Uint8Array.from(builder.finish(standing, SEED))
}

/** Everything that a frame says, as comparable text. */
export function showFrame(bytes: Uint8Array): unknown {
  const frame = decodeFrame(bytes)
  const events: string[] = []
  const cursor = new EventCursor(frame.events)
  while (cursor.next()) {
    const fields = Object.values(FIELD).map((field) => showBytes(cursor.field(field)))
    const ulid = Buffer.from(cursor.ulidBytes).toString()
    events.push([cursor.sequence, ulid, cursor.kindIndex, cursor.operationIndex, ...fields].join(' '))
  }
  const { number, firstSequence, sealedThrough, keepFrom, lastUlid, eventCount } = frame
  return {
    ...{ number, firstSequence, sealedThrough, keepFrom, lastUlid, eventCount, events },
    ...{ settles: frame.settles(), aborted: frame.aborted(), intents: frame.intents().map(showIntent) },
  }
}

/** What `showFrame` must give for a frame of these parts: made without any codec. */
export function expectedFrame(number: number, firstSequence: number, parts: FrameParts, keepFrom = 0): unknown {
  const events = parts.changes.map(({ change }, index) => {
    const { before, after, context: who } = change
    const texts = [change.resource, change.id, who.actor, who.transaction, who.metadata]
    const fields = [
      ...texts.map((text) => showBytes(text === null ? null : Buffer.from(text))),
      ...[before?.json, before?.raw, after?.json, after?.raw].map((part) => showBytes(part ?? null)),
    ]
    const sequence = firstSequence + index
    const head = [sequence, ulidOf(sequence), KINDS.indexOf(change.kind), OPERATIONS.indexOf(change.operation)]
    return [...head, ...fields].join(' ')
  })
  const eventCount = parts.changes.length
  const lastUlid = ulidOf(firstSequence + eventCount - 1)
  return {
    ...{ number, firstSequence, sealedThrough: 3, keepFrom, lastUlid, eventCount, events },
    ...{ settles: parts.changes.map(({ settles }) => settles), aborted: parts.aborted },
    intents: parts.intents.map(showIntent),
  }
}

function showIntent({ intent, item, before, isAssumed, meant, context }: Intent): unknown {
  const about = { intent, item: { ...item }, isAssumed, meant: showBytes(meant) }
  return { ...about, before: showImage(before), context: { ...context } }
}

function showImage(value: Image | null): string {
  return show(value)
}

function showBytes(bytes: Uint8Array | null): string {
  return bytes === null ? '-' : `x${Buffer.from(bytes).toString('hex')}`
}

/** A frame with one event whose image is `size` bytes. */
export function simpleFrame(number: number, size = 20, keepFrom = 0): Uint8Array {
  const json = Buffer.from(`"${'v'.repeat(size - 2)}"`)
  const about = { kind: 'record', resource: 'r', id: `record ${number}` } as const
  const made = changeBetween(about, null, { json, raw: null }, { actor: null, transaction: null, metadata: null })
  if (made === null) throw new Error('an insert is a change')
  return buildFrame(number, number, { changes: [{ change: made, settles: 0 }], intents: [], aborted: [] }, keepFrom)
}
