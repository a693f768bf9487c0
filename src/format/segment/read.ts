import { crc32, utf8 } from '../../base/bytes.ts'
import { LIMITS } from '../../base/limits.ts'
import { type Item, KINDS, type Kind } from '../../model/event.ts'
import { compareItems } from '../../model/order.ts'
import type { SegmentFile } from '../../model/timeline.ts'
import { bloomMayContain, shortFilter } from './bloom.ts'
import type { SegmentChain } from './chain.ts'
import { decoding, segmentCorrupt } from './corrupt.ts'
import {
  type ColumnChunk,
  type Footer,
  footerLength,
  parseFooter,
  type RowGroupMetadata,
  TRAILER_BYTES,
} from './footer.ts'
import { itemHash } from './hash.ts'
import {
  parseChecksums,
  parseIndex,
  parseRange,
  type RunFileRange,
  readChain,
  type SegmentIndex,
  type SegmentRange,
} from './metadata.ts'
import { checksumOf, compressedBits } from './placed-group.ts'
import { type Fetch, HOLE_BYTES, planFetches, SCAN_HOLE_BYTES } from './ranges.ts'
import { RowGroup } from './row-group.ts'
import type { RowGroupPlace } from './run-index.ts'
import { COLUMNS, type ColumnName, columnIndex } from './schema.ts'

/** Where the bytes of a segment are. */
export interface SegmentSource {
  /** Key of the segment, for messages. */
  readonly name: string
  /** Length of the file. */
  readonly bytes: number
  /** As the timeline has it, or null where the timeline is lost: the footer's length is then read from the file. */
  readonly footer: SegmentFile['footer'] | null
  /** The bytes `[start, end)` of the file. */
  read(start: number, end: number): Promise<Uint8Array>
}

/** All items of a kind, of a resource, or one: an `Item` is a range of one. */
export interface ItemRange {
  readonly kind: Kind
  readonly resource?: string
  readonly id?: string
}

/** Bytes of row groups that are fetched together in a scan, unless they are told. */
export const WINDOW_BYTES: number = 512 * 1024
/** About what walking along the rows of an open segment takes. */
const WALK_BYTES = 32 * 1024
/** Of a decoded row group, about what says where the values of a row are. */
const ROW_BYTES = 64

/**
 * Opens a segment: one read, of its footer. Errors: `SEGMENT_CORRUPT` where it is not what the timeline says, or not
 * a segment; what `source.read` throws is passed on.
 */
export async function openSegment(source: SegmentSource): Promise<SegmentReader> {
  const { name, bytes } = source
  let length = source.footer?.bytes
  if (length === undefined) {
    if (bytes < TRAILER_BYTES) throw segmentCorrupt(name, 'it is too short to be Parquet')
    const trailer = await readExactly(source, bytes - TRAILER_BYTES, bytes)
    length = decoding(name, () => footerLength(trailer, bytes))
  }
  if (length < TRAILER_BYTES || length > bytes) throw segmentCorrupt(name, 'it is shorter than its footer')
  const footerBytes = await readExactly(source, bytes - length, bytes)
  if (source.footer !== null && crc32(footerBytes) !== source.footer.crc32) {
    throw segmentCorrupt(name, 'the checksum of its footer is wrong')
  }
  return decoding(name, () => new SegmentReader(source, parseFooter(footerBytes, bytes)))
}

/** Reads an open segment by row groups; nothing of it is kept but the footer. */
export class SegmentReader {
  readonly info: SegmentRange | RunFileRange
  /** In the order of their rows. */
  readonly rowGroups: SegmentIndex['rowGroups']
  readonly #source: SegmentSource
  readonly #footer: Footer
  readonly #checksums: Uint32Array
  readonly #bloom: Uint8Array

  constructor(source: SegmentSource, footer: Footer) {
    const index = parseIndex(footer)
    this.info = parseRange(footer)
    this.rowGroups = index.rowGroups
    this.#source = source
    this.#footer = footer
    this.#checksums = parseChecksums(footer)
    this.#bloom = index.bloom
  }

  /** Key of the segment, for messages. */
  get name(): string {
    return this.#source.name
  }

  /** Where the bytes of a row group stand in the file. */
  rangeOf(index: number): { readonly start: number; readonly end: number } {
    const { chunks } = this.#metadata(index)
    return { start: chunks[0]?.start ?? 0, end: chunks.at(-1)?.end ?? 0 }
  }

  /** Where a row group of a file of a run is, as its index has it. */
  placeOf(index: number): RowGroupPlace {
    const { rows, chunks } = this.#metadata(index)
    const { start, end } = this.rangeOf(index)
    const file = 'run' in this.info ? this.info.file : 0
    const checksums = this.#checksums.subarray(index * COLUMNS.length, (index + 1) * COLUMNS.length)
    return {
      file,
      start,
      bytes: end - start,
      rows,
      checksum: checksumOf(checksums),
      compressed: compressedBits(chunks),
    }
  }

  /** What a segment of level 0 knows of the hash chain of its stream. Errors: `SEGMENT_CORRUPT`. */
  chain(): SegmentChain {
    return decoding(this.#source.name, () => readChain(this.#footer))
  }

  /** False where the segment certainly has no event about `item`. */
  mayContain(item: Item): boolean {
    return filterMayContain(this.#bloom, item)
  }

  /** The filter of its items as the catalogue has it; undefined where it is too long for that. */
  get filter(): string | undefined {
    return shortFilter(this.#bloom, 'run' in this.info ? LIMITS.runFilterBytes : LIMITS.filterBytes)
  }

  /** Indexes of the row groups that can hold rows of `range`; an item's rows may stand in several. */
  rowGroupsOf(range: ItemRange): number[] {
    const after = this.#firstWhere((first) => compareTo(first, range) > 0)
    // The row group before the first that starts inside the range may end inside it.
    const start = Math.max(0, this.#firstWhere((first) => compareTo(first, range) >= 0) - 1)
    return Array.from({ length: Math.max(0, after - start) }, (_, i) => start + i)
  }

  /**
   * Reads columns of a row group, neighbours in one request. Errors: `SEGMENT_CORRUPT` where a checksum is wrong.
   */
  async readRowGroup(index: number, columns: readonly ColumnName[]): Promise<RowGroup> {
    const [group] = await this.#read([index], columns, HOLE_BYTES)
    if (group === undefined) throw new RangeError(`${this.#source.name} has no row group ${index}`)
    return group
  }

  /**
   * Reads columns of many row groups, in order, in requests of about `windowBytes`, one of them ahead. Errors: as above.
   */
  async *scan(
    indexes: readonly number[],
    columns: readonly ColumnName[],
    windowBytes: number = WINDOW_BYTES,
  ): AsyncGenerator<RowGroup> {
    const windows = this.#windows(indexes, windowBytes)
    const read = (window: readonly number[]): Promise<RowGroup[]> => {
      const groups = this.#read(window, columns, SCAN_HOLE_BYTES)
      groups.catch(() => {}) // thrown where it is awaited, below
      return groups
    }
    let ahead = read(windows[0] ?? [])
    for (let next = 1; next <= windows.length; next++) {
      const groups = await ahead
      ahead = read(windows[next] ?? [])
      // Each has what was decoded of it, which goes with it.
      for (let group = groups.shift(); group !== undefined; group = groups.shift()) yield group
    }
  }

  /**
   * About the most bytes that a scan of these holds at a time: two windows as they are stored, one row group decoded, and
   * the open segment itself. A row that has a group for itself is not decoded before its turn, and gone after it: of all
   * that are merged, there are two of these at a time.
   */
  scanBytes(indexes: readonly number[], columns: readonly ColumnName[], windowBytes: number = WINDOW_BYTES): number {
    let decoded = 0
    for (const index of indexes) {
      const { chunks, rows } = this.#metadata(index)
      const sum = columns.reduce((total, column) => total + (chunks[columnIndex(column)]?.uncompressedBytes ?? 0), 0)
      decoded = Math.max(decoded, rows === 1 ? 0 : sum + rows * ROW_BYTES)
    }
    let [stored, last] = [0, 0]
    for (const window of this.#windows(indexes, windowBytes)) {
      const bytes = window.reduce((sum, index) => sum + this.#storedBytes(index), 0)
      stored = Math.max(stored, last + bytes)
      last = bytes
    }
    return decoded + stored + openBytes(this.#footer.bytes) + WALK_BYTES
  }

  async #read(indexes: readonly number[], columns: readonly ColumnName[], holeBytes: number): Promise<RowGroup[]> {
    const wanted = new Map<ColumnChunk, { index: number; column: ColumnName; read: Map<ColumnName, Uint8Array> }>()
    const groups = indexes.map((index) => {
      const metadata = this.#metadata(index)
      const read = new Map<ColumnName, Uint8Array>()
      for (const column of columns) {
        const chunk = metadata.chunks[columnIndex(column)]
        if (chunk !== undefined) wanted.set(chunk, { index, column, read })
      }
      return new RowGroup(this.#source.name, metadata, read)
    })
    const fetchOne = async ({ start, end, chunks }: Fetch): Promise<void> => {
      const bytes = await readExactly(this.#source, start, end)
      for (const chunk of chunks) {
        const place = wanted.get(chunk)
        if (place === undefined) continue
        const part = bytes.subarray(chunk.start - start, chunk.end - start)
        this.#verify(place.index, place.column, part)
        place.read.set(place.column, part)
      }
    }
    await Promise.all(planFetches([...wanted.keys()], holeBytes).map(fetchOne))
    return groups
  }

  /** Splits row groups into runs whose bytes in the file are about so many. */
  #windows(indexes: readonly number[], windowBytes: number): number[][] {
    const windows: number[][] = []
    let left = 0
    for (const index of indexes) {
      const bytes = this.#storedBytes(index)
      const window = windows.at(-1)
      if (window !== undefined && bytes <= left) {
        window.push(index)
        left -= bytes
      } else {
        windows.push([index])
        left = windowBytes - bytes
      }
    }
    return windows
  }

  #storedBytes(index: number): number {
    const { start, end } = this.rangeOf(index)
    return end - start
  }

  #metadata(index: number): RowGroupMetadata {
    const metadata = this.#footer.rowGroups[index]
    if (metadata === undefined) throw new RangeError(`${this.#source.name} has no row group ${index}`)
    return metadata
  }

  #verify(rowGroup: number, column: ColumnName, bytes: Uint8Array): void {
    if (crc32(bytes) === this.#checksums[rowGroup * COLUMNS.length + columnIndex(column)]) return
    throw segmentCorrupt(this.#source.name, `the checksum of column ${column} in row group ${rowGroup} is wrong`)
  }

  /** Index of the first row group whose first item satisfies `test`, which stays true once it is. */
  #firstWhere(test: (first: Item) => boolean): number {
    let low = 0
    let high = this.rowGroups.length
    while (low < high) {
      const middle = (low + high) >> 1
      const group = this.rowGroups[middle]
      if (group !== undefined && test(group.first)) high = middle
      else low = middle + 1
    }
    return low
  }
}

/** False where what has this Bloom filter certainly has no event about `item`. */
export function filterMayContain(bloom: Uint8Array, item: Item): boolean {
  return bloomMayContain(bloom, itemHash(KINDS.indexOf(item.kind), utf8(item.resource), utf8(item.id)))
}

/** About what an open segment takes in memory: its footer as it was read, and what was parsed out of it. */
export function openBytes(footerBytes: number): number {
  return 3 * footerBytes
}

/** Negative where `item` stands before the whole range, positive behind it, 0 inside. */
function compareTo(item: Item, range: ItemRange): number {
  const { kind, resource = item.resource } = range
  const id = range.resource === undefined ? item.id : (range.id ?? item.id)
  return compareItems(item, { kind, resource, id })
}

async function readExactly(source: SegmentSource, start: number, end: number): Promise<Uint8Array> {
  const bytes = await source.read(start, end)
  if (bytes.length === end - start) return bytes
  throw segmentCorrupt(source.name, `bytes ${start} to ${end} of it are not there`)
}
