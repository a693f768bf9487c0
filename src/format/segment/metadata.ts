import { text } from '../../base/bytes.ts'
import { type Item, KINDS, type Kind } from '../../model/event.ts'
import type { MergedSegment, StreamSegment } from '../../model/timeline.ts'
import { isUlid, type Ulid } from '../../model/ulid.ts'
import { parseChain, type SegmentChain } from './chain.ts'
import { expect } from './corrupt.ts'
import type { Footer } from './footer.ts'
import { COLUMNS, SEGMENT_FORMAT } from './schema.ts'

/*
 * The key-value metadata of a segment, all text:
 *
 *   tidemark.segment    JSON {format, level, stream, firstSequence, lastSequence, firstUlid, lastUlid, events}; of a file of
 *                       a run {format, level, run, file, firstUlid, lastUlid, events}
 *   tidemark.index      JSON {rowGroups: [[rows, kind, resource, id] of the first row], bloom: base64}
 *   tidemark.chain      at level 0: JSON {previous, links: [[last sequence, hash]], salts, erased: [[sequence, ulid, digest]]}
 *   tidemark.checksums  CRC-32 of every column chunk, 8 lower-case hex digits each, row group after row group
 */
/** Metadata key of the description. */
export const SEGMENT_KEY = 'tidemark.segment'
/** Metadata key of the index. */
export const INDEX_KEY = 'tidemark.index'
/** Metadata key of the hash chain. */
export const CHAIN_KEY = 'tidemark.chain'
/** Metadata key of the checksums. */
export const CHECKSUMS_KEY = 'tidemark.checksums'
/** Hexadecimal digits of one checksum. */
export const CHECKSUM_DIGITS = 8

/** What a segment says of itself: enough to enter it in a timeline again. */
export type SegmentRange = Pick<
  StreamSegment,
  'level' | 'stream' | 'firstSequence' | 'lastSequence' | 'firstUlid' | 'lastUlid' | 'events'
>

/** The same of a file of a run. */
export interface RunFileRange extends Pick<MergedSegment, 'level' | 'firstUlid' | 'lastUlid' | 'events'> {
  readonly run: Ulid
  /** Its number among the files of the run, from 0. */
  readonly file: number
}

/** A row group in the index. */
export interface RowGroupStart {
  readonly rows: number
  /** Item of its first row. */
  readonly first: Item
}

/** Where items are: the first item of every row group, and a Bloom filter of all items. */
export interface SegmentIndex {
  readonly rowGroups: readonly RowGroupStart[]
  readonly bloom: Uint8Array
}

/** Text of the description. */
export function formatRange(range: SegmentRange): string {
  const { level, stream, firstSequence, lastSequence, firstUlid, lastUlid, events } = range
  return JSON.stringify({
    format: SEGMENT_FORMAT,
    level,
    stream,
    firstSequence,
    lastSequence,
    firstUlid,
    lastUlid,
    events,
  })
}

/** Text of the description of a file of a run. */
export function formatRunFile({ level, run, file, firstUlid, lastUlid, events }: RunFileRange): string {
  return JSON.stringify({ format: SEGMENT_FORMAT, level, run, file, firstUlid, lastUlid, events })
}

/** The description in a footer. Errors: `SEGMENT_CORRUPT`, as for the other parsers here. */
export function parseRange(footer: Footer): SegmentRange | RunFileRange {
  const value = json(footer, SEGMENT_KEY)
  expect(isObject(value), 'its description is not an object')
  const { format, level, firstUlid, lastUlid, events } = value
  expect(format === SEGMENT_FORMAT, `its format is not ${SEGMENT_FORMAT}`)
  expect(isCount(level) && isCount(events), 'its description is incomplete')
  expect(typeof firstUlid === 'string' && isUlid(firstUlid), 'its first ULID is none')
  expect(typeof lastUlid === 'string' && isUlid(lastUlid), 'its last ULID is none')
  expect(events === footer.rows, 'its number of events differs from its rows')
  const common = { level, firstUlid, lastUlid, events }
  const { run, file } = value
  if (run !== undefined) {
    expect(typeof run === 'string' && isUlid(run) && isCount(file), 'its run is not named')
    return { ...common, run, file }
  }
  const { stream, firstSequence, lastSequence } = value
  expect(typeof stream === 'string', 'its description is incomplete')
  expect(isCount(firstSequence) && isCount(lastSequence), 'its sequences are not numbers')
  return { ...common, stream, firstSequence, lastSequence }
}

/** Text of the index. */
export function formatIndex(index: SegmentIndex): string {
  const rowGroups = index.rowGroups.map(({ rows, first }) => [rows, first.kind, first.resource, first.id])
  return JSON.stringify({ rowGroups, bloom: Buffer.from(index.bloom).toString('base64') })
}

/** The index in a footer, which fits its row groups. */
export function parseIndex(footer: Footer): SegmentIndex {
  const value = json(footer, INDEX_KEY)
  expect(isObject(value), 'its index is not an object')
  const { rowGroups: list, bloom: filter } = value
  expect(Array.isArray(list) && typeof filter === 'string', 'its index is incomplete')
  const entries: readonly unknown[] = list
  const rowGroups = entries.map(rowGroupStart)
  const rowsFit =
    rowGroups.length === footer.rowGroups.length && rowGroups.every(({ rows }, i) => rows === footer.rowGroups[i]?.rows)
  expect(rowsFit, 'its index does not fit its row groups')
  const bloom = Buffer.from(filter, 'base64')
  expect(bloom.length > 0 && bloom.length % 32 === 0, 'its filter has an impossible length')
  return { rowGroups, bloom }
}

function rowGroupStart(entry: unknown): RowGroupStart {
  expect(Array.isArray(entry) && entry.length === 4, 'its index holds something else than a row group')
  const [rows, kind, resource, id]: readonly unknown[] = entry
  expect(
    isCount(rows) && isKind(kind) && typeof resource === 'string' && typeof id === 'string',
    'its index is malformed',
  )
  return { rows, first: { kind, resource, id } }
}

/** The hash chain in a footer. */
export function readChain(footer: Footer): SegmentChain {
  const range = parseRange(footer)
  expect('stream' in range, 'its chain is in the chain file of its run')
  const chain = parseChain(json(footer, CHAIN_KEY))
  const { firstSequence, lastSequence, events } = range
  expect(chain.links.at(-1)?.[0] === lastSequence, 'its chain ends elsewhere')
  expect(events + chain.erased.length <= lastSequence - firstSequence + 1, 'it has too many events')
  return chain
}

/** CRC-32 of every column chunk, row group after row group. */
export function parseChecksums(footer: Footer): Uint32Array {
  const digits = footer.metadata.get(CHECKSUMS_KEY)
  const chunks = footer.rowGroups.length * COLUMNS.length
  expect(digits?.length === chunks * CHECKSUM_DIGITS, 'its checksums are missing')
  const all = Buffer.from(digits).toString('latin1')
  expect(/^[0-9a-f]*$/.test(all), 'its checksums are not hexadecimal')
  return Uint32Array.from({ length: chunks }, (_, i) =>
    Number.parseInt(all.slice(i * CHECKSUM_DIGITS, (i + 1) * CHECKSUM_DIGITS), 16),
  )
}

function json(footer: Footer, key: string): unknown {
  const value = footer.metadata.get(key)
  expect(value !== undefined, `its metadata has no ${key}`)
  try {
    return JSON.parse(text(value))
  } catch {
    expect(false, `its ${key} is not JSON`)
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isKind(value: unknown): value is Kind {
  return KINDS.some((kind) => kind === value)
}
