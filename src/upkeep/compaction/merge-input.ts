import { EVENT_COLUMNS } from '../../format/segment/events.ts'
import type { SegmentReader } from '../../format/segment/read.ts'
import { RowEvents } from '../../format/segment/row-events.ts'
import type { RowGroup } from '../../format/segment/row-group.ts'
import type { CodedValues } from '../../format/segment/values.ts'
import { emptyRow, type Row } from '../../restore/run.ts'
import { RowPlaces } from '../row-places.ts'

/**
 * A segment, or the files of a run one after the other, as a sorted series of events; one row group of it is in memory at a
 * time, and what is read ahead of it.
 */
export class MergeInput {
  readonly row: Row = emptyRow()
  readonly #groups: AsyncGenerator<RowGroup>
  #events: RowEvents | null = null
  #places: RowPlaces | null = null
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
    this.#places?.stand(this.row, this.#at)
    return true
  }

  /** Loads the next row group, and stands on its first row. False at the end. */
  async load(): Promise<boolean> {
    // What is behind is not kept while more is read.
    this.#events = this.#places = null
    const { done, value: group } = await this.#groups.next()
    if (done === true) return false
    this.#events = new RowEvents(group)
    this.#places = new RowPlaces(group)
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
}

async function* groupsOf(readers: readonly SegmentReader[]): AsyncGenerator<RowGroup> {
  for (const reader of readers) yield* reader.scan([...reader.rowGroups.keys()], EVENT_COLUMNS)
}
