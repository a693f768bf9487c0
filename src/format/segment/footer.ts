import { text } from '../../base/bytes.ts'
import { LIMITS } from '../../base/limits.ts'
import { expect } from './corrupt.ts'
import { COLUMNS, type ColumnDeclaration } from './schema.ts'
import { ThriftReader } from './thrift.ts'

/** One column of one row group: its bytes in the file, `[start, end)`. */
export interface ColumnChunk {
  readonly start: number
  readonly end: number
  readonly values: number
  readonly compressed: boolean
  /** Bytes of its pages before compression, with their headers. */
  readonly uncompressedBytes: number
}

/** Where a row group is, column by column. */
export interface RowGroupMetadata {
  readonly rows: number
  readonly chunks: readonly ColumnChunk[]
}

/** What the Parquet footer of a segment says. */
export interface Footer {
  readonly rows: number
  /** Length of the footer itself, trailer included. */
  readonly bytes: number
  readonly rowGroups: readonly RowGroupMetadata[]
  /** Key-value metadata; the values are views into the footer. */
  readonly metadata: ReadonlyMap<string, Uint8Array>
}

/** The trailing length and magic. */
export const TRAILER_BYTES = 8
/** At both ends of a file. */
export const MAGIC = 'PAR1'
/** Parquet's numbers for the types, repetitions and codecs that a segment uses. */
export const PHYSICAL: Readonly<Record<ColumnDeclaration['type'], number>> = {
  boolean: 0,
  int64: 2,
  time: 2,
  text: 6,
  binary: 6,
}
const REQUIRED = 0
const OPTIONAL = 1
/** Of the codecs. */
export const CODEC_NONE = 0
/** As in parquet.thrift too. */
export const CODEC_ZSTD = 6

/** Length of the footer, trailer included, by the last 8 bytes of a file of `fileBytes`. */
export function footerLength(trailer: Uint8Array, fileBytes: number): number {
  expect(trailer.length === TRAILER_BYTES, 'it is too short to be Parquet')
  const view = new DataView(trailer.buffer, trailer.byteOffset, TRAILER_BYTES)
  expect(Buffer.from(trailer.subarray(4)).toString('latin1') === MAGIC, 'it does not end as a Parquet file does')
  const length = view.getUint32(0, true) + TRAILER_BYTES
  expect(length <= LIMITS.footerBytes && length + MAGIC.length <= fileBytes, 'the length of its footer is impossible')
  return length
}

/** Parses a footer, trailer included, of a file of `fileBytes`. Throws `Malformed` for anything but a segment's. */
export function parseFooter(bytes: Uint8Array, fileBytes: number): Footer {
  expect(footerLength(bytes.subarray(-TRAILER_BYTES), fileBytes) === bytes.length, 'the length of its footer is wrong')
  const reader = new ThriftReader(bytes, 0, bytes.length - TRAILER_BYTES)
  const dataEnd = fileBytes - bytes.length
  let rows = -1
  let rowGroups: RowGroupMetadata[] = []
  let schemaSeen = false
  let metadata: [string, Uint8Array][] = []
  reader.struct((id) => {
    if (id === 2) {
      checkSchema(reader.list(() => schemaElement(reader)))
      schemaSeen = true
    } else if (id === 3) rows = reader.integer()
    else if (id === 4) rowGroups = reader.list(() => rowGroup(reader, dataEnd))
    else if (id === 5) metadata = reader.list(() => keyValue(reader))
    else return false
    return true
  })
  expect(schemaSeen, 'its footer has no schema')
  // None, where every event was erased.
  expect(rows === rowGroups.reduce((sum, group) => sum + group.rows, 0), 'its rows do not add up')
  const map = new Map(metadata)
  expect(map.size === metadata.length, 'its metadata has a key twice')
  return { rows, bytes: bytes.length, rowGroups, metadata: map }
}

interface SchemaElement {
  readonly type: number
  readonly repetition: number
  readonly name: string
  readonly children: number
}

function schemaElement(reader: ThriftReader): SchemaElement {
  let [type, repetition, children] = [-1, -1, 0]
  let name = ''
  reader.struct((id) => {
    if (id === 1) type = reader.integer()
    else if (id === 3) repetition = reader.integer()
    else if (id === 4) name = textOf(reader.binary())
    else if (id === 5) children = reader.integer()
    else return false
    return true
  })
  return { type, repetition, name, children }
}

function checkSchema(elements: readonly SchemaElement[]): void {
  const [root, ...leaves] = elements
  const fits =
    root?.children === COLUMNS.length &&
    leaves.length === COLUMNS.length &&
    COLUMNS.every((column, i) => {
      const leaf = leaves[i]
      return (
        leaf?.name === column.name &&
        leaf.type === PHYSICAL[column.type] &&
        leaf.repetition === (column.nullable ? OPTIONAL : REQUIRED) &&
        leaf.children === 0
      )
    })
  expect(fits, 'its columns are not those of a segment of format 1')
}

function rowGroup(reader: ThriftReader, dataEnd: number): RowGroupMetadata {
  let rows = -1
  let chunks: ColumnChunk[] = []
  reader.struct((id) => {
    if (id === 1) chunks = reader.list(() => columnChunk(reader, dataEnd))
    else if (id === 3) rows = reader.integer()
    else return false
    return true
  })
  expect(rows <= LIMITS.rowGroupRows, 'a row group is larger than the limit')
  const fits = rows > 0 && chunks.length === COLUMNS.length && chunks.every((chunk) => chunk.values === rows)
  expect(fits, 'the columns of a row group differ in length')
  return { rows, chunks }
}

function columnChunk(reader: ThriftReader, dataEnd: number): ColumnChunk {
  let chunk: ColumnChunk | null = null
  reader.struct((id) => {
    if (id !== 3) return false
    chunk = chunkMetadata(reader, dataEnd)
    return true
  })
  expect(chunk !== null, 'a column has no metadata')
  return chunk
}

function chunkMetadata(reader: ThriftReader, dataEnd: number): ColumnChunk {
  let [codec, values, uncompressedBytes, bytes, dataAt, dictionaryAt] = [-1, -1, -1, -1, -1, -1]
  reader.struct((id) => {
    if (id === 4) codec = reader.integer()
    else if (id === 5) values = reader.integer()
    else if (id === 6) uncompressedBytes = reader.integer()
    else if (id === 7) bytes = reader.integer()
    else if (id === 9) dataAt = reader.integer()
    else if (id === 11) dictionaryAt = reader.integer()
    else return false
    return true
  })
  const start = dictionaryAt >= 0 ? Math.min(dictionaryAt, dataAt) : dataAt
  expect(start >= MAGIC.length && bytes > 0 && bytes <= dataEnd - start, 'a column lies outside the file')
  expect(codec === CODEC_NONE || codec === CODEC_ZSTD, 'a column is compressed in a way that segments do not use')
  expect(uncompressedBytes > 0 && uncompressedBytes <= LIMITS.chunkBytes, 'a column is larger than the limit')
  return { start, end: start + bytes, values, compressed: codec === CODEC_ZSTD, uncompressedBytes }
}

function keyValue(reader: ThriftReader): [string, Uint8Array] {
  let key = ''
  let value: Uint8Array = new Uint8Array(0)
  reader.struct((id) => {
    if (id === 1) key = textOf(reader.binary())
    else if (id === 2) value = reader.binary()
    else return false
    return true
  })
  return [key, value]
}

function textOf(bytes: Uint8Array): string {
  try {
    return text(bytes)
  } catch {
    expect(false, 'its metadata holds a text that is not UTF-8')
  }
}
