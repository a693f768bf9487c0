import { parentPort, workerData } from 'node:worker_threads'
import { Table as ArrowTable, TimestampMillisecond, tableToIPC, Utf8, type Vector, vectorFromArray } from 'apache-arrow'
import { Compression, Table, WriterPropertiesBuilder, writeParquet } from 'parquet-wasm'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import { ulidTime } from '../../src/model/ulid.ts'
import { type Chunk, dataset, encodeChunk } from './dataset.ts'

/*
 * One side of the encoding bench, in a thread of its own, as the sealer has one: its heap, its memory and its compiled
 * code are not those of the other side. Answers `next` (go on to the next 50,000 changes) and `run` (encode them).
 */

/** Which way the changes are encoded. */
export type Side = 'ours' | 'peer' | 'typed'

/** The answer to `run`: milliseconds, and sizes. */
export interface SideResult {
  readonly ms: number
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
  } else if (chunk !== undefined) parentPort?.postMessage(measure(chunk))
})

function measure(changes: Chunk): SideResult {
  const start = performance.now()
  const bytes = side === 'ours' ? oursOf(changes) : peerOf(changes, side === 'typed')
  const ms = performance.now() - start
  return { ms, bytes: bytes.length, events: changes.changes.length, imageBytes: changes.imageBytes }
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
