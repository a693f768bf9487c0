import type { ByteWriter } from './byte-writer.ts'
import { PHYSICAL } from './footer.ts'
import { COLUMNS, type ColumnDeclaration } from './schema.ts'
import { ThriftWriter } from './thrift-writer.ts'

/** A column chunk that was written. Offsets are in the file. */
export interface WrittenChunk {
  readonly column: ColumnDeclaration
  readonly codec: number
  readonly encodings: readonly number[]
  readonly values: number
  readonly nulls: number
  readonly bounds: readonly [Buffer, Buffer] | null
  /** Bytes of its pages before compression, with their headers. */
  readonly size: number
  readonly start: number
  /** Where its data page starts: its dictionary stands before it, if it has one. */
  readonly dataAt: number
  readonly end: number
}

/** A row group that was written. */
export interface WrittenRowGroup {
  readonly rows: number
  readonly chunks: readonly WrittenChunk[]
}

const VERSION = 1
const CREATED_BY = 'tidemark'
/** Parquet's numbers of types before there were logical ones. */
const CONVERTED_UTF8 = 0
const CONVERTED_TIMESTAMP_MILLIS = 9

/** Writes what stands before the trailer of a Parquet file (parquet.thrift, `FileMetaData`). */
export function formatFooter(
  out: ByteWriter,
  rows: number,
  rowGroups: readonly WrittenRowGroup[],
  metadata: readonly (readonly [string, string])[],
): void {
  const thrift = new ThriftWriter(out)
  thrift.struct(() => {
    thrift.i32(1, VERSION)
    thrift.structs(2, [null, ...COLUMNS], (column) => schemaElement(thrift, column))
    thrift.i64(3, rows)
    thrift.structs(4, rowGroups, (group) => rowGroup(thrift, group))
    thrift.structs(5, metadata, ([key, value]) => {
      thrift.binary(1, key)
      thrift.binary(2, value)
    })
    thrift.binary(6, CREATED_BY)
    // The order of every type: without it, readers leave the statistics of texts alone.
    thrift.structs(7, COLUMNS, () => thrift.field(1, () => {}))
  })
}

/** Null: the root. */
function schemaElement(thrift: ThriftWriter, column: ColumnDeclaration | null): void {
  if (column === null) {
    thrift.binary(4, 'schema')
    thrift.i32(5, COLUMNS.length)
    return
  }
  const { type, nullable, name } = column
  thrift.i32(1, PHYSICAL[type])
  thrift.i32(3, nullable ? 1 : 0)
  thrift.binary(4, name)
  if (type === 'text') {
    thrift.i32(6, CONVERTED_UTF8)
    thrift.field(10, () => thrift.field(1, () => {}))
  } else if (type === 'time') {
    thrift.i32(6, CONVERTED_TIMESTAMP_MILLIS)
    thrift.field(10, () =>
      thrift.field(8, () => {
        thrift.isTrue(1)
        thrift.field(2, () => thrift.field(1, () => {}))
      }),
    )
  }
}

function rowGroup(thrift: ThriftWriter, { rows, chunks }: WrittenRowGroup): void {
  const [first, last] = [chunks[0], chunks.at(-1)]
  thrift.structs(1, chunks, (chunk) => {
    thrift.i64(2, 0)
    thrift.field(3, () => chunkMetadata(thrift, chunk))
  })
  thrift.i64(
    2,
    chunks.reduce((sum, { size }) => sum + size, 0),
  )
  thrift.i64(3, rows)
  thrift.i64(5, first?.start ?? 0)
  thrift.i64(6, (last?.end ?? 0) - (first?.start ?? 0))
}

function chunkMetadata(thrift: ThriftWriter, chunk: WrittenChunk): void {
  const { column, encodings, codec, values, nulls, bounds, size, start, dataAt, end } = chunk
  thrift.i32(1, PHYSICAL[column.type])
  thrift.integers(2, encodings)
  thrift.texts(3, [column.name])
  thrift.i32(4, codec)
  thrift.i64(5, values)
  thrift.i64(6, size)
  thrift.i64(7, end - start)
  thrift.i64(9, dataAt)
  if (dataAt > start) thrift.i64(11, start)
  if (bounds === null) return
  thrift.field(12, () => {
    thrift.i64(3, nulls)
    thrift.binary(5, bounds[1])
    thrift.binary(6, bounds[0])
  })
}
