import { compareUtf8, EMPTY } from '../base/bytes.ts'
import type { Image } from '../model/event.ts'
import type { Ulid } from '../model/ulid.ts'

/**
 * A sorted run of rows, at most one row group or gzip member of it in memory. `advance` moves within what is loaded
 * and never waits; when it returns false, `load` fetches more, and stands on its first row. The other members describe
 * the row it stands on; ids and ULIDs are ranges of bytes, so that rows which lose the merge cost no object.
 */
export interface Run {
  advance(): boolean
  /** False at the end of the run. */
  load(): Promise<boolean>
  readonly row: Row
  /** The most that it holds in memory at a time, known before anything is loaded. */
  readonly bytes: number
  /** What the stamps of its rows lie within. */
  readonly stamps: StampRange
  /** Whether no other row of the item that it stands on comes after this one. */
  isLast(): boolean
  /** The image that this row leaves behind: null where it deletes. */
  image(): Image | null
  close(): Promise<void>
}

/** ULIDs, both inclusive. */
export interface StampRange {
  readonly first: Ulid
  readonly last: Ulid
}

/** Where a run stands. Mutable, one object for each run. */
export interface Row {
  kindIndex: number
  resource: string
  idData: Uint8Array
  idStart: number
  idEnd: number
  /** The first six bytes of the id as a number, and the next six, zero-padded: they decide most comparisons. */
  prefix: number
  nextPrefix: number
  /** Whether the merge asks for the ULID: a run need not read what nobody asks for. */
  isStamped: boolean
  ulidData: Uint8Array
  ulidStart: number
}

const PREFIX_BYTES = 6
/** Of a ULID as text. */
export const ULID_BYTES = 26

/** A row to be filled. */
export function emptyRow(): Row {
  const [id, stamp] = [
    { idData: EMPTY, idStart: 0, idEnd: 0, prefix: 0, nextPrefix: 0 },
    { ulidData: EMPTY, ulidStart: 0 },
  ]
  return { kindIndex: 0, resource: '', ...id, isStamped: true, ...stamp }
}

/** Has a row stand on the item of its kind and resource whose id is `data[start, end)`. */
export function setId(row: Row, data: Uint8Array, start: number, end: number): void {
  row.idData = data
  row.idStart = start
  row.idEnd = end
  row.prefix = prefixOf(data, start, end)
  row.nextPrefix = prefixOf(data, start + PREFIX_BYTES, end)
}

/** The first bytes of `data[start, end)` as a number that sorts as they do. */
function prefixOf(data: Uint8Array, start: number, end: number): number {
  let prefix = 0
  for (let i = 0; i < PREFIX_BYTES; i++) prefix = prefix * 256 + (start + i < end ? (data[start + i] ?? 0) : 0)
  return prefix
}

/** The order of items (see `compareItems`), on rows. */
export function compareKeys(a: Readonly<Row>, b: Readonly<Row>): number {
  if (a.kindIndex !== b.kindIndex) return a.kindIndex - b.kindIndex
  if (a.resource !== b.resource) return compareUtf8(a.resource, b.resource)
  if (a.prefix !== b.prefix) return a.prefix - b.prefix
  if (a.nextPrefix !== b.nextPrefix) return a.nextPrefix - b.nextPrefix
  // The bytes of the prefixes are the same, as far as both have them.
  return compareRange(a.idData, a.idStart, a.idEnd, b.idData, b.idStart, b.idEnd, 2 * PREFIX_BYTES)
}

/** The order of the ULIDs of two rows. */
export function compareStamps(a: Readonly<Row>, b: Readonly<Row>): number {
  return compareRange(
    a.ulidData,
    a.ulidStart,
    a.ulidStart + ULID_BYTES,
    b.ulidData,
    b.ulidStart,
    b.ulidStart + ULID_BYTES,
  )
}

function compareRange(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
  from = 0,
): number {
  const length = Math.min(aEnd - aStart, bEnd - bStart)
  for (let i = from; i < length; i++) {
    const x = a[aStart + i] ?? 0
    const y = b[bStart + i] ?? 0
    if (x !== y) return x - y
  }
  return aEnd - aStart - (bEnd - bStart)
}
