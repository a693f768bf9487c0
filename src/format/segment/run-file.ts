import { LIMITS } from '../../base/limits.ts'
import type { MergedSegment } from '../../model/timeline.ts'
import type { Ulid } from '../../model/ulid.ts'
import type { EventColumns } from './columns.ts'
import { encodeFile, fittingRows } from './encode.ts'
import { formatRunFile, type RunFileRange } from './metadata.ts'

/**
 * About what a row group of a run has, as events are in a journal, and its most rows. One of them is what a lookup of one item reads,
 * some 14 KiB. Larger ones compress better, and are read by fewer calls: see FORMAT.md (6.4).
 */
const RUN_GROUP_BYTES = 128 * 1024
const RUN_GROUP_ROWS = 512

/** What a file of a run is, besides what is in it. */
export interface RunFileOptions {
  readonly run: Ulid
  readonly level: number
  /** Its number among the files of the run, from 0. */
  readonly file: number
  /** Rows of every row group but the last. By default so many that a row group holds a few megabytes at most. */
  readonly rowGroupRows?: number
}

/** A file of a run and what the timeline will say of it, once it is known where it is. */
export interface EncodedRunFile {
  readonly bytes: Uint8Array
  readonly file: number
  readonly info: Omit<MergedSegment, 'key' | 'run'>
}

/** Encodes the events of however many streams as one file of a run; `range` where not all of its events are left. */
export function encodeRunFile(
  columns: EventColumns,
  { run, level, file, rowGroupRows = runGroupRows(columns) }: RunFileOptions,
  range: Pick<RunFileRange, 'firstUlid' | 'lastUlid'> = ulidsOf(columns),
): EncodedRunFile {
  const { firstUlid, lastUlid } = range
  const about = { level, firstUlid, lastUlid, events: columns.count }
  const options = { rowGroupRows, filterBytes: LIMITS.runFilterBytes }
  const encoded = encodeFile(columns, options, formatRunFile({ ...about, run, file }))
  return { bytes: encoded.bytes, file, info: { ...about, ...encoded.file } }
}

/** Large events have fewer of them in a row group, so that a lookup reads as much of any. */
function runGroupRows(columns: EventColumns): number {
  const fitting = Math.floor((RUN_GROUP_BYTES * columns.count) / Math.max(1, columns.bytes))
  return fittingRows(columns, Math.max(1, Math.min(RUN_GROUP_ROWS, fitting)))
}

function ulidsOf(columns: EventColumns): Pick<RunFileRange, 'firstUlid' | 'lastUlid'> {
  let [first, last] = [0, 0]
  for (let event = 1; event < columns.count; event++) {
    if (columns.compareUlids(event, first) < 0) first = event
    if (columns.compareUlids(event, last) > 0) last = event
  }
  return { firstUlid: columns.ulid(first), lastUlid: columns.ulid(last) }
}
