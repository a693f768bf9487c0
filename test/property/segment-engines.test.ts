import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { DuckDBInstance } from '@duckdb/node-api'
import fc from 'fast-check'
import { parquetReadObjects } from 'hyparquet'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import { COLUMNS } from '../../src/format/segment/schema.ts'
import type { Event, Image } from '../../src/model/event.ts'
import { ulidTime } from '../../src/model/ulid.ts'
import { events, frames, sortedEvents } from '../support/segments.ts'

type Cell = string | number | boolean | null

let directory = ''
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tidemark-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

/** The rows that a SQL engine must see, by column; raw images as hex. */
function expectedRows(list: readonly Event[], rowGroupRows: number): Cell[][] {
  const sorted = sortedEvents(list)
  return sorted.map((event, row) => {
    const above = row % rowGroupRows === 0 ? undefined : sorted[row - 1]
    const elided = above !== undefined && event.before !== null && sameItem(event, above) && sameImage(event, above)
    const before = elided ? null : event.before
    const { ulid, stream, sequence } = event.stamp
    const { actor, transaction, metadata } = event.context
    return [
      [ulid, ulidTime(ulid), stream, sequence, event.kind, event.resource, event.id, event.operation],
      [actor, transaction, metadata, json(before), json(event.after), raw(before), raw(event.after), elided],
    ]
      .flat()
      .map(asDecoded)
  })
}

/** Both readers decode text in JavaScript with a `TextDecoder`, which drops a byte order mark; it is in the file. */
function asDecoded(cell: Cell): Cell {
  return typeof cell === 'string' ? cell.replace(/^\ufeff/, '') : cell
}

const sameItem = (a: Event, b: Event): boolean => a.kind === b.kind && a.resource === b.resource && a.id === b.id
const sameImage = (a: Event, b: Event): boolean => json(a.before) === json(b.after) && raw(a.before) === raw(b.after)
const json = (image: Image | null): string | null => (image === null ? null : Buffer.from(image.json).toString())
const raw = (image: Image | null): string | null =>
  image === null || image.raw === null ? null : Buffer.from(image.raw).toString('hex')

test('DuckDB reads every column of a segment', async () => {
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  const file = join(directory, 'segment.parquet')
  const select = COLUMNS.map(({ name, type }) => {
    if (name === 'time') return 'epoch_ms(time)::VARCHAR'
    if (name === 'sequence') return 'sequence::VARCHAR'
    return type === 'binary' ? `lower(hex(${name}))` : `"${name}"`
  })
  await fc.assert(
    fc.asyncProperty(events(), fc.constantFrom(5, 2048), async (list, rowGroupRows) => {
      writeFileSync(file, encodeSegment(frames(list), { stream: 's1', level: 0, rowGroupRows }).bytes)
      const result = await connection.runAndReadAll(`SELECT ${select.join(', ')} FROM read_parquet('${file}')`)
      const expected = expectedRows(list, rowGroupRows).map((row) =>
        row.map((cell) => (typeof cell === 'number' ? String(cell) : cell)),
      )
      expect(result.getRows()).toEqual(expected)
    }),
    { numRuns: 50 },
  )
  connection.closeSync()
})

test('hyparquet reads every column of a segment', async () => {
  const cell = (value: unknown): unknown => {
    if (value instanceof Date) return value.getTime()
    if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
    return typeof value === 'bigint' ? Number(value) : (value ?? null)
  }
  await fc.assert(
    fc.asyncProperty(events(), fc.constantFrom(5, 2048), async (list, rowGroupRows) => {
      const { bytes } = encodeSegment(frames(list), { stream: 's1', level: 0, rowGroupRows })
      const file = Uint8Array.from(bytes).buffer
      const compressors = { ZSTD: (input: Uint8Array): Uint8Array => zstdDecompressSync(input) }
      const rows = await parquetReadObjects({ file, compressors, utf8: false })
      const seen = rows.map((row) => COLUMNS.map(({ name }) => cell(row[name])))
      expect(seen).toEqual(expectedRows(list, rowGroupRows))
    }),
    { numRuns: 100 },
  )
})
