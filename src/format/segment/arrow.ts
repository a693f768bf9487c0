import {
  Binary,
  Bool,
  type Data,
  type DataType,
  Dictionary,
  Field,
  Int32,
  Int64,
  makeData,
  makeVector,
  RecordBatch,
  Schema,
  Struct,
  Table,
  TimestampMillisecond,
  tableToIPC,
  Utf8,
} from 'apache-arrow'
import { KINDS, OPERATIONS } from '../../model/event.ts'
import { FIELD } from '../event-codec.ts'
import type { EventColumns } from './columns.ts'
import type { Interner } from './interner.ts'
import { COLUMNS, type ColumnName } from './schema.ts'
import type { SortedRows } from './sort.ts'

/** The rows as an Arrow IPC stream, in buffers filled by hand: Arrow's own builders cost more than the Parquet encoder. */
export function arrowStream(columns: EventColumns, rows: SortedRows): Uint8Array {
  const data = columnData(columns, rows)
  const fields = COLUMNS.map(({ name, nullable }) => new Field(name, data[name].type, nullable))
  const children = COLUMNS.map(({ name }) => data[name])
  const batch = makeData({ type: new Struct(fields), length: rows.events.length, nullCount: 0, children })
  return tableToIPC(new Table([new RecordBatch(new Schema(fields), batch)]), 'stream')
}

function columnData(columns: EventColumns, rows: SortedRows): Record<ColumnName, Data<DataType>> {
  const { events, elided } = rows
  const field = (which: number): Data<Utf8> => bytesData(new Utf8(), columns, events, which, null)
  return {
    ...stampData(columns, events),
    stream: codesData(columns.streams, (row) => columns.streamOf[events[row] ?? 0] ?? 0, events.length),
    kind: codesData(KINDS, (row) => kindOf(columns, events[row] ?? 0), events.length),
    resource: codesData(texts(columns.resources), (row) => resourceOf(columns, events[row] ?? 0), events.length),
    record_id: field(FIELD.id),
    operation: codesData(OPERATIONS, (row) => columns.operation[events[row] ?? 0] ?? 0, events.length),
    actor: codesData(texts(columns.actors), (row) => columns.actor[events[row] ?? 0] ?? 0, events.length),
    transaction: field(FIELD.transaction),
    metadata: field(FIELD.metadata),
    before: bytesData(new Utf8(), columns, events, FIELD.beforeJson, elided),
    after: field(FIELD.afterJson),
    before_raw: bytesData(new Binary(), columns, events, FIELD.beforeRaw, elided),
    after_raw: bytesData(new Binary(), columns, events, FIELD.afterRaw, null),
    before_elided: flagsData(elided),
  }
}

function resourceOf(columns: EventColumns, event: number): number {
  return columns.items.parent(columns.item[event] ?? 0)
}

function kindOf(columns: EventColumns, event: number): number {
  return columns.resources.parent(resourceOf(columns, event))
}

function texts(interner: Interner): string[] {
  return Array.from({ length: interner.count }, (_, entry) => {
    const { buffer, start, end } = interner.span(entry)
    return buffer.toString('utf8', start, end)
  })
}

/** ULID, time and sequence in one pass over the events. */
function stampData(
  columns: EventColumns,
  events: Uint32Array,
): { ulid: Data<Utf8>; time: Data<TimestampMillisecond>; sequence: Data<Int64> } {
  const length = events.length
  const valueOffsets = new Int32Array(length + 1)
  const data = new Uint8Array(length * 26)
  const times = new BigInt64Array(length)
  const timeWords = new Uint32Array(times.buffer)
  const sequences = new BigInt64Array(length)
  const sequenceWords = new Uint32Array(sequences.buffer)
  for (let row = 0; row < length; row++) {
    const event = events[row] ?? 0
    const start = event * 26
    const at = row * 26
    for (let i = 0; i < 26; i++) data[at + i] = columns.ulids[start + i] ?? 0
    valueOffsets[row + 1] = at + 26
    writeInteger(timeWords, row, columns.time[event] ?? 0)
    writeInteger(sequenceWords, row, columns.sequence[event] ?? 0)
  }
  return {
    ulid: makeData({ type: new Utf8(), length, nullCount: 0, valueOffsets, data }),
    time: makeData({ type: new TimestampMillisecond('UTC'), length, nullCount: 0, data: times }),
    sequence: makeData({ type: new Int64(), length, nullCount: 0, data: sequences }),
  }
}

/** A non-negative safe integer as two little-endian words; a BigInt a row would cost more than all else here. */
function writeInteger(words: Uint32Array, row: number, value: number): void {
  words[row * 2] = value % 2 ** 32
  words[row * 2 + 1] = Math.floor(value / 2 ** 32)
}

/** A variable field of the events; null where it is absent, or where `hidden` says so. */
function bytesData<T extends Utf8 | Binary>(
  type: T,
  columns: EventColumns,
  events: Uint32Array,
  field: number,
  hidden: Uint8Array | null,
): Data<T> {
  const length = events.length
  const valueOffsets = new Int32Array(length + 1)
  const nullBitmap = new Uint8Array((length + 7) >> 3)
  let nullCount = 0
  let total = 0
  for (let row = 0; row < length; row++) {
    const event = events[row] ?? 0
    if (columns.has(event, field) && hidden?.[row] !== 1) {
      total += columns.end(event, field) - columns.start(event, field)
      nullBitmap[row >> 3] = (nullBitmap[row >> 3] ?? 0) | (1 << (row & 7))
    } else nullCount++
    valueOffsets[row + 1] = total
  }
  const data = scratch(field, total)
  for (let row = 0; row < length; row++) {
    const at = valueOffsets[row] ?? 0
    if (valueOffsets[row + 1] === at) continue
    const event = events[row] ?? 0
    const start = columns.start(event, field)
    copy(columns.bufferAt(event), start, columns.end(event, field), data, at)
  }
  const bytes = new Uint8Array(data.buffer, data.byteOffset, total)
  return dataOf(type, { length, nullCount, nullBitmap, valueOffsets, data: bytes })
}

const REUSED_BYTES = 64 << 20
const reused = new Map<number, Buffer>()

/**
 * A buffer for the values of a field, valid until the next segment: fresh memory of this size costs more to map and
 * to collect than the copying into it. Large ones are not kept.
 */
function scratch(field: number, bytes: number): Buffer {
  const known = reused.get(field)
  if (known !== undefined && known.length >= bytes) return known
  const fresh = Buffer.allocUnsafeSlow(Math.ceil(bytes * 1.25))
  if (fresh.length <= REUSED_BYTES) reused.set(field, fresh)
  return fresh
}

interface Buffers {
  readonly length: number
  readonly nullCount: number
  readonly nullBitmap: Uint8Array
  readonly valueOffsets: Int32Array
  readonly data: Uint8Array
}

function dataOf<T extends Utf8 | Binary>(type: T, buffers: Buffers): Data<T> {
  return makeData<DataType>({ type, ...buffers }) as Data<T>
}

/** Short runs byte by byte: a call into the runtime costs more. */
function copy(source: Buffer, start: number, end: number, target: Buffer, at: number): void {
  if (end - start > 32) source.copy(target, at, start, end)
  else for (let i = start; i < end; i++) target[at + i - start] = source[i] ?? 0
}

/** A column of few distinct values; a negative code is null. */
function codesData(
  values: readonly string[],
  codeOf: (row: number) => number,
  length: number,
): Data<Dictionary<Utf8, Int32>> {
  const data = new Int32Array(length)
  const nullBitmap = new Uint8Array((length + 7) >> 3)
  let nullCount = 0
  for (let row = 0; row < length; row++) {
    const code = codeOf(row)
    if (code < 0) nullCount++
    else {
      data[row] = code
      nullBitmap[row >> 3] = (nullBitmap[row >> 3] ?? 0) | (1 << (row & 7))
    }
  }
  const type = new Dictionary(new Utf8(), new Int32())
  return makeData({ type, length, nullCount, nullBitmap, data, dictionary: makeVector(textData(values)) })
}

function textData(values: readonly string[]): Data<Utf8> {
  const encoded = values.map((value) => Buffer.from(value))
  const valueOffsets = new Int32Array(encoded.length + 1)
  encoded.forEach((bytes, i) => {
    valueOffsets[i + 1] = (valueOffsets[i] ?? 0) + bytes.length
  })
  return makeData({
    type: new Utf8(),
    length: encoded.length,
    nullCount: 0,
    valueOffsets,
    data: Buffer.concat(encoded),
  })
}

function flagsData(flags: Uint8Array): Data<Bool> {
  const data = new Uint8Array((flags.length + 7) >> 3)
  for (let row = 0; row < flags.length; row++) {
    if (flags[row] === 1) data[row >> 3] = (data[row >> 3] ?? 0) | (1 << (row & 7))
  }
  return makeData({ type: new Bool(), length: flags.length, nullCount: 0, data })
}
