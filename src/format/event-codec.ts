import { isUtf8 } from 'node:buffer'
import { writeUtf8 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { type Change, type Image, KINDS, OPERATIONS } from '../model/event.ts'
import { isUlid, type Ulid } from '../model/ulid.ts'

/*
 * One event as bytes, the same in a journal frame and in what the sealer reads. Little endian.
 *
 *   0  u32  length of everything after this field
 *   4  u8   kind (index in KINDS)
 *   5  u8   operation (index in OPERATIONS)
 *   6  u16  bit i set: variable field i is present (absent and empty are different)
 *   8  u64  sequence
 *  16  26   ULID, ASCII
 *  42  u32  x 9, length of each variable field, 0 where absent
 *  78       the variable fields, in the order of FIELDS
 */
/** What stands before the variable fields. */
export const EVENT_HEADER_BYTES = 78
/** Events whose length tells about how long the others are. */
const SAMPLED_EVENTS = 64
const LENGTHS_AT = 42
const ULID_BYTES = 26
/** Most bytes of UTF-8 that a UTF-16 code unit becomes. */
const UTF8_BYTES_OF_A_UNIT = 3

type FieldName =
  | 'resource'
  | 'id'
  | 'actor'
  | 'transaction'
  | 'metadata'
  | 'beforeJson'
  | 'beforeRaw'
  | 'afterJson'
  | 'afterRaw'

/** The variable fields, in the order in which they stand. Text is UTF-8. */
export const FIELD: Readonly<Record<FieldName, number>> = {
  resource: 0,
  id: 1,
  actor: 2,
  transaction: 3,
  metadata: 4,
  beforeJson: 5,
  beforeRaw: 6,
  afterJson: 7,
  afterRaw: 8,
}

const FIELD_COUNT = 9

const ITEM = (1 << FIELD.resource) | (1 << FIELD.id)
const BEFORE = 1 << FIELD.beforeJson
const AFTER = 1 << FIELD.afterJson
/** Which of the images an operation has, in the order of OPERATIONS. */
const IMAGES: readonly number[] = [AFTER, BEFORE | AFTER, BEFORE]
const TEXTS: readonly number[] = [FIELD.resource, FIELD.id, FIELD.actor, FIELD.transaction, FIELD.metadata]

/** Bytes that `encodeEvent` will write for this change. */
export function encodedEventBytes(change: Change): number {
  const { context, before, after } = change
  return (
    EVENT_HEADER_BYTES +
    Buffer.byteLength(change.resource) +
    Buffer.byteLength(change.id) +
    textBytes(context.actor) +
    textBytes(context.transaction) +
    textBytes(context.metadata) +
    imageLength(before) +
    imageLength(after)
  )
}

function textBytes(value: string | null): number {
  return value === null ? 0 : Buffer.byteLength(value)
}

/** What `encodedEventBytes` is at most, without counting the bytes of any text. */
export function mostEventBytes({ resource, id, context, before, after }: Change): number {
  const { actor, transaction, metadata } = context
  const units =
    resource.length + id.length + (actor?.length ?? 0) + (transaction?.length ?? 0) + (metadata?.length ?? 0)
  return EVENT_HEADER_BYTES + UTF8_BYTES_OF_A_UNIT * units + imageLength(before) + imageLength(after)
}

function imageLength(image: Image | null): number {
  return image === null ? 0 : image.json.length + (image.raw?.length ?? 0)
}

/** Writes an event at `offset`, where `encodedEventBytes` must fit, and returns the offset behind it. */
export function encodeEvent(target: Buffer, offset: number, change: Change, ulid: Ulid, sequence: number): number {
  const { resource, id, context, before, after } = change
  const { actor, transaction, metadata } = context
  target[offset + 4] = KINDS.indexOf(change.kind)
  target[offset + 5] = OPERATIONS.indexOf(change.operation)
  writeU32(target, offset + 8, sequence % 2 ** 32)
  writeU32(target, offset + 12, Math.floor(sequence / 2 ** 32))
  for (let i = 0; i < ULID_BYTES; i++) target[offset + 16 + i] = ulid.charCodeAt(i)
  const lengths = offset + LENGTHS_AT
  let at = offset + EVENT_HEADER_BYTES
  at += writeText(target, at, lengths + 4 * FIELD.resource, resource)
  at += writeText(target, at, lengths + 4 * FIELD.id, id)
  at += writeText(target, at, lengths + 4 * FIELD.actor, actor)
  at += writeText(target, at, lengths + 4 * FIELD.transaction, transaction)
  at += writeText(target, at, lengths + 4 * FIELD.metadata, metadata)
  at += writeBytes(target, at, lengths + 4 * FIELD.beforeJson, before?.json)
  at += writeBytes(target, at, lengths + 4 * FIELD.beforeRaw, before?.raw)
  at += writeBytes(target, at, lengths + 4 * FIELD.afterJson, after?.json)
  at += writeBytes(target, at, lengths + 4 * FIELD.afterRaw, after?.raw)
  let present = ITEM
  if (actor !== null) present |= 1 << FIELD.actor
  if (transaction !== null) present |= 1 << FIELD.transaction
  if (metadata !== null) present |= 1 << FIELD.metadata
  present |= presentIn(before, FIELD.beforeJson) | presentIn(after, FIELD.afterJson)
  target[offset + 6] = present
  target[offset + 7] = present >>> 8
  writeU32(target, offset, at - offset - 4)
  return at
}

/** The bits of an image whose JSON is the field `json`: its raw form follows that. */
function presentIn(image: Image | null, json: number): number {
  if (image === null) return 0
  return image.raw === null ? 1 << json : 3 << json
}

/** Writes a field, and its length at `lengthAt`; returns the length. */
function writeText(target: Buffer, at: number, lengthAt: number, value: string | null): number {
  const length = value === null ? 0 : writeUtf8(target, at, value)
  writeU32(target, lengthAt, length)
  return length
}

function writeBytes(target: Buffer, at: number, lengthAt: number, value: Uint8Array | null | undefined): number {
  const length = value?.length ?? 0
  if (value && length > 0) target.set(value, at)
  writeU32(target, lengthAt, length)
  return length
}

/** Four stores cost less than the checks of `Buffer.writeUInt32LE`, ten times an event. */
function writeU32(target: Buffer, at: number, value: number): void {
  target[at] = value
  target[at + 1] = value >>> 8
  target[at + 2] = value >>> 16
  target[at + 3] = value >>> 24
}

/** About how many encoded events there are, by the lengths of the first; of bytes that are none, any number up to their length. */
export function expectedEvents(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let [at, count] = [0, 0]
  for (; count < SAMPLED_EVENTS && at + EVENT_HEADER_BYTES <= bytes.length; count++) at += 4 + view.getUint32(at, true)
  return at === 0 ? 0 : Math.ceil((count * bytes.length) / at)
}

/**
 * Reads encoded events one after the other without making an object of each: `next()` moves to the next event,
 * the members describe the current one. Fields are views into `bytes`.
 */
export class EventCursor {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #end: number
  #next: number
  /** Offset of the current event in the bytes. */
  offset = 0
  readonly #starts = new Uint32Array(FIELD_COUNT + 1)

  constructor(bytes: Uint8Array, start = 0, end: number = bytes.length) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#next = start
    this.#end = end
  }

  /** Moves to the next event; false at the end. Errors: `JOURNAL_CORRUPT` where a length does not fit. */
  next(): boolean {
    if (this.#next >= this.#end) return false
    const offset = this.#next
    const left = this.#end - offset
    if (left < EVENT_HEADER_BYTES) throw corrupt(offset)
    const end = offset + 4 + this.#view.getUint32(offset, true)
    if (end > this.#end || end < offset + EVENT_HEADER_BYTES) throw corrupt(offset)
    let at = offset + EVENT_HEADER_BYTES
    let filled = 0
    for (let field = 0; field < FIELD_COUNT; field++) {
      this.#starts[field] = at
      const length = this.#view.getUint32(offset + LENGTHS_AT + field * 4, true)
      if (length > LIMITS.fieldBytes) throw corrupt(offset)
      if (length > 0) filled |= 1 << field
      at += length
    }
    this.#starts[FIELD_COUNT] = at
    if (at !== end || this.kindIndexAt(offset) >= KINDS.length || !this.#fieldsFit(offset, filled))
      throw corrupt(offset)
    this.offset = offset
    this.#next = end
    return true
  }

  /** That the fields which are there are those of the operation, and that no other one has bytes. */
  #fieldsFit(offset: number, filled: number): boolean {
    const present = this.#view.getUint16(offset + 6, true)
    const raws = ((present & (1 << FIELD.beforeRaw)) >> 1) | ((present & (1 << FIELD.afterRaw)) >> 1)
    return (
      present >> FIELD_COUNT === 0 &&
      (filled & ~present) === 0 &&
      (present & ITEM) === ITEM &&
      (present & (BEFORE | AFTER)) === IMAGES[this.operationIndexAt(offset)] &&
      (raws & ~present) === 0 &&
      this.#view.getUint32(offset + 12, true) < 2 ** 21
    )
  }

  /**
   * Looks at what `next` leaves alone, in the current event: its ULID, and that its texts are UTF-8. For bytes that
   * another process wrote. Errors: `JOURNAL_CORRUPT`.
   */
  checkTexts(): void {
    const ulid = Buffer.from(this.ulidBytes).toString('latin1')
    if (isUlid(ulid) && TEXTS.every((field) => isUtf8(this.field(field) ?? new Uint8Array(0)))) return
    throw corrupt(this.offset)
  }

  private kindIndexAt(offset: number): number {
    return this.#view.getUint8(offset + 4)
  }

  private operationIndexAt(offset: number): number {
    return this.#view.getUint8(offset + 5)
  }

  /** Index in `KINDS`. */
  get kindIndex(): number {
    return this.kindIndexAt(this.offset)
  }

  /** Index in `OPERATIONS`. */
  get operationIndex(): number {
    return this.operationIndexAt(this.offset)
  }

  get sequence(): number {
    return this.#view.getUint32(this.offset + 8, true) + this.#view.getUint32(this.offset + 12, true) * 2 ** 32
  }

  /** The ULID's 26 ASCII bytes. */
  get ulidBytes(): Uint8Array {
    return this.#bytes.subarray(this.offset + 16, this.offset + LENGTHS_AT)
  }

  /** Where the ULID's bytes start. */
  get ulidStart(): number {
    return this.offset + 16
  }

  /** Bit i is set where variable field i is present. */
  get present(): number {
    return this.#view.getUint16(this.offset + 6, true)
  }

  /** Where a variable field starts; field 9 is the end of the last one. For readers that copy no field out. */
  startOf(field: number): number {
    return this.#starts[field] ?? 0
  }

  /** One of `FIELD`, or null where it is absent. */
  field(field: number): Uint8Array | null {
    if ((this.#view.getUint16(this.offset + 6, true) & (1 << field)) === 0) return null
    return this.#bytes.subarray(this.#starts[field], this.#starts[field + 1])
  }
}

function corrupt(offset: number): TidemarkError {
  return new TidemarkError(
    'JOURNAL_CORRUPT',
    `The journal holds an event at byte ${offset} that does not fit its frame.`,
    {
      hint: 'Keep the journal directory as it is and run `tidemark verify`; events already in the store are not affected.',
    },
  )
}
