import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { DuckDBInstance } from '@duckdb/node-api'
import { tableFromIPC } from 'apache-arrow'
import fc from 'fast-check'
import { parquetMetadata, parquetReadObjects } from 'hyparquet'
import { readParquet } from 'parquet-wasm'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { EventColumns } from '../../src/format/segment/columns.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import { encodeRunFile } from '../../src/format/segment/run-file.ts'
import { COLUMNS } from '../../src/format/segment/schema.ts'
import type { Event, Image } from '../../src/model/event.ts'
import { newUlid, ulidTime } from '../../src/model/ulid.ts'
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

/** Encodes events as a file; `events` are those that are in it. */
type Encode = (list: readonly Event[], rowGroupRows: number) => { bytes: Uint8Array; events: readonly Event[] }

const LEVELS: readonly (readonly [string, Encode])[] = [
  [
    'a segment',
    (list, rowGroupRows) => {
      const { bytes } = encodeSegment(frames(list), { stream: 's1', level: 0, rowGroupRows })
      return { bytes, events: list }
    },
  ],
  [
    'a file of a run',
    (list, rowGroupRows) => {
      const events = list.map((event, i): Event => ({ ...event, stamp: { ...event.stamp, stream: `s${1 + (i % 2)}` } }))
      const columns = new EventColumns()
      for (const stream of ['s1', 's2'])
        for (const frame of frames(events.filter((event) => event.stamp.stream === stream)))
          columns.append(stream, frame)
      const { bytes } = encodeRunFile(columns, { run: newUlid(1), level: 2, file: 0, rowGroupRows })
      return { bytes, events }
    },
  ],
]

test.each(LEVELS)('DuckDB reads every column of %s', async (_, encode) => {
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
      const { bytes, events: written } = encode(list, rowGroupRows)
      writeFileSync(file, bytes)
      const result = await connection.runAndReadAll(`SELECT ${select.join(', ')} FROM read_parquet('${file}')`)
      const expected = expectedRows(written, rowGroupRows).map((row) =>
        row.map((cell) => (typeof cell === 'number' ? String(cell) : cell)),
      )
      expect(result.getRows()).toEqual(expected)
    }),
    { numRuns: 50 },
  )
  connection.closeSync()
})

function cell(value: unknown): unknown {
  if (value instanceof Date) return value.getTime()
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  return typeof value === 'bigint' ? Number(value) : (value ?? null)
}

test.each(LEVELS)('hyparquet reads every column of %s', async (_, encode) => {
  await fc.assert(
    fc.asyncProperty(events(), fc.constantFrom(5, 2048), async (list, rowGroupRows) => {
      const { bytes, events: written } = encode(list, rowGroupRows)
      const file = Uint8Array.from(bytes).buffer
      const compressors = { ZSTD: (input: Uint8Array): Uint8Array => zstdDecompressSync(input) }
      const rows = await parquetReadObjects({ file, compressors, utf8: false })
      const seen = rows.map((row) => COLUMNS.map(({ name }) => cell(row[name])))
      expect(seen).toEqual(expectedRows(written, rowGroupRows))
    }),
    { numRuns: 100 },
  )
})

test.each(LEVELS)('parquet-wasm reads every column of %s', (_, encode) => {
  fc.assert(
    fc.property(events(), fc.constantFrom(5, 2048), (list, rowGroupRows) => {
      const { bytes, events: written } = encode(list, rowGroupRows)
      const table = tableFromIPC(readParquet(bytes).intoIPCStream())
      const columns = COLUMNS.map(({ name }) => Array.from(table.getChild(name) ?? [], cell))
      const seen = list.map((_, row) => columns.map((column) => column[row]))
      expect(seen).toEqual(expectedRows(written, rowGroupRows))
    }),
    { numRuns: 100 },
  )
})

test('the statistics of a row group, by which engines leave it out, are the least and greatest of its rows', () => {
  const long = 64
  fc.assert(
    fc.property(events(), fc.constantFrom(1, 5, 2048), (list, rowGroupRows) => {
      const { bytes } = encodeSegment(frames(list), { stream: 's1', level: 0, rowGroupRows })
      const sorted = sortedEvents(list)
      const { row_groups: groups } = parquetMetadata(Uint8Array.from(bytes).buffer)
      groups.forEach(({ columns }, group) => {
        const rows = sorted.slice(group * rowGroupRows, (group + 1) * rowGroupRows)
        const of = (name: string): unknown => {
          const found = columns.find((column) => column.meta_data?.path_in_schema[0] === name)?.meta_data?.statistics
          return found === undefined ? null : [found.min_value, found.max_value].map(cell)
        }
        const bounds = (values: readonly string[]): unknown => {
          const all = values.map((value) => Buffer.from(value)).sort(Buffer.compare)
          const ends = [all[0], all.at(-1)]
          return ends.some((end) => (end?.length ?? 0) > long) ? null : ends.map((end) => asDecoded(String(end)))
        }
        expect(of('ulid')).toEqual(bounds(rows.map((event) => event.stamp.ulid)))
        expect(of('resource')).toEqual(bounds(rows.map((event) => event.resource)))
        expect(of('record_id')).toEqual(bounds(rows.map((event) => event.id)))
        const times = rows.map((event) => ulidTime(event.stamp.ulid))
        expect(of('time')).toEqual([Math.min(...times), Math.max(...times)])
      })
    }),
    { numRuns: 100 },
  )
})
