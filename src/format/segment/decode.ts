import { isAscii, isUtf8 } from 'node:buffer'
import { concat, text } from '../../base/bytes.ts'
import { isUlidBytes } from '../../model/ulid.ts'
import { expect } from './corrupt.ts'
import { decodeBooleans, decodeByteArrays, decodeDelta, decodeHybrid } from './encodings.ts'
import type { ColumnChunk } from './footer.ts'
import { DELTA_BINARY_PACKED, type Page, type Pages, PLAIN, RLE_DICTIONARY, readPages } from './pages.ts'
import type { ColumnDeclaration } from './schema.ts'
import { ByteValues, type CodedValues } from './values.ts'

/** Rows of a column: which of them a page covers, and where its values start behind the definition levels. */
interface Covered {
  readonly page: Page
  readonly from: number
  readonly to: number
  readonly start: number
}

/** Decodes a column whose values are texts or bytes. */
export function decodeBytes(bytes: Uint8Array, chunk: ColumnChunk, column: ColumnDeclaration): ByteValues {
  const pages = readPages(bytes, chunk)
  const nulls = column.nullable ? new Uint8Array(chunk.values) : null
  const covered = cover(pages, nulls)
  const values =
    column.encoding === 'dictionary'
      ? dictionaryBytes(pages, covered, chunk.values, nulls)
      : plainBytes(covered, chunk.values, nulls)
  if (column.type === 'text') checkTexts(values)
  if (column.name === 'ulid') checkUlids(values)
  return values
}

/** Bytes that are no UTF-8 would become another text, and two ids one. */
function checkTexts(values: ByteValues): void {
  if (isAscii(values.data)) return
  for (let i = 0; i < values.starts.length; i++) {
    const bytes = values.bytes(i)
    expect(bytes === null || isUtf8(bytes), 'a text is not UTF-8')
  }
}

function checkUlids({ data, starts, ends }: ByteValues): void {
  for (let i = 0; i < starts.length; i++) expect(isUlidBytes(data, starts[i] ?? 0, ends[i] ?? 0), 'a ULID is none')
}

function plainBytes(covered: readonly Covered[], rows: number, nulls: Uint8Array | null): ByteValues {
  const starts = new Uint32Array(rows)
  const ends = new Uint32Array(rows)
  let base = 0
  for (const { page, from, to, start } of covered) {
    expect(page.encoding === PLAIN, 'a page is encoded in a way that its column is not')
    decodeByteArrays(page.body, { start, end: page.body.length, base }, { from, to, nulls }, starts, ends)
    base += page.body.length
  }
  return new ByteValues(concat(covered.map(({ page }) => page.body)), starts, ends, someNull(nulls))
}

function dictionaryBytes(
  pages: Pages,
  covered: readonly Covered[],
  rows: number,
  nulls: Uint8Array | null,
): ByteValues {
  const dictionary = readDictionary(pages.dictionary)
  const starts = new Uint32Array(rows)
  const ends = new Uint32Array(rows)
  eachCode(covered, dictionary.starts.length, nulls, (row, code) => {
    starts[row] = dictionary.starts[code] ?? 0
    ends[row] = dictionary.ends[code] ?? 0
  })
  return new ByteValues(dictionary.data, starts, ends, someNull(nulls))
}

/** Decodes a column of few distinct texts. */
export function decodeCodes(bytes: Uint8Array, chunk: ColumnChunk, column: ColumnDeclaration): CodedValues {
  const pages = readPages(bytes, chunk)
  const nulls = column.nullable ? new Uint8Array(chunk.values) : null
  const dictionary = readDictionary(pages.dictionary)
  const codes = new Int32Array(chunk.values)
  if (nulls !== null) codes.fill(-1)
  eachCode(cover(pages, nulls), dictionary.starts.length, nulls, (row, code) => {
    codes[row] = code
  })
  const values = Array.from(dictionary.starts, (start, i) =>
    textOf(dictionary.data.subarray(start, dictionary.ends[i])),
  )
  return { codes, values }
}

/** Decodes a column of integers. */
export function decodeNumbers(bytes: Uint8Array, chunk: ColumnChunk): Float64Array {
  const out = new Float64Array(chunk.values)
  for (const { page, from, to, start } of cover(readPages(bytes, chunk), null)) {
    expect(page.encoding === DELTA_BINARY_PACKED, 'a page is encoded in a way that its column is not')
    out.set(decodeDelta(page.body, start, page.body.length, to - from), from)
  }
  return out
}

/** Decodes a column of booleans, a byte each. */
export function decodeFlags(bytes: Uint8Array, chunk: ColumnChunk): Uint8Array {
  const out = new Uint8Array(chunk.values)
  for (const { page, from, to, start } of cover(readPages(bytes, chunk), null)) {
    expect(page.encoding === PLAIN, 'a page is encoded in a way that its column is not')
    out.set(decodeBooleans(page.body, start, page.body.length, to - from), from)
  }
  return out
}

/** Lays the pages over the rows; reads the definition levels of a nullable column into `nulls`. */
function cover({ data }: Pages, nulls: Uint8Array | null): Covered[] {
  let from = 0
  return data.map((page) => {
    const to = from + page.values
    const start = nulls === null ? 0 : readLevels(page.body, nulls, from, to)
    const covered = { page, from, to, start }
    from = to
    return covered
  })
}

/** Definition levels of data page V1: their length, then a hybrid of one bit a row, 0 for null. */
function readLevels(body: Uint8Array, nulls: Uint8Array, from: number, to: number): number {
  expect(body.length >= 4, 'a page has no definition levels')
  const end = 4 + new DataView(body.buffer, body.byteOffset, 4).getUint32(0, true)
  expect(end <= body.length, 'the definition levels of a page are longer than it')
  const levels = decodeHybrid(body, 4, end, 1, to - from)
  for (let row = from; row < to; row++) nulls[row] = levels[row - from] === 0 ? 1 : 0
  return end
}

function readDictionary(page: Page | null): { data: Uint8Array; starts: Uint32Array; ends: Uint32Array } {
  const count = page?.values ?? 0
  const starts = new Uint32Array(count)
  const ends = new Uint32Array(count)
  const data = page?.body ?? new Uint8Array(0)
  decodeByteArrays(data, { start: 0, end: data.length, base: 0 }, { from: 0, to: count, nulls: null }, starts, ends)
  return { data, starts, ends }
}

/** Calls `visit` with the row and the dictionary code of every value that is not null. */
function eachCode(
  covered: readonly Covered[],
  entries: number,
  nulls: Uint8Array | null,
  visit: (row: number, code: number) => void,
): void {
  for (const { page, from, to, start } of covered) {
    expect(page.encoding === RLE_DICTIONARY, 'a page is encoded in a way that its column is not')
    let count = to - from
    if (nulls !== null) for (let row = from; row < to; row++) count -= nulls[row] ?? 0
    if (count === 0) continue
    expect(start < page.body.length, 'a page of codes is empty')
    const codes = decodeHybrid(page.body, start + 1, page.body.length, page.body[start] ?? 0, count)
    let next = 0
    for (let row = from; row < to; row++) {
      if (nulls !== null && nulls[row] === 1) continue
      const code = codes[next++] ?? 0
      expect(code < entries, 'a code is not in its dictionary')
      visit(row, code)
    }
  }
}

function someNull(nulls: Uint8Array | null): Uint8Array | null {
  return nulls?.includes(1) === true ? nulls : null
}

function textOf(bytes: Uint8Array): string {
  try {
    return text(bytes)
  } catch {
    expect(false, 'a dictionary holds a text that is not UTF-8')
  }
}
