import { KINDS, OPERATIONS } from '../../model/event.ts'
import { FIELD } from '../event-codec.ts'
import { ByteWriter } from './byte-writer.ts'
import type { EventColumns } from './columns.ts'
import { encodeBooleans, encodeDelta, encodeHybrid, widthOf } from './encode-values.ts'
import type { Span } from './interner.ts'
import type { BytesColumn, ColumnDeclaration, ColumnName } from './schema.ts'
import type { SortedRows } from './sort.ts'

/** A column of a row group, before it is compressed: views that are valid until the next one is made. */
export interface ColumnPages {
  readonly dictionary: { readonly values: number; readonly body: Buffer } | null
  readonly data: Buffer
  readonly nulls: number
  /** Least and greatest value as Parquet has them; null where nobody asks for them, or they are long. */
  readonly bounds: readonly [Buffer, Buffer] | null
}

/** Rows `[from, to)`. */
export interface RowRange {
  readonly from: number
  readonly to: number
}

/** Longer ones would make a footer large that is read for other things. */
const LONGEST_BOUND = 64
const ULID_BYTES = 26

/** Fields of the columns whose values stand one after the other. */
const FIELDS: Readonly<Partial<Record<ColumnName, number>>> = {
  transaction: FIELD.transaction,
  metadata: FIELD.metadata,
  before: FIELD.beforeJson,
  after: FIELD.afterJson,
  before_raw: FIELD.beforeRaw,
  after_raw: FIELD.afterRaw,
} satisfies Partial<Record<BytesColumn, number>>

const data = new ByteWriter()
const dictionary = new ByteWriter()

/** Makes the pages of the columns of sorted rows, straight from the buffers that hold the events. */
export class PageMaker {
  readonly #columns: EventColumns
  readonly #rows: SortedRows
  readonly #kinds = spans(KINDS)
  readonly #operations = spans(OPERATIONS)
  readonly #streams: readonly Span[]
  /** Of each value of a dictionary column: its code in the row group, if it was met there. */
  readonly #codeOf: Int32Array
  #codes = new Int32Array(0)
  #numbers = new Float64Array(0)

  constructor(columns: EventColumns, rows: SortedRows) {
    this.#columns = columns
    this.#rows = rows
    this.#streams = spans(columns.streams)
    const { items, actors, resources, streams } = columns
    const most = Math.max(items.count, actors.count, resources.count, streams.length, KINDS.length, OPERATIONS.length)
    this.#codeOf = new Int32Array(most).fill(-1)
  }

  pages({ name, statistics }: ColumnDeclaration, range: RowRange): ColumnPages {
    data.clear()
    dictionary.clear()
    const rows = range.to - range.from
    if (this.#codes.length < rows) {
      this.#codes = new Int32Array(rows)
      this.#numbers = new Float64Array(rows)
    }
    const field = FIELDS[name]
    if (field !== undefined) return this.#values(field, range)
    const columns = this.#columns
    switch (name) {
      case 'ulid':
        return this.#ulids(range)
      case 'time':
        return this.#integers(columns.time, range, statistics)
      case 'sequence':
        return this.#integers(columns.sequence, range, statistics)
      case 'before_elided':
        encodeBooleans(data, this.#rows.elided.subarray(range.from, range.to))
        return { dictionary: null, data: data.view(), nulls: 0, bounds: null }
      default:
        return this.#coded(name, range, statistics)
    }
  }

  #ulids({ from, to }: RowRange): ColumnPages {
    const columns = this.#columns
    const { events } = this.#rows
    let [least, greatest] = [events[from] ?? 0, events[from] ?? 0]
    const { ulids } = columns
    let at = data.take((to - from) * (4 + ULID_BYTES))
    const { buffer } = data
    for (let row = from; row < to; row++) {
      const event = events[row] ?? 0
      if (columns.compareUlids(event, least) < 0) least = event
      else if (columns.compareUlids(event, greatest) > 0) greatest = event
      buffer[at] = ULID_BYTES
      buffer[at + 1] = buffer[at + 2] = buffer[at + 3] = 0
      at += 4
      const start = event * ULID_BYTES
      for (let i = 0; i < ULID_BYTES; i++) buffer[at + i] = ulids[start + i] ?? 0
      at += ULID_BYTES
    }
    const bounds = [Buffer.from(columns.ulidBytes(least)), Buffer.from(columns.ulidBytes(greatest))] as const
    return { dictionary: null, data: data.view(), nulls: 0, bounds }
  }

  #integers(values: Float64Array, { from, to }: RowRange, statistics: boolean): ColumnPages {
    const numbers = this.#numbers
    let [least, greatest] = [Number.POSITIVE_INFINITY, 0]
    for (let row = from; row < to; row++) {
      const value = values[this.#rows.events[row] ?? 0] ?? 0
      numbers[row - from] = value
      if (value < least) least = value
      if (value > greatest) greatest = value
    }
    encodeDelta(data, numbers, to - from)
    const bounds = statistics ? ([int64(least), int64(greatest)] as const) : null
    return { dictionary: null, data: data.view(), nulls: 0, bounds }
  }

  /** A variable field of the events, null where it is absent or was elided. */
  #values(field: number, { from, to }: RowRange): ColumnPages {
    const [columns, codes] = [this.#columns, this.#codes]
    const { events, elided } = this.#rows
    const canBeElided = field === FIELD.beforeJson || field === FIELD.beforeRaw
    let nulls = 0
    for (let row = from; row < to; row++) {
      const isThere = columns.has(events[row] ?? 0, field) && !(canBeElided && elided[row] === 1)
      codes[row - from] = isThere ? 1 : 0
      if (!isThere) nulls++
    }
    writeLevels(codes, to - from)
    if (nulls < to - from) {
      for (let row = from; row < to; row++) {
        if (codes[row - from] === 0) continue
        const event = events[row] ?? 0
        const [start, end] = [columns.start(event, field), columns.end(event, field)]
        data.u32(end - start)
        data.range(columns.bufferAt(event), start, end)
      }
    }
    return { dictionary: null, data: data.view(), nulls, bounds: null }
  }

  /** A column of values that come again: those of the row group once, in the order in which they appear, and codes. */
  #coded(name: ColumnName, range: RowRange, statistics: boolean): ColumnPages {
    const { used, count } = this.#codesOf(name, range)
    const values = used.map((entry) => this.#valueOf(name, entry))
    for (const { buffer, start, end } of values) {
      dictionary.u32(end - start)
      dictionary.range(buffer, start, end)
    }
    if (name === 'actor') writeLevels(this.#actorLevels(range), range.to - range.from)
    const width = used.length > 1 ? widthOf(used.length - 1) : 0
    data.byte(width)
    encodeHybrid(data, this.#codes, count, width)
    const body = dictionary.view()
    const bounds = statistics ? boundsOf(values) : null
    return {
      dictionary: { values: used.length, body },
      data: data.view(),
      nulls: range.to - range.from - count,
      bounds,
    }
  }

  /** Leaves the codes of the rows that are not null in `#codes`; returns the entries that they are of. */
  #codesOf(name: ColumnName, { from, to }: RowRange): { readonly used: readonly number[]; readonly count: number } {
    const [codes, codeOf, columns] = [this.#codes, this.#codeOf, this.#columns]
    const { events } = this.#rows
    // Entries of different parents may be the same text: an id in two resources, a resource in two kinds.
    const parentOf = name === 'record_id' ? columns.items : name === 'resource' ? columns.resources : null
    const entryAt = (row: number): number => entryOf(columns, name, events[row] ?? 0)
    const isMixed = parentOf !== null && parentOf.parent(entryAt(from)) !== parentOf.parent(entryAt(to - 1))
    const codeOfText = isMixed ? new Map<string, number>() : null
    const [met, used]: [number[], number[]] = [[], []]
    let count = 0
    for (let row = from; row < to; row++) {
      const entry = entryAt(row)
      if (entry < 0) continue
      let code = codeOf[entry] ?? 0
      if (code < 0) {
        const value = codeOfText === null ? '' : this.#textOf(name, entry)
        code = codeOfText?.get(value) ?? used.push(entry) - 1
        codeOfText?.set(value, code)
        codeOf[entry] = code
        met.push(entry)
      }
      codes[count++] = code
    }
    for (const entry of met) codeOf[entry] = -1
    return { used, count }
  }

  #actorLevels({ from, to }: RowRange): Int32Array {
    const { actor } = this.#columns
    const levels = new Int32Array(to - from)
    for (let row = from; row < to; row++) levels[row - from] = (actor[this.#rows.events[row] ?? 0] ?? -1) < 0 ? 0 : 1
    return levels
  }

  #textOf(name: ColumnName, entry: number): string {
    const { buffer, start, end } = this.#valueOf(name, entry)
    return buffer.toString('latin1', start, end)
  }

  #valueOf(name: ColumnName, entry: number): Span {
    const { items, actors, resources } = this.#columns
    if (name === 'record_id') return items.span(entry)
    if (name === 'resource') return resources.span(entry)
    if (name === 'actor') return actors.span(entry)
    const list = name === 'stream' ? this.#streams : name === 'kind' ? this.#kinds : this.#operations
    const value = list[entry]
    if (value === undefined) throw new RangeError(`column ${name} has no value ${entry}`)
    return value
  }
}

/** Definition levels of data page V1, 0 for null: their length, then a bit a row. */
function writeLevels(levels: Int32Array, count: number): void {
  const at = data.take(4)
  encodeHybrid(data, levels, count, 1)
  data.buffer.writeUInt32LE(data.length - at - 4, at)
}

/** The value of an event in a dictionary column, by its number; negative where it is null. */
function entryOf(columns: EventColumns, name: ColumnName, event: number): number {
  if (name === 'operation') return columns.operation[event] ?? 0
  if (name === 'actor') return columns.actor[event] ?? -1
  if (name === 'stream') return columns.streamOf[event] ?? 0
  const item = columns.item[event] ?? 0
  if (name === 'record_id') return item
  const resource = columns.items.parent(item)
  return name === 'resource' ? resource : columns.resources.parent(resource)
}

function spans(values: readonly string[]): Span[] {
  return values.map((value) => {
    const buffer = Buffer.from(value)
    return { buffer, start: 0, end: buffer.length }
  })
}

function boundsOf(values: readonly Span[]): readonly [Buffer, Buffer] | null {
  let [least, greatest] = [values[0], values[0]]
  for (const value of values) {
    if (least === undefined || compare(value, least) < 0) least = value
    if (greatest === undefined || compare(value, greatest) > 0) greatest = value
  }
  if (least === undefined || greatest === undefined) return null
  const bounds = [bytesOf(least), bytesOf(greatest)] as const
  return bounds.every(({ length }) => length <= LONGEST_BOUND) ? bounds : null
}

function compare(a: Span, b: Span): number {
  return a.buffer.compare(b.buffer, b.start, b.end, a.start, a.end)
}

function bytesOf({ buffer, start, end }: Span): Buffer {
  return buffer.subarray(start, end)
}

function int64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt32LE(value % 2 ** 32, 0)
  bytes.writeUInt32LE(Math.floor(value / 2 ** 32), 4)
  return bytes
}
