import { isAscii, isUtf8 } from 'node:buffer'
import { concat } from '../../base/bytes.ts'
import { isUlidBytes } from '../../model/ulid.ts'
import { expect } from './corrupt.ts'
import { decodeBooleans, decodeByteArrays, decodeDelta, decodeHybrid } from './encodings.ts'
import type { ColumnChunk } from './footer.ts'
import type { PageMemory } from './page-memory.ts'
import { DELTA_BINARY_PACKED, type Page, type Pages, PLAIN, RLE_DICTIONARY, readPages } from './pages.ts'
import type { ColumnDeclaration } from './schema.ts'
import { ByteValues, type CodedBytes, type CodedValues } from './values.ts'

/** Rows of a column: which of them a page covers, and where its values start behind the definition levels. */
interface Covered {
  readonly page: Page
  readonly from: number
  readonly to: number
  readonly start: number
}

/**
 * Decodes a column whose values are texts or bytes; those of no dictionary into `memory`, where it is given: which of these are
 * no UTF-8 is for whoever takes some of them to see.
 */
export function decodeBytes(
  bytes: Uint8Array,
  chunk: ColumnChunk,
  column: ColumnDeclaration,
  memory: PageMemory | null = null,
): ByteValues {
  if (column.encoding === 'dictionary') return spread(decodeCodedBytes(bytes, chunk, column))
  const pages = readPages(bytes, chunk, memory)
  const nulls = column.nullable ? new Uint8Array(chunk.values) : null
  const values = plainBytes(cover(pages, nulls), chunk.values, nulls)
  if (column.type === 'text' && memory === null) checkTexts(values)
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

/** Decodes a dictionary column, and keeps each value once. */
export function decodeCodedBytes(bytes: Uint8Array, chunk: ColumnChunk, column: ColumnDeclaration): CodedBytes {
  const pages = readPages(bytes, chunk)
  const nulls = column.nullable ? new Uint8Array(chunk.values) : null
  const covered = cover(pages, nulls)
  const entries = readDictionary(pages.dictionary)
  if (column.type === 'text') checkTexts(entries)
  return { codes: codesOf(covered, entries.starts.length, chunk.values, nulls), entries }
}

function spread({ codes, entries }: CodedBytes): ByteValues {
  const starts = new Uint32Array(codes.length)
  const ends = new Uint32Array(codes.length)
  let nulls: Uint8Array | null = null
  for (let row = 0; row < codes.length; row++) {
    const code = codes[row] ?? 0
    if (code < 0) {
      nulls ??= new Uint8Array(codes.length)
      nulls[row] = 1
      continue
    }
    starts[row] = entries.starts[code] ?? 0
    ends[row] = entries.ends[code] ?? 0
  }
  return new ByteValues(entries.data, starts, ends, nulls)
}

/** Decodes a column of few distinct texts. */
export function decodeCodes(bytes: Uint8Array, chunk: ColumnChunk, column: ColumnDeclaration): CodedValues {
  const { codes, entries } = decodeCodedBytes(bytes, chunk, column)
  return { codes, values: Array.from(entries.starts, (_, i) => internalized(entries.text(i) ?? '')) }
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

function readDictionary(page: Page | null): ByteValues {
  const count = page?.values ?? 0
  const starts = new Uint32Array(count)
  const ends = new Uint32Array(count)
  const data = page?.body ?? new Uint8Array(0)
  decodeByteArrays(data, { start: 0, end: data.length, base: 0 }, { from: 0, to: count, nulls: null }, starts, ends)
  return new ByteValues(data, starts, ends, null)
}

/** The dictionary code of every value, -1 where it is null. */
function codesOf(covered: readonly Covered[], entries: number, rows: number, nulls: Uint8Array | null): Int32Array {
  const [first] = covered
  if (nulls === null && covered.length === 1 && first !== undefined) return pageCodes(first, entries, rows)
  const codes = new Int32Array(rows).fill(-1)
  for (const one of covered) {
    let count = one.to - one.from
    if (nulls !== null) for (let row = one.from; row < one.to; row++) count -= nulls[row] ?? 0
    const found = pageCodes(one, entries, count)
    let next = 0
    for (let row = one.from; row < one.to; row++) if (nulls?.[row] !== 1) codes[row] = found[next++] ?? 0
  }
  return codes
}

/** Those of a page that has `count` values besides nulls. */
function pageCodes({ page, start }: Covered, entries: number, count: number): Int32Array {
  expect(page.encoding === RLE_DICTIONARY, 'a page is encoded in a way that its column is not')
  if (count === 0) return new Int32Array(0)
  expect(start < page.body.length, 'a page of codes is empty')
  const codes = decodeHybrid(page.body, start + 1, page.body.length, page.body[start] ?? 0, count)
  for (let i = 0; i < count; i++) expect((codes[i] ?? 0) < entries, 'a code is not in its dictionary')
  return codes
}

function someNull(nulls: Uint8Array | null): Uint8Array | null {
  return nulls?.includes(1) === true ? nulls : null
}

/** The same text as V8 has it for a name: these are compared by where they are, and whoever merges compares them for each row. */
function internalized(text: string): string {
  return Object.keys({ [text]: 0 })[0] ?? text
}
