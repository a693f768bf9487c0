import type { SegmentReader } from '../format/segment/read.ts'
import type { ColumnName } from '../format/segment/schema.ts'
import { type Item, KINDS } from '../model/event.ts'
import type { StampRange } from './run.ts'
import type { Selection } from './target.ts'

/** What a merge reads of a segment. */
export const MERGED_COLUMNS: readonly ColumnName[] = ['kind', 'resource', 'record_id', 'ulid', 'after', 'after_raw']

/** A segment as it was sealed, or one of the files of a run, and the row groups of it that a merge reads. */
export interface RunPart {
  /** Key, for messages. */
  readonly name: string
  readonly open: () => Promise<SegmentReader>
  readonly groups: readonly number[]
  /** The first item of each of these row groups. */
  readonly firsts: readonly Item[]
  /** The most that it holds while it is read. */
  readonly bytes: number
  /** Of all its events. */
  readonly stamps: StampRange
}

/** The part of a segment that has the selection. Who reads many of them in turn opens each when it comes to it. */
export function partOf(
  reader: SegmentReader,
  selection: Selection,
  open: () => Promise<SegmentReader> = async () => reader,
): RunPart {
  const groups = groupsOf(reader, selection)
  const { firstUlid: first, lastUlid: last } = reader.info
  return {
    name: reader.name,
    open,
    groups,
    firsts: groups.flatMap((index) => reader.rowGroups[index]?.first ?? []),
    bytes: reader.scanBytes(groups, MERGED_COLUMNS),
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
