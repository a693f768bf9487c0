import { KINDS, OPERATIONS } from '../../model/event.ts'
import { EVENT_HEADER_BYTES, FIELD } from '../event-codec.ts'
import type { RowGroup } from './row-group.ts'
import type { ByteValues, CodedValues } from './values.ts'

/** Bytes of the fixed part before the ULID, and of the ULID. */
const ULID_AT = 16
const ULID_BYTES = 26
const LENGTHS_AT = 42
const FIELDS = 9
const ITEM = (1 << FIELD.resource) | (1 << FIELD.id)
const BEFORE = 1 << FIELD.beforeJson
const AFTER = 1 << FIELD.afterJson
/** Which of the images an operation has, in the order of OPERATIONS. */
const IMAGES: readonly number[] = [AFTER, BEFORE | AFTER, BEFORE]

/** As names that a file may or may not have right. */
const KIND_NAMES: readonly string[] = KINDS
const OPERATION_NAMES: readonly string[] = OPERATIONS

/** A column of few distinct values, with their bytes. */
interface Codes {
  readonly codes: Int32Array
  readonly bytes: readonly Buffer[]
}

/** A column of bytes. */
interface Bytes {
  readonly values: ByteValues
  readonly data: Buffer
}

/**
 * The events of a row group as `encodeEvent` writes them, made from its columns without an object each; images that were elided
 * are put back. Errors: `SEGMENT_CORRUPT` where the columns contradict each other.
 */
export class RowEvents {
  readonly #group: RowGroup
  readonly #ulid: Bytes
  readonly #sequence: Float64Array
  readonly #kind: CodedValues
  readonly #operation: CodedValues
  /** Index in KINDS, and in OPERATIONS, of each code; -1 for a name that is none. */
  readonly #kindOf: readonly number[]
  readonly #operationOf: readonly number[]
  readonly #resource: Codes
  readonly #actor: Codes
  readonly #id: Bytes
  readonly #transaction: Bytes
  readonly #metadata: Bytes
  readonly #images: readonly Bytes[]
  readonly #elided: Uint8Array
  /** Of the row that `size` was asked for: where each field is. */
  readonly #data: (Buffer | null)[] = new Array<Buffer | null>(FIELDS).fill(null)
  readonly #starts: Uint32Array = new Uint32Array(FIELDS)
  readonly #ends: Uint32Array = new Uint32Array(FIELDS)
  #present = 0

  constructor(group: RowGroup) {
    this.#group = group
    this.#ulid = withBuffer(group.bytes('ulid'))
    this.#sequence = group.numbers('sequence')
    this.#kind = group.codes('kind')
    this.#operation = group.codes('operation')
    this.#kindOf = this.#kind.values.map((name) => KIND_NAMES.indexOf(name))
    this.#operationOf = this.#operation.values.map((name) => OPERATION_NAMES.indexOf(name))
    this.#resource = withBytes(group.codes('resource'))
    this.#actor = withBytes(group.codes('actor'))
    this.#id = withBuffer(group.bytes('record_id'))
    this.#transaction = withBuffer(group.bytes('transaction'))
    this.#metadata = withBuffer(group.bytes('metadata'))
    this.#images = (['before', 'before_raw', 'after', 'after_raw'] as const).map((column) =>
      withBuffer(group.bytes(column)),
    )
    this.#elided = group.flags('before_elided')
  }

  get rows(): number {
    return this.#group.rows
  }

  /** Stands on a row, and returns how many bytes its event has. */
  at(row: number): number {
    this.#present = 0
    this.#setCode(FIELD.resource, this.#resource, row)
    this.#setBytes(FIELD.id, this.#id, row)
    this.#setCode(FIELD.actor, this.#actor, row)
    this.#setBytes(FIELD.transaction, this.#transaction, row)
    this.#setBytes(FIELD.metadata, this.#metadata, row)
    const isElided = this.#elided[row] === 1
    if (isElided && row === 0) throw this.#group.corrupt('a row group starts with an elided image')
    for (let i = 0; i < 4; i++) {
      const values = this.#images[isElided && i < 2 ? i + 2 : i]
      if (values !== undefined) this.#setBytes(FIELD.beforeJson + i, values, isElided && i < 2 ? row - 1 : row)
    }
    this.#check(row)
    let bytes = EVENT_HEADER_BYTES
    for (let field = 0; field < FIELDS; field++) bytes += (this.#ends[field] ?? 0) - (this.#starts[field] ?? 0)
    return bytes
  }

  /** Writes the event of the row that `at` stands on, at `offset`, where it must fit; returns the offset behind it. */
  write(target: Buffer, offset: number, row: number): number {
    target[offset + 4] = this.#kindOf[this.#kind.codes[row] ?? -1] ?? 0
    target[offset + 5] = this.#operationOf[this.#operation.codes[row] ?? -1] ?? 0
    target[offset + 6] = this.#present
    target[offset + 7] = this.#present >>> 8
    const sequence = this.#sequence[row] ?? 0
    writeU32(target, offset + 8, sequence % 2 ** 32)
    writeU32(target, offset + 12, Math.floor(sequence / 2 ** 32))
    copy(this.#ulid.data, this.#ulid.values.starts[row] ?? 0, ULID_BYTES, target, offset + ULID_AT)
    let at = offset + EVENT_HEADER_BYTES
    for (let field = 0; field < FIELDS; field++) {
      const start = this.#starts[field] ?? 0
      const length = (this.#ends[field] ?? 0) - start
      writeU32(target, offset + LENGTHS_AT + 4 * field, length)
      const data = this.#data[field]
      if (data != null && length > 0) copy(data, start, length, target, at)
      at += length
    }
    writeU32(target, offset, at - offset - 4)
    return at
  }

  #setCode(field: number, { codes, bytes }: Codes, row: number): void {
    const value = bytes[codes[row] ?? -1]
    this.#set(field, value ?? null, 0, value?.length ?? 0)
  }

  #setBytes(field: number, { values, data }: Bytes, row: number): void {
    if (values.isNull(row)) this.#set(field, null, 0, 0)
    else this.#set(field, data, values.starts[row] ?? 0, values.ends[row] ?? 0)
  }

  #set(field: number, data: Buffer | null, start: number, end: number): void {
    this.#data[field] = data
    this.#starts[field] = start
    this.#ends[field] = end
    if (data !== null) this.#present |= 1 << field
  }

  #check(row: number): void {
    const operation = this.#operationOf[this.#operation.codes[row] ?? -1] ?? -1
    const raws = (this.#present & ((1 << FIELD.beforeRaw) | (1 << FIELD.afterRaw))) >> 1
    const fits =
      (this.#kindOf[this.#kind.codes[row] ?? -1] ?? -1) >= 0 &&
      (this.#present & ITEM) === ITEM &&
      (this.#present & (BEFORE | AFTER)) === IMAGES[operation] &&
      (raws & ~this.#present) === 0 &&
      (this.#sequence[row] ?? 0) >= 1
    if (!fits) throw this.#group.corrupt(`row ${row} of a row group is no event`)
  }
}

function withBytes({ codes, values }: CodedValues): Codes {
  return { codes, bytes: values.map((value) => Buffer.from(value)) }
}

function withBuffer(values: ByteValues): Bytes {
  const { buffer, byteOffset, byteLength } = values.data
  return { values, data: Buffer.from(buffer, byteOffset, byteLength) }
}

/** Short runs byte by byte: a call into the runtime costs more. */
function copy(source: Buffer, start: number, length: number, target: Buffer, at: number): void {
  if (length > 32) source.copy(target, at, start, start + length)
  else for (let i = 0; i < length; i++) target[at + i] = source[start + i] ?? 0
}

function writeU32(target: Buffer, at: number, value: number): void {
  target[at] = value
  target[at + 1] = value >>> 8
  target[at + 2] = value >>> 16
  target[at + 3] = value >>> 24
}
