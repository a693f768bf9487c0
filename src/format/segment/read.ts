import { crc32, utf8 } from '../../base/bytes.ts'
import { type Item, KINDS, type Kind } from '../../model/event.ts'
import { compareItems } from '../../model/order.ts'
import type { SegmentEntry } from '../../model/timeline.ts'
import { bloomMayContain } from './bloom.ts'
import { decoding, segmentCorrupt } from './corrupt.ts'
import { type ColumnChunk, type Footer, footerLength, parseFooter, TRAILER_BYTES } from './footer.ts'
import { itemHash } from './hash.ts'
import { parseChecksums, parseIndex, parseRange, type SegmentIndex, type SegmentRange } from './metadata.ts'
import { planFetches } from './ranges.ts'
import { RowGroup } from './row-group.ts'
import { COLUMNS, type ColumnName, columnIndex } from './schema.ts'

/** Where the bytes of a segment are. */
export interface SegmentSource {
  /** Key of the segment, for messages. */
  readonly name: string
  /** Length of the file. */
  readonly bytes: number
  /** As the timeline has it, or null where the timeline is lost: the footer's length is then read from the file. */
  readonly footer: SegmentEntry['footer'] | null
  /** The bytes `[start, end)` of the file. */
  read(start: number, end: number): Promise<Uint8Array>
}

/** All items of a kind, of a resource, or one: an `Item` is a range of one. */
export interface ItemRange {
  readonly kind: Kind
  readonly resource?: string
  readonly id?: string
}

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
  readonly info: SegmentRange
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

  /** False where the segment certainly has no event about `item`. */
  mayContain(item: Item): boolean {
    return bloomMayContain(this.#bloom, itemHash(KINDS.indexOf(item.kind), utf8(item.resource), utf8(item.id)))
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
    const metadata = this.#footer.rowGroups[index]
    if (metadata === undefined) throw new RangeError(`${this.#source.name} has no row group ${index}`)
    const wanted = new Map<ColumnChunk, ColumnName>()
    for (const column of columns) {
      const chunk = metadata.chunks[columnIndex(column)]
      if (chunk !== undefined) wanted.set(chunk, column)
    }
    const read = new Map<ColumnName, Uint8Array>()
    const fetchOne = async ({ start, end, chunks }: ReturnType<typeof planFetches>[number]): Promise<void> => {
      const bytes = await readExactly(this.#source, start, end)
      for (const chunk of chunks) {
        const column = wanted.get(chunk)
        if (column === undefined) continue
        const part = bytes.subarray(chunk.start - start, chunk.end - start)
        this.#verify(index, column, part)
        read.set(column, part)
      }
    }
    await Promise.all(planFetches([...wanted.keys()]).map(fetchOne))
    return new RowGroup(this.#source.name, metadata, read)
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
