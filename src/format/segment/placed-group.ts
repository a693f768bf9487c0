import { crc32 } from '../../base/bytes.ts'
import { LIMITS } from '../../base/limits.ts'
import { decoding, expect } from './corrupt.ts'
import type { ColumnChunk } from './footer.ts'
import { DATA_PAGE, pageHeader } from './pages.ts'
import { RowGroup } from './row-group.ts'
import type { RowGroupPlace } from './run-index.ts'
import { COLUMNS, type ColumnName } from './schema.ts'

/** CRC-32 of the checksums of column chunks, as a place has it. */
export function checksumOf(chunks: Uint32Array): number {
  const bytes = Buffer.alloc(4 * chunks.length)
  for (const [i, checksum] of chunks.entries()) bytes.writeUInt32LE(checksum, 4 * i)
  return crc32(bytes)
}

/** Which columns of a row group are compressed, as a place has it. */
export function compressedBits(chunks: readonly Pick<ColumnChunk, 'compressed'>[]): number {
  return chunks.reduce((bits, { compressed }, i) => (compressed ? bits | (1 << i) : bits), 0)
}

/**
 * A row group of a run, by its place and without the footer of its file: its columns follow one another in the order of the
 * schema, and each ends where its pages have a value for every row. `name`: of the file; `bytes`: those of the place. Errors:
 * `SEGMENT_CORRUPT` where they are not what the index says.
 */
export function placedRowGroup(name: string, place: RowGroupPlace, bytes: Uint8Array): RowGroup {
  return decoding(name, () => {
    expect(bytes.length === place.bytes, 'a row group of it is not there')
    const read = new Map<ColumnName, Uint8Array>()
    const checksums = new Uint32Array(COLUMNS.length)
    const chunks: ColumnChunk[] = []
    for (const [i, { name: column }] of COLUMNS.entries()) {
      const chunk = chunkAt(bytes, chunks.at(-1)?.end ?? 0, place.rows, (place.compressed & (1 << i)) !== 0)
      const part = bytes.subarray(chunk.start, chunk.end)
      checksums[i] = crc32(part)
      chunks.push(chunk)
      read.set(column, part)
    }
    expect(chunks.at(-1)?.end === bytes.length, 'a row group of it is longer than its columns')
    expect(
      checksumOf(checksums) === place.checksum,
      'the checksum of a row group is not the one in the index of its run',
    )
    return new RowGroup(name, { rows: place.rows, chunks }, read)
  })
}

/** The column chunk that begins at `start`: its pages, up to the one with the last value. */
function chunkAt(bytes: Uint8Array, start: number, values: number, compressed: boolean): ColumnChunk {
  let [at, found, uncompressedBytes] = [start, 0, 0]
  while (found < values) {
    const page = pageHeader(bytes, at)
    const isThere = page.compressedSize <= bytes.length - page.start
    uncompressedBytes += page.start - at + page.size
    expect(isThere && uncompressedBytes <= LIMITS.chunkBytes, 'a page is larger than its row group')
    if (page.type === DATA_PAGE) {
      expect(page.values > 0, 'a page has no values')
      found += page.values
    }
    at = page.start + page.compressedSize
  }
  return { start, end: at, values, compressed, uncompressedBytes }
}
