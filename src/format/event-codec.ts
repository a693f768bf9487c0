import { isUtf8 } from 'node:buffer'
import { writeUtf8 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { type Change, KINDS, OPERATIONS } from '../model/event.ts'
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
const LENGTHS_AT = 42
const ULID_BYTES = 26

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
    (before?.json.length ?? 0) +
    (before?.raw?.length ?? 0) +
    (after?.json.length ?? 0) +
    (after?.raw?.length ?? 0)
  )
}

function textBytes(value: string | null): number {
  return value === null ? 0 : Buffer.byteLength(value)
}

/** Writes an event at `offset`, where `encodedEventBytes` must fit, and returns the offset behind it. */
export function encodeEvent(target: Buffer, offset: number, change: Change, ulid: Ulid, sequence: number): number {
  const { context, before, after } = change
  target[offset + 4] = KINDS.indexOf(change.kind)
  target[offset + 5] = OPERATIONS.indexOf(change.operation)
  target.writeUInt32LE(sequence % 2 ** 32, offset + 8)
  target.writeUInt32LE(Math.floor(sequence / 2 ** 32), offset + 12)
  for (let i = 0; i < ULID_BYTES; i++) target[offset + 16 + i] = ulid.charCodeAt(i)
  let at = offset + EVENT_HEADER_BYTES
  let lengthsAt = offset + LENGTHS_AT
  let present = 0
  let field = 0
  const write = (value: string | Uint8Array | null): void => {
    let length = 0
    if (value !== null) {
      present |= 1 << field
      if (typeof value === 'string') length = writeUtf8(target, at, value)
      else {
        target.set(value, at)
        length = value.length
      }
    }
    target.writeUInt32LE(length, lengthsAt)
    lengthsAt += 4
    at += length
    field++
  }
  write(change.resource)
  write(change.id)
  write(context.actor)
  write(context.transaction)
  write(context.metadata)
  write(before?.json ?? null)
  write(before?.raw ?? null)
  write(after?.json ?? null)
  write(after?.raw ?? null)
  target.writeUInt16LE(present, offset + 6)
  target.writeUInt32LE(at - offset - 4, offset)
  return at
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
