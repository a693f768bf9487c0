import { crc32 } from '../../base/bytes.ts'
import { ByteWriter } from './byte-writer.ts'
import { type ColumnPages, PageMaker } from './column-pages.ts'
import type { EventColumns } from './columns.ts'
import { CODEC_NONE, CODEC_ZSTD, MAGIC } from './footer.ts'
import { formatFooter, type WrittenChunk, type WrittenRowGroup } from './footer-writer.ts'
import { CHECKSUM_DIGITS } from './metadata.ts'
import { DATA_PAGE, DELTA_BINARY_PACKED, DICTIONARY_PAGE, PLAIN, RLE, RLE_DICTIONARY } from './pages.ts'
import { COLUMNS, type ColumnDeclaration } from './schema.ts'
import type { SortedRows } from './sort.ts'
import { ThriftWriter } from './thrift-writer.ts'
import { zstdCompress } from './zstd.ts'

/** A Parquet file and the length of its footer, trailer included. */
export interface ParquetFile {
  readonly bytes: Uint8Array
  readonly footerBytes: number
}

const ENCODINGS = { plain: PLAIN, dictionary: RLE_DICTIONARY, delta: DELTA_BINARY_PACKED } as const
/** Fewer bytes are not worth a call of the compressor. */
const LEAST_COMPRESSED = 128

const file = new ByteWriter()

/**
 * Sorted rows as a Parquet file, a page a column and row group. `metadata` is given the checksums of all column chunks.
 * Synchronous, and heavy: belongs in a worker.
 */
export function parquetFile(
  columns: EventColumns,
  rows: SortedRows,
  rowGroupRows: number,
  metadata: (checksums: string) => readonly (readonly [string, string])[],
): ParquetFile {
  file.clear()
  file.bytes(Buffer.from(MAGIC))
  const maker = new PageMaker(columns, rows)
  const rowGroups: WrittenRowGroup[] = []
  let digits = ''
  for (let from = 0; from < columns.count; from += rowGroupRows) {
    const to = Math.min(columns.count, from + rowGroupRows)
    const chunks = COLUMNS.map((column) => writeChunk(column, maker.pages(column, { from, to }), to - from))
    for (const { start, end } of chunks) digits += checksum(file.buffer.subarray(start, end))
    rowGroups.push({ rows: to - from, chunks })
  }
  const end = file.length
  formatFooter(file, columns.count, rowGroups, metadata(digits))
  file.u32(file.length - end)
  file.bytes(Buffer.from(MAGIC))
  // A copy of its own: it is handed to other threads, and the memory is used again.
  const bytes = new Uint8Array(file.view())
  file.clear()
  return { bytes, footerBytes: bytes.length - end }
}

function checksum(bytes: Uint8Array): string {
  return crc32(bytes).toString(16).padStart(CHECKSUM_DIGITS, '0')
}

function writeChunk(column: ColumnDeclaration, pages: ColumnPages, rows: number): WrittenChunk {
  const { dictionary, data, nulls, bounds } = pages
  const compressed = column.compressed && (dictionary?.body.length ?? 0) + data.length >= LEAST_COMPRESSED
  const start = file.length
  let size = 0
  if (dictionary !== null) {
    const { body, values } = dictionary
    size += writePage({ type: DICTIONARY_PAGE, encoding: PLAIN, values, body, compressed })
  }
  const dataAt = file.length
  size += writePage({ type: DATA_PAGE, encoding: ENCODINGS[column.encoding], values: rows, body: data, compressed })
  return {
    column,
    codec: compressed ? CODEC_ZSTD : CODEC_NONE,
    encodings: dictionary === null ? [ENCODINGS[column.encoding], RLE] : [PLAIN, RLE, RLE_DICTIONARY],
    values: rows,
    nulls,
    bounds: bounds === null ? null : [Buffer.from(bounds[0]), Buffer.from(bounds[1])],
    size,
    start,
    dataAt,
    end: file.length,
  }
}

interface WrittenPage {
  readonly type: number
  readonly encoding: number
  readonly values: number
  readonly body: Buffer
  readonly compressed: boolean
}

/** Returns the length of the page before compression, with its header. */
function writePage({ type, encoding, values, body, compressed }: WrittenPage): number {
  const stored = compressed ? zstdCompress(body) : body
  const start = file.length
  const thrift = new ThriftWriter(file)
  thrift.struct(() => {
    thrift.i32(1, type)
    thrift.i32(2, body.length)
    thrift.i32(3, stored.length)
    thrift.field(type === DATA_PAGE ? 5 : 7, () => {
      thrift.i32(1, values)
      thrift.i32(2, encoding)
      if (type === DATA_PAGE) {
        thrift.i32(3, RLE)
        thrift.i32(4, RLE)
      }
    })
  })
  const header = file.length - start
  file.bytes(stored)
  return header + body.length
}
