import { expect, Malformed } from './corrupt.ts'
import type { ColumnChunk } from './footer.ts'
import type { PageMemory } from './page-memory.ts'
import { ThriftReader } from './thrift.ts'
import { zstdDecompress } from './zstd.ts'

/** Parquet's numbers. */
export const PLAIN = 0
/** Of levels. */
export const RLE = 3
/** Encodings by their numbers in parquet.thrift. */
export const DELTA_BINARY_PACKED = 5
/** As in parquet.thrift too. */
export const RLE_DICTIONARY = 8
/** Kinds of pages. */
export const DATA_PAGE = 0
/** As in parquet.thrift too. */
export const DICTIONARY_PAGE = 2

/** One page, decompressed. */
export interface Page {
  readonly encoding: number
  readonly values: number
  readonly body: Uint8Array
}

/** The pages of one column of one row group. */
export interface Pages {
  readonly dictionary: Page | null
  readonly data: readonly Page[]
}

/**
 * Splits a column chunk into its pages, which are decompressed into `memory` where it is given. Their sizes are checked against the
 * footer before anything is allocated.
 */
export function readPages(bytes: Uint8Array, chunk: ColumnChunk, memory: PageMemory | null = null): Pages {
  let dictionary: Page | null = null
  const data: Page[] = []
  let at = 0
  let sizeLeft = chunk.uncompressedBytes
  let valuesLeft = chunk.values
  while (at < bytes.length) {
    const { type, encoding, values, compressedSize, size, start } = pageHeader(bytes, at)
    expect(compressedSize <= bytes.length - start && size <= sizeLeft, 'a page is larger than its column')
    sizeLeft -= size
    const stored = bytes.subarray(start, start + compressedSize)
    const body = chunk.compressed ? decompress(stored, size, memory) : stored
    expect(body.length === size, 'a page has the wrong length')
    if (type === DICTIONARY_PAGE) {
      expect(dictionary === null && data.length === 0 && encoding === PLAIN, 'a dictionary page is out of place')
      expect(values * 4 <= body.length, 'a dictionary is too small for its entries')
      dictionary = { encoding, values, body }
    } else {
      expect(values > 0 && values <= valuesLeft, 'the pages of a column hold too many values')
      valuesLeft -= values
      data.push({ encoding, values, body })
    }
    at = start + compressedSize
  }
  expect(valuesLeft === 0, 'the pages of a column hold too few values')
  return { dictionary, data }
}

/** The header of a page. */
export interface PageHeader {
  readonly type: number
  readonly encoding: number
  readonly values: number
  readonly compressedSize: number
  readonly size: number
  /** Where the page begins behind it. */
  readonly start: number
}

/** Reads the header of the page that begins at `at`. Throws `Malformed`. */
export function pageHeader(bytes: Uint8Array, at: number): PageHeader {
  const reader = new ThriftReader(bytes, at)
  let [type, size, compressedSize, values, encoding, levels] = [-1, -1, -1, -1, -1, RLE]
  reader.struct((id) => {
    if (id === 1) type = reader.integer()
    else if (id === 2) size = reader.integer()
    else if (id === 3) compressedSize = reader.integer()
    else if (id === 5 || id === 7) {
      reader.struct((inner) => {
        if (inner === 1) values = reader.integer()
        else if (inner === 2) encoding = reader.integer()
        else if (inner === 3 && id === 5) levels = reader.integer()
        else return false
        return true
      })
    } else return false
    return true
  })
  expect(type === DATA_PAGE || type === DICTIONARY_PAGE, 'a page is of a kind that segments do not use')
  expect(size >= 0 && compressedSize >= 0 && values >= 0 && encoding >= 0 && levels === RLE, 'a page head is malformed')
  return { type, encoding, values, compressedSize, size, start: reader.offset }
}

function decompress(body: Uint8Array, size: number, memory: PageMemory | null): Uint8Array {
  try {
    return zstdDecompress(body, size, memory)
  } catch (error) {
    throw new Malformed('a page cannot be decompressed', { cause: error })
  }
}
