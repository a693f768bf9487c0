import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Table as ArrowTable, TimestampMillisecond, tableToIPC, Utf8, type Vector, vectorFromArray } from 'apache-arrow'
import { Compression, Table, WriterPropertiesBuilder, writeParquet } from 'parquet-wasm'
import { encodeSegment } from '../src/format/segment/encode.ts'
import { EVENT_COLUMNS, eventsOf } from '../src/format/segment/events.ts'
import { openSegment } from '../src/format/segment/read.ts'
import type { ColumnName } from '../src/format/segment/schema.ts'
import type { Item } from '../src/model/event.ts'
import { ulidTime } from '../src/model/ulid.ts'
import { type Chunk, dataset, encodeChunk } from './lib/dataset.ts'
import { isQuick, numberFlag } from './lib/options.ts'
import { type BenchRow, median, printRows } from './lib/row.ts'

/** `events` in segments of 50,000; `runs` of ours and of the peer on each, in turn. */
export interface SegmentBenchOptions {
  readonly events: number
  readonly runs: number
}

const DEFAULTS: SegmentBenchOptions = isQuick() ? { events: 10_000, runs: 1 } : { events: 1_000_000, runs: 5 }

/** Encoding of segments against the way that parquet-wasm's README documents, then history and decoding of them. */
export async function run(options: SegmentBenchOptions = DEFAULTS): Promise<BenchRow[]> {
  const ours: number[] = []
  const peer: number[] = []
  const typed: number[] = []
  const segments: { bytes: Uint8Array; footer: { bytes: number; crc32: number } }[] = []
  const items: Item[] = []
  let [events, images, peerBytes] = [0, 0, 0]
  for (const chunk of dataset({ events: options.events })) {
    for (let i = 0; i < options.runs; i++) {
      const segment = timed(ours, chunk.changes.length, () => oursOf(chunk))
      const table = timed(peer, chunk.changes.length, () => peerOf(chunk, false))
      timed(typed, chunk.changes.length, () => peerOf(chunk, true))
      if (i > 0) continue
      segments.push({ bytes: Uint8Array.from(segment.bytes), footer: segment.info.footer })
      peerBytes += table.length
    }
    events += chunk.changes.length
    images += chunk.imageBytes
    items.push(
      ...chunk.changes.filter((_, i) => i % 1000 === 0).map(({ kind, resource, id }) => ({ kind, resource, id })),
    )
  }
  const bytes = segments.reduce((sum, segment) => sum + segment.bytes.length, 0)
  const [fast, slow, careful] = [median(ours), median(peer), median(typed)]
  return [
    row(
      'segment encode',
      fast,
      slow,
      'k events/s',
      fast / slow,
      '>= 2.5',
      'peer: vectorFromArray, tableToIPC, writeParquet zstd',
    ),
    row(
      'segment encode, typed',
      fast,
      careful,
      'k events/s',
      fast / careful,
      '-',
      'peer: the same with UTF-8 types spelled out',
    ),
    row(
      'segment size',
      bytes / events,
      peerBytes / events,
      'B/event',
      bytes / images,
      '<= 0.17',
      'ratio: of the bytes of before- and after-images',
    ),
    await history(segments, items, bytes),
    await decode(segments, events, options.runs),
  ]
}

function row(
  name: string,
  ours: number,
  peer: number | null,
  unit: string,
  ratio: number | null,
  target: string,
  note: string,
): BenchRow {
  return { name, ours, peer, unit, ratio, target, note }
}

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

/** Runs `work` and adds its rate in thousands of events a second. Nobody pays for the garbage of the one before. */
function timed<T>(rates: number[], events: number, work: () => T): T {
  collectGarbage()
  const start = performance.now()
  const result = work()
  rates.push(events / (performance.now() - start))
  return result
}

function oursOf(chunk: Chunk): ReturnType<typeof encodeSegment> {
  return encodeSegment(encodeChunk(chunk), { stream: 'bench', level: 0 })
}

/**
 * The same columns made of the same changes with Arrow's `vectorFromArray` and parquet-wasm's default properties. The
 * README lets Arrow infer the types, which makes a dictionary of every text; `typed` spells out UTF-8 where values
 * are mostly distinct, as someone who knows better would.
 */
function peerOf({ changes, ulids, firstSequence }: Chunk, typed: boolean): Uint8Array {
  const texts = (values: readonly (string | null)[]): Vector =>
    typed ? vectorFromArray(values, new Utf8()) : vectorFromArray(values)
  const decoder = new TextDecoder()
  const text = (bytes: Uint8Array | undefined): string | null => (bytes === undefined ? null : decoder.decode(bytes))
  const table = new ArrowTable({
    ulid: texts(ulids),
    time: vectorFromArray(ulids.map(ulidTime), new TimestampMillisecond('UTC')),
    stream: vectorFromArray(changes.map(() => 'bench')),
    sequence: vectorFromArray(changes.map((_, i) => BigInt(firstSequence + i))),
    kind: vectorFromArray(changes.map((change) => change.kind)),
    resource: vectorFromArray(changes.map((change) => change.resource)),
    record_id: texts(changes.map((change) => change.id)),
    operation: vectorFromArray(changes.map((change) => change.operation)),
    actor: vectorFromArray(changes.map((change) => change.context.actor)),
    transaction: texts(changes.map((change) => change.context.transaction)),
    metadata: texts(changes.map((change) => change.context.metadata)),
    before: texts(changes.map((change) => text(change.before?.json))),
    after: texts(changes.map((change) => text(change.after?.json))),
  })
  const properties = new WriterPropertiesBuilder().setCompression(Compression.ZSTD).build()
  return writeParquet(Table.fromIPCStream(tableToIPC(table, 'stream')), properties)
}

interface Stored {
  readonly bytes: Uint8Array
  readonly footer: { readonly bytes: number; readonly crc32: number }
}

async function openStored(stored: Stored, count: (bytes: number) => void): ReturnType<typeof openSegment> {
  const read = async (start: number, end: number): Promise<Uint8Array> => {
    count(end - start)
    return stored.bytes.subarray(start, end)
  }
  return openSegment({ name: 'bench', bytes: stored.bytes.length, footer: stored.footer, read })
}

/** Bytes fetched for all columns of all events of one record, footers included: the median over many records. */
async function history(segments: readonly Stored[], items: readonly Item[], total: number): Promise<BenchRow> {
  const shares: number[] = []
  for (const item of items) {
    let fetched = 0
    for (const stored of segments) {
      const reader = await openStored(stored, (bytes) => {
        fetched += bytes
      })
      if (!reader.mayContain(item)) continue
      for (const group of reader.rowGroupsOf(item)) {
        const rows = await reader.readRowGroup(group, EVENT_COLUMNS)
        eventsOf(rows).next()
      }
    }
    shares.push(fetched / total)
  }
  const worst = Math.max(...shares)
  const note = `records picked by event; worst ${(worst * 100).toFixed(1)} %, cold, footers included`
  return row('history of a record', median(shares) * 100, null, '% of bytes', null, '<= 5', note)
}

const REPLAY_COLUMNS: readonly ColumnName[] = ['kind', 'resource', 'record_id', 'ulid', 'operation', 'after']

/** Opening, checking and decoding the columns that a replay needs. */
async function decode(segments: readonly Stored[], events: number, runs: number): Promise<BenchRow> {
  const rates: number[] = []
  for (let i = 0; i < runs; i++) {
    const start = performance.now()
    for (const stored of segments) await decodeOne(stored)
    rates.push(events / 1000 / (performance.now() - start))
  }
  const note = REPLAY_COLUMNS.join(', ')
  return row('segment decode', median(rates), null, 'M events/s', null, '>= 2', note)
}

async function decodeOne(stored: Stored): Promise<void> {
  const reader = await openStored(stored, () => {})
  for (let group = 0; group < reader.rowGroups.length; group++) {
    const rows = await reader.readRowGroup(group, REPLAY_COLUMNS)
    rows.codes('kind')
    rows.codes('resource')
    rows.codes('operation')
    rows.bytes('record_id')
    rows.bytes('ulid')
    rows.bytes('after')
  }
}

if (import.meta.main) {
  printRows(await run({ events: numberFlag('--events', DEFAULTS.events), runs: numberFlag('--runs', DEFAULTS.runs) }))
}
