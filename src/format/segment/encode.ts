import { crc32, sha256 } from '../../base/bytes.ts'
import { TidemarkError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { type Item, KINDS } from '../../model/event.ts'
import type { SegmentFile, StreamSegment } from '../../model/timeline.ts'
import { expectedEvents } from '../event-codec.ts'
import { buildBloom, shortFilter } from './bloom.ts'
import { chainJson, chainOf, chainStart, chainValue, type SegmentChain } from './chain.ts'
import { EventColumns } from './columns.ts'
import {
  CHAIN_KEY,
  CHECKSUMS_KEY,
  formatIndex,
  formatRange,
  INDEX_KEY,
  type RowGroupStart,
  SEGMENT_KEY,
  type SegmentRange,
} from './metadata.ts'
import { parquetFile } from './parquet.ts'
import { Salts } from './salts.ts'
import { type SortedRows, sortRows } from './sort.ts'

/** Everything that the timeline says of a segment but where it is. */
export type SegmentInfo = Omit<StreamSegment, 'key'>

/** What is encoded, and in which pieces. */
export interface EncodeOptions {
  readonly stream: string
  readonly level: number
  /** The link of the stream before the first of these events, lower-case hex. Default: that of a new stream. */
  readonly previous?: string
  /** Rows of every row group but the last. By default so many that a row group holds a few megabytes at most. */
  readonly rowGroupRows?: number
}

/** A segment and what the timeline will say of it. */
export interface EncodedSegment {
  readonly bytes: Uint8Array
  readonly info: SegmentInfo
}

/** Few enough that reading one for the history of a record costs little, and enough to compress well. */
const ROW_GROUP_ROWS = 1024
const ROW_GROUP_BYTES = 16 << 20

/**
 * Encodes the events of one stream, concatenated as `encodeEvent` writes them, as one segment.
 * Errors: `OPTION_INVALID` for no events, or more than a segment can hold; `HISTORY_GAP` where a sequence is missing.
 */
export function encodeSegment(frames: readonly Uint8Array[], options: EncodeOptions): EncodedSegment {
  const columns = new EventColumns(frames.reduce((sum, frame) => sum + expectedEvents(frame), 0))
  for (const frame of frames) columns.append(options.stream, frame)
  checkSequences(columns, options.stream)
  checkSize(columns)
  const chain = chainOf(columns, options.previous ?? chainStart(options.stream), Salts.fresh())
  return encodeColumns(columns, options, chain)
}

/**
 * Encodes what `columns` holds, of however many streams, as one segment in the name of `options.stream`. Where events
 * of the range were erased, `range` tells it, since the first or last may be among them, or all.
 */
export function encodeColumns(
  columns: EventColumns,
  options: EncodeOptions,
  chain: SegmentChain,
  range: SegmentRange = rangeOf(columns, options),
): EncodedSegment {
  const rowGroupRows = options.rowGroupRows ?? fittingRows(columns, ROW_GROUP_ROWS)
  const metadata = [[CHAIN_KEY, JSON.stringify(chainJson(chain))]] as const
  const { bytes, file } = encodeFile(
    columns,
    { rowGroupRows, filterBytes: LIMITS.filterBytes },
    formatRange(range),
    metadata,
  )
  return { bytes, info: { ...range, ...file, chain: { previous: chain.previous, value: chainValue(chain) } } }
}

/** A Parquet file of sorted rows, and what the timeline says of it as a file. */
export interface EncodedFile {
  readonly bytes: Uint8Array
  readonly file: Pick<SegmentFile, 'bytes' | 'sha256' | 'footer' | 'filter'>
}

/** How rows become a file. */
export interface FileOptions {
  /** Rows of every row group but the last. */
  readonly rowGroupRows: number
  /** Bytes up to which the timeline has the filter too. */
  readonly filterBytes: number
}

/** Encodes what `columns` holds, with its description, and with `metadata` besides. */
export function encodeFile(
  columns: EventColumns,
  { rowGroupRows, filterBytes }: FileOptions,
  description: string,
  metadata: readonly (readonly [string, string])[] = [],
): EncodedFile {
  const rows = sortRows(columns, rowGroupRows)
  const rowGroups = rowGroupStarts(columns, rows, rowGroupRows)
  const bloom = buildBloom(columns.items.hashes())
  const index = formatIndex({ rowGroups, bloom })
  const { bytes, footerBytes } = parquetFile(columns, rows, rowGroupRows, (checksums) => [
    [SEGMENT_KEY, description],
    [INDEX_KEY, index],
    ...metadata,
    [CHECKSUMS_KEY, checksums],
  ])
  const footer = { bytes: footerBytes, crc32: crc32(bytes.subarray(-footerBytes)) }
  const filter = shortFilter(bloom, filterBytes)
  const file = { bytes: bytes.length, sha256: sha256(bytes), footer, ...(filter === undefined ? {} : { filter }) }
  return { bytes, file }
}

/** So many that a row group has at most `most`, and a few megabytes. */
export function fittingRows(columns: EventColumns, most: number): number {
  const fitting = Math.floor((ROW_GROUP_BYTES * columns.count) / Math.max(1, columns.bytes))
  return Math.max(1, Math.min(most, fitting))
}

function checkSize(columns: EventColumns): void {
  if (columns.count > 0 && columns.bytes <= LIMITS.chunkBytes) return
  throw new TidemarkError(
    'OPTION_INVALID',
    `A segment cannot hold ${columns.count} events of ${columns.bytes} bytes.`,
    {
      hint: `Seal at least one event and at most ${LIMITS.chunkBytes} bytes at a time.`,
    },
  )
}

function checkSequences(columns: EventColumns, stream: string): void {
  const first = columns.sequence[0] ?? 0
  for (let event = 1; event < columns.count; event++) {
    const found = columns.sequence[event] ?? 0
    if (found === first + event) continue
    throw new TidemarkError(
      'HISTORY_GAP',
      `Stream ${stream} goes from event ${first + event - 1} to event ${found}: events in between are missing.`,
      {
        hint: 'Keep the journal directory as it is and run `tidemark verify`; nothing was sealed.',
        details: { stream, expected: first + event, found },
      },
    )
  }
}

function rangeOf(columns: EventColumns, options: EncodeOptions): SegmentRange {
  let [first, last] = [0, columns.ascending ? columns.count - 1 : 0]
  let firstSequence = Number.POSITIVE_INFINITY
  let lastSequence = 0
  for (let event = 0; event < columns.count; event++) {
    if (!columns.ascending) {
      if (columns.compareUlids(event, first) < 0) first = event
      if (columns.compareUlids(event, last) > 0) last = event
    }
    const sequence = columns.sequence[event] ?? 0
    if (sequence < firstSequence) firstSequence = sequence
    if (sequence > lastSequence) lastSequence = sequence
  }
  return {
    level: options.level,
    stream: options.stream,
    firstSequence,
    lastSequence,
    firstUlid: columns.ulid(first),
    lastUlid: columns.ulid(last),
    events: columns.count,
  }
}

function rowGroupStarts(columns: EventColumns, rows: SortedRows, rowGroupRows: number): RowGroupStart[] {
  const starts: RowGroupStart[] = []
  for (let row = 0; row < columns.count; row += rowGroupRows) {
    const first = itemOf(columns, columns.item[rows.events[row] ?? 0] ?? 0)
    starts.push({ rows: Math.min(rowGroupRows, columns.count - row), first })
  }
  return starts
}

function itemOf(columns: EventColumns, entry: number): Item {
  const resource = columns.items.parent(entry)
  const text = ({ buffer, start, end }: { buffer: Buffer; start: number; end: number }): string =>
    buffer.toString('utf8', start, end)
  return {
    kind: KINDS[columns.resources.parent(resource)] ?? 'record',
    resource: text(columns.resources.span(resource)),
    id: text(columns.items.span(entry)),
  }
}
