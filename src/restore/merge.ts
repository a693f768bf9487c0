import { type Image, type Item, imageBytes, KINDS } from '../model/event.ts'
import { currentStands } from '../model/fold.ts'
import type { Ulid } from '../model/ulid.ts'
import { compareKeys, compareStamps, emptyRow, type Row, type Run } from './run.ts'

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
    const heap = new Heap()
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
      if (run.isLast() && heap.isAlone()) gather(open.flush())
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

  /** Takes the row that `run` stands on; returns the item before it where this is another one. */
  offer(run: Run): MergedItem | null {
    const { row } = run
    const same = this.#any && compareKeys(this.#row, row) === 0
    if (same && currentStands(compareStamps(this.#row, row))) return null
    const done = same ? null : this.flush()
    Object.assign(this.#row, row)
    this.#image = run.image()
    this.#any = true
    return done
  }

  flush(): MergedItem | null {
    if (!this.#any) return null
    this.#any = false
    const { kindIndex, resource, idData, idStart, idEnd, ulidData, ulidStart } = this.#row
    const [image, id, ulid] = [this.#image, slice(idData, idStart, idEnd), slice(ulidData, ulidStart, ulidStart + 26)]
    // Both may be parts of something large that nothing else needs any more.
    Object.assign(this.#row, emptyRow())
    this.#image = null
    return { kind: KINDS[kindIndex] ?? 'record', resource, id, image, ulid }
  }
}

function slice(data: Uint8Array, start: number, end: number): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('utf8', start, end)
}

/** A binary heap of runs by key, and the latest stamp of a key first, so that its other rows need no image. */
class Heap {
  readonly #runs: Run[] = []

  top(): Run | undefined {
    return this.#runs[0]
  }

  /** Whether no other run stands on the item of the top. */
  isAlone(): boolean {
    const [top, left, right] = [this.#runs[0], this.#runs[1], this.#runs[2]]
    if (top === undefined || left === undefined) return true
    return compareKeys(left.row, top.row) !== 0 && (right === undefined || compareKeys(right.row, top.row) !== 0)
  }

  push(run: Run): void {
    const runs = this.#runs
    let at = runs.length
    runs.push(run)
    while (at > 0) {
      const parent = (at - 1) >> 1
      const other = runs[parent]
      if (other === undefined || before(other, run)) break
      runs[at] = other
      at = parent
    }
    runs[at] = run
  }

  pop(): void {
    const last = this.#runs.pop()
    if (last === undefined || this.#runs.length === 0) return
    this.#runs[0] = last
    this.sink()
  }

  /** Puts the top where it belongs after it has moved on. */
  sink(): void {
    const runs = this.#runs
    const run = runs[0]
    if (run === undefined) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      let least = runs[child]
      if (least === undefined) break
      const right = runs[child + 1]
      if (right !== undefined && before(right, least)) {
        least = right
        child++
      }
      if (before(run, least)) break
      runs[at] = least
      at = child
    }
    runs[at] = run
  }
}

function before(a: Run, b: Run): boolean {
  const order = compareKeys(a.row, b.row)
  return order !== 0 ? order < 0 : compareStamps(a.row, b.row) >= 0
}
