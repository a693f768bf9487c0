import { statSync } from 'node:fs'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { BIGINT, type DuckDBConnection, DuckDBDataChunk, DuckDBInstance, VARCHAR } from '@duckdb/node-api'
import { Table as ArrowTable, TimestampMillisecond, tableToIPC, Utf8, type Vector, vectorFromArray } from 'apache-arrow'
import { Compression, Table, WriterPropertiesBuilder, writeParquet } from 'parquet-wasm'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import { ulidTime } from '../../src/model/ulid.ts'
import { type Chunk, dataset, encodeChunk } from './dataset.ts'
import { inTemporaryDirectory, timed } from './timing.ts'

/*
 * One side of the encoding bench, in a thread of its own, as the sealer has one: its heap, its memory and its compiled
 * code are not those of the other side. Answers `next` (go on to the next 50,000 changes) and `run` (encode them).
 */

/** Which way the changes are encoded. */
export type Side = 'ours' | 'peer' | 'typed' | 'duckdb'

/** The answer to `run`: milliseconds of the processor, of which nobody else has any meanwhile, and sizes. */
export interface SideResult {
  readonly cpuMs: number
  readonly bytes: number
  readonly events: number
  readonly imageBytes: number
}

const { side, events }: { side: Side; events: number } = workerData
const chunks = dataset({ events })
let chunk: Chunk | undefined

parentPort?.on('message', (message: 'next' | 'run') => {
  if (message === 'next') {
    chunk = chunks.next().value ?? undefined
    parentPort?.postMessage(chunk !== undefined)
  } else if (chunk !== undefined) measure(chunk).then((result) => parentPort?.postMessage(result))
})

async function measure(changes: Chunk): Promise<SideResult> {
  const { cpuMs, result: bytes } = await timed(() => encoded(changes))
  return { cpuMs, bytes, events: changes.changes.length, imageBytes: changes.imageBytes }
}

async function encoded(changes: Chunk): Promise<number> {
  if (side === 'ours') return oursOf(changes).length
  return side === 'duckdb' ? duckDbOf(changes) : peerOf(changes, side === 'typed').length
}

function oursOf(changes: Chunk): Uint8Array {
  return encodeSegment(encodeChunk(changes), { stream: 'bench', level: 0 }).bytes
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

const DUCKDB_COLUMNS = [
  ...['ulid VARCHAR', 'time BIGINT', 'stream VARCHAR', 'sequence BIGINT', 'kind VARCHAR', 'resource VARCHAR'],
  ...['record_id VARCHAR', 'operation VARCHAR', 'actor VARCHAR', 'transaction VARCHAR', 'metadata VARCHAR'],
  ...['before VARCHAR', 'after VARCHAR'],
]
/** Rows that DuckDB takes at a time. */
const VECTOR_ROWS = 2048
let duckDb: Promise<DuckDBConnection> | undefined

async function openDuckDb(): Promise<DuckDBConnection> {
  return (await DuckDBInstance.create(':memory:', { threads: '1' })).connect()
}

/** The same columns by DuckDB's quickest way in: chunks of typed vectors, and a sorted COPY. Returns the bytes of the file. */
async function duckDbOf({ changes, ulids, firstSequence }: Chunk): Promise<number> {
  duckDb ??= openDuckDb()
  const connection = await duckDb
  await connection.run(`CREATE OR REPLACE TABLE events (${DUCKDB_COLUMNS.join(', ')})`)
  const appender = await connection.createAppender('events')
  const types = DUCKDB_COLUMNS.map((column) => (column.endsWith('BIGINT') ? BIGINT : VARCHAR))
  const text = (bytes: Uint8Array | undefined): string | null =>
    bytes === undefined ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
  for (let at = 0; at < changes.length; at += VECTOR_ROWS) {
    const part = changes.slice(at, at + VECTOR_ROWS)
    const stamps = ulids.slice(at, at + VECTOR_ROWS)
    const chunk = DuckDBDataChunk.create(types)
    chunk.setColumns([
      stamps,
      stamps.map((ulid) => BigInt(ulidTime(ulid))),
      part.map(() => 'bench'),
      part.map((_, i) => BigInt(firstSequence + at + i)),
      part.map((change) => change.kind),
      part.map((change) => change.resource),
      part.map((change) => change.id),
      part.map((change) => change.operation),
      part.map((change) => change.context.actor),
      part.map((change) => change.context.transaction),
      part.map((change) => change.context.metadata),
      part.map((change) => text(change.before?.json)),
      part.map((change) => text(change.after?.json)),
    ])
    appender.appendDataChunk(chunk)
  }
  appender.closeSync()
  return inTemporaryDirectory(async (directory) => {
    const path = join(directory, 'events.parquet')
    await connection.run(
      `COPY (SELECT * REPLACE (make_timestamp_ms(time) AS time) FROM events ORDER BY resource, record_id, ulid)
       TO '${path}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)`,
    )
    return statSync(path).size
  })
}
