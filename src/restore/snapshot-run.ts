import { utf8 } from '../base/bytes.ts'
import { type Image, KINDS } from '../model/event.ts'
import type { Ulid } from '../model/ulid.ts'
import { emptyRow, type Row, type Run, type StampRange, setId } from './run.ts'
import type { SnapshotLines, SnapshotReader } from './snapshot-reader.ts'
import type { Selection } from './target.ts'

/** The records of a snapshot as a run: every row has the stamp of the snapshot. */
export class SnapshotRun implements Run {
  readonly row: Row = emptyRow()
  readonly bytes: number
  readonly stamps: StampRange
  readonly #batches: AsyncGenerator<SnapshotLines>
  #lines: SnapshotLines['lines'] | null = null
  #index = 0

  constructor(reader: SnapshotReader, ulid: Ulid, selection: Selection) {
    this.bytes = reader.scanBytes()
    this.stamps = { first: ulid, last: ulid }
    this.#batches = reader.lines(selection)
    this.row.ulidData = utf8(ulid)
  }

  advance(): boolean {
    this.#index++
    return this.#stand()
  }

  async load(): Promise<boolean> {
    for (;;) {
      this.#lines = null
      const { done, value } = await this.#batches.next()
      if (done === true) return false
      this.#lines = value.lines
      this.#index = 0
      this.row.kindIndex = KINDS.indexOf(value.kind)
      this.row.resource = value.resource
      if (this.#stand()) return true
    }
  }

  isLast(): boolean {
    return true
  }

  image(): Image | null {
    return this.#lines?.image(this.#index) ?? null
  }

  async close(): Promise<void> {
    await this.#batches.return(undefined)
  }

  #stand(): boolean {
    const [lines, index, row] = [this.#lines, this.#index, this.row]
    if (lines === null || index >= lines.length) return false
    setId(row, lines.idData(index), lines.idStart(index), lines.idEnd(index))
    return true
  }
}
