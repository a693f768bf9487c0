import { type Image, type Item, imageBytes, KINDS } from '../model/event.ts'
import { currentStands } from '../model/fold.ts'
import type { Ulid } from '../model/ulid.ts'
import { Heap } from './heap.ts'
import { compareKeys, compareStamps, emptyRow, type Row, type Run, ULID_BYTES } from './run.ts'

/** What a merge says about an item: its last image, null where it does not exist, and the event that said so. */
export interface MergedItem extends Item {
  readonly image: Image | null
  readonly ulid: Ulid
}

/** Items that are handed on at once, and bytes of their images: where one is larger, it alone. */
const BATCH = 1000
const BATCH_BYTES = 4 * 1024 * 1024

/**
 * Merges sorted runs: every item once, in order, as the fold (`model/fold`) leaves it, that is with the image of its
 * latest row. Memory: what the runs have loaded. Closes the runs.
 */
export async function* mergeRuns(runs: readonly Run[]): AsyncGenerator<readonly MergedItem[]> {
  try {
    // By key, and the latest stamp of a key first, so that its other rows need no image.
    const heap = new Heap<Run>(before)
    for (const run of runs) if (await run.load()) heap.push(run)
    const open = new OpenItem()
    let batch: MergedItem[] = []
    let bytes = 0
    const gather = (item: MergedItem | null): void => {
      if (item === null) return
      batch.push(item)
      bytes += imageBytes(item.image)
    }
    for (let run = heap.top(); run !== undefined; run = heap.top()) {
      gather(open.offer(run))
      // Where nothing more can come of an item, it does not wait in memory for what is loaded next.
      if (run.isLast() && isAlone(heap)) gather(open.flush())
      // Before the run loads more: what is handed on is not in memory beside it.
      if (batch.length >= BATCH || bytes >= BATCH_BYTES) {
        yield batch
        batch = []
        bytes = 0
      }
      if (run.advance() || (await run.load())) heap.sink()
      else heap.pop()
    }
    gather(open.flush())
    if (batch.length > 0) yield batch
  } finally {
    for (const run of runs) await run.close()
  }
}

/** The item that is being gathered: rows of the same item follow one another. */
class OpenItem {
  readonly #row: Row = emptyRow()
  #image: Image | null = null
  #any = false
  #ulidData: Uint8Array | null = null
  #ulid: Ulid = ''

  /** Takes the row that `run` stands on; returns the item before it where this is another one. */
  offer(run: Run): MergedItem | null {
    const { row } = run
    const same = this.#any && compareKeys(this.#row, row) === 0
    if (same && currentStands(compareStamps(this.#row, row))) return null
    const done = same ? null : this.flush()
    copyRow(row, this.#row)
    this.#image = run.image()
    this.#any = true
    return done
  }

  /** All rows of a snapshot have the same one. */
  #ulidOf(data: Uint8Array, start: number): Ulid {
    if (data.length === ULID_BYTES && data === this.#ulidData) return this.#ulid
    const ulid = slice(data, start, start + ULID_BYTES)
    if (data.length === ULID_BYTES) {
      this.#ulidData = data
      this.#ulid = ulid
    }
    return ulid
  }

  flush(): MergedItem | null {
    if (!this.#any) return null
    this.#any = false
    const { kindIndex, resource, idData, idStart, idEnd, ulidData, ulidStart } = this.#row
    const [image, id] = [this.#image, slice(idData, idStart, idEnd)]
    const ulid = this.#ulidOf(ulidData, ulidStart)
    // Both may be parts of something large that nothing else needs any more.
    copyRow(NO_ROW, this.#row)
    this.#image = null
    return { kind: KINDS[kindIndex] ?? 'record', resource, id, image, ulid }
  }
}

const NO_ROW: Readonly<Row> = emptyRow()

/** One by one: of each row that there is, this is done. */
function copyRow(from: Readonly<Row>, to: Row): void {
  to.kindIndex = from.kindIndex
  to.resource = from.resource
  to.idData = from.idData
  to.idStart = from.idStart
  to.idEnd = from.idEnd
  to.prefix = from.prefix
  to.ulidData = from.ulidData
  to.ulidStart = from.ulidStart
}

function slice(data: Uint8Array, start: number, end: number): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('utf8', start, end)
}

function before(a: Run, b: Run): boolean {
  const order = compareKeys(a.row, b.row)
  return order !== 0 ? order < 0 : compareStamps(a.row, b.row) >= 0
}

/** Whether no other run stands on the item of the top. */
function isAlone(heap: Heap<Run>): boolean {
  const top = heap.top()
  return top === undefined || heap.next().every((run) => compareKeys(run.row, top.row) !== 0)
}
