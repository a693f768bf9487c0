import { EVENT_COLUMNS } from '../../format/segment/events.ts'
import type { SegmentReader } from '../../format/segment/read.ts'
import { RowEvents } from '../../format/segment/row-events.ts'
import type { RowGroup } from '../../format/segment/row-group.ts'
import type { ByteValues, CodedValues } from '../../format/segment/values.ts'
import { KINDS } from '../../model/event.ts'
import { emptyRow, prefixOf, type Row } from '../../restore/run.ts'

/** KINDS, as names that a file may or may not have right. */
const NAMES: readonly string[] = KINDS

/**
 * A segment, or the files of a run one after the other, as a sorted series of events; one row group of it is in memory at a
 * time, and what is read ahead of it.
 */
export class MergeInput {
  readonly row: Row = emptyRow()
  readonly #groups: AsyncGenerator<RowGroup>
  #events: RowEvents | null = null
  #ids: ByteValues | null = null
  #ulids: ByteValues | null = null
  #kinds: CodedValues | null = null
  #resources: CodedValues | null = null
  #streams: CodedValues | null = null
  #at = -1

  /** `readers`: the files, in the order of their items. */
  constructor(readers: readonly SegmentReader[]) {
    this.#groups = groupsOf(readers)
  }

  /** About the most that it holds in memory. */
  static bytes(readers: readonly SegmentReader[]): number {
    return Math.max(...readers.map((reader) => reader.scanBytes([...reader.rowGroups.keys()], EVENT_COLUMNS)))
  }

  /** Moves to the next row of what is loaded; false where there is none. */
  advance(): boolean {
    const events = this.#events
    if (events === null || ++this.#at >= events.rows) return false
    this.#stand()
    return true
  }

  /** Loads the next row group, and stands on its first row. False at the end. */
  async load(): Promise<boolean> {
    // What is behind is not kept while more is read.
    this.#events = null
    const { done, value: group } = await this.#groups.next()
    if (done === true) return false
    this.#events = new RowEvents(group)
    this.#ids = group.bytes('record_id')
    this.#ulids = group.bytes('ulid')
    this.#kinds = group.codes('kind')
    this.#resources = group.codes('resource')
    this.#streams = group.codes('stream')
    this.#at = -1
    return this.advance()
  }

  /** The stream of the event that it stands on. */
  get stream(): string {
    return this.#streams?.values[this.#streams.codes[this.#at] ?? -1] ?? ''
  }

  /** Bytes of that event, encoded. */
  size(): number {
    return this.#events?.at(this.#at) ?? 0
  }

  /** Writes that event after `size` was asked; returns the offset behind it. */
  write(target: Buffer, offset: number): number {
    return this.#events?.write(target, offset, this.#at) ?? offset
  }

  async close(): Promise<void> {
    this.#events = null
    await this.#groups.return(undefined)
  }

  #stand(): void {
    const [ids, ulids, kinds, resources, at] = [this.#ids, this.#ulids, this.#kinds, this.#resources, this.#at]
    if (ids === null || ulids === null || kinds === null || resources === null) return
    const { row } = this
    row.kindIndex = NAMES.indexOf(kinds.values[kinds.codes[at] ?? -1] ?? '')
    row.resource = resources.values[resources.codes[at] ?? -1] ?? ''
    row.idData = ids.data
    row.idStart = ids.starts[at] ?? 0
    row.idEnd = ids.ends[at] ?? 0
    row.prefix = prefixOf(row.idData, row.idStart, row.idEnd)
    row.ulidData = ulids.data
    row.ulidStart = ulids.starts[at] ?? 0
  }
}

async function* groupsOf(readers: readonly SegmentReader[]): AsyncGenerator<RowGroup> {
  for (const reader of readers) yield* reader.scan([...reader.rowGroups.keys()], EVENT_COLUMNS)
}
