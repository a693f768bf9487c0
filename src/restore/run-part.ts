import { type SegmentReader, WINDOW_BYTES } from '../format/segment/read.ts'
import type { RowGroup } from '../format/segment/row-group.ts'
import type { ColumnName } from '../format/segment/schema.ts'
import { type Item, KINDS } from '../model/event.ts'
import type { StampRange } from './run.ts'
import type { Selection } from './target.ts'

/** What a merge reads of a segment. */
export const MERGED_COLUMNS: readonly ColumnName[] = ['kind', 'resource', 'record_id', 'ulid', 'after', 'after_raw']

/** A segment as it was sealed, or one of the files of a run, with the row groups of it that a merge reads. */
export interface RunPart {
  /** Key, for messages. */
  readonly name: string
  /** Reads the row groups of it that are merged, in order. */
  readonly scan: (columns: readonly ColumnName[]) => AsyncGenerator<RowGroup>
  /** The first item of each row group. */
  readonly firsts: readonly Item[]
  /** The most that it holds while it is read. */
  readonly bytes: number
  /** Of all its events. */
  readonly stamps: StampRange
}

/** How a part is read. */
export interface PartReading {
  /** Who reads many of them in turn opens each when it comes to it. Default: the reader itself. */
  readonly open?: () => Promise<SegmentReader>
  /** Bytes that are read at once. */
  readonly windowBytes?: number
}

/** The part of a segment that has the selection. */
export function partOf(reader: SegmentReader, selection: Selection, reading: PartReading = {}): RunPart {
  const { open = async (): Promise<SegmentReader> => reader, windowBytes = WINDOW_BYTES } = reading
  const groups = groupsOf(reader, selection)
  const { firstUlid: first, lastUlid: last } = reader.info
  return {
    name: reader.name,
    scan: async function* (columns) {
      yield* (await open()).scan(groups, columns, windowBytes)
    },
    firsts: groups.flatMap((index) => reader.rowGroups[index]?.first ?? []),
    bytes: reader.scanBytes(groups, MERGED_COLUMNS, windowBytes),
    stamps: { first, last },
  }
}

/** The row groups that can hold rows of the selection, in order. */
function groupsOf(reader: SegmentReader, { resources, ids }: Selection): number[] {
  if (resources === undefined) return reader.rowGroups.map((_, index) => index)
  const groups = new Set<number>()
  for (const resource of resources) {
    const kinds = ids === undefined ? KINDS : KINDS.filter((kind) => kind !== 'record')
    for (const kind of kinds) for (const index of reader.rowGroupsOf({ kind, resource })) groups.add(index)
    for (const id of ids ?? []) {
      const item = { kind: 'record' as const, resource, id }
      if (reader.mayContain(item)) for (const index of reader.rowGroupsOf(item)) groups.add(index)
    }
  }
  return [...groups].sort((a, b) => a - b)
}
