import { type Image, type Item, imageBytes, KINDS } from '../model/event.ts'
import { currentStands } from '../model/fold.ts'
import type { Ulid } from '../model/ulid.ts'
import { agesOf } from './ages.ts'
import { ahead } from './ahead.ts'
import { compareKeys, compareStamps, emptyRow, type Row, type Run, ULID_BYTES } from './run.ts'
import { Tournament } from './tournament.ts'

/** What a merge says about an item: its last image, null where it does not exist. */
export interface MergedItem extends Item {
  readonly image: Image | null
}

/** The same with the event that said so. */
export interface StampedItem extends MergedItem {
  readonly ulid: Ulid
}

/** Runs that are loaded at once, before anything is merged. */
const LOADED_AHEAD = 16
/** Items that are handed on at once, and bytes of their images: where one is larger, it alone. */
const BATCH = 1000
const BATCH_BYTES = 4 * 1024 * 1024

/**
 * Merges sorted runs: every item once, in order, as the fold (`model/fold`) leaves it, that is with the image of its
 * latest row. Memory: what the runs have loaded. Closes the runs.
 */
export function mergeRuns(runs: readonly Run[]): AsyncGenerator<readonly MergedItem[]> {
  return merged(runs, false, itemOf)
}

/** The same, and says of every item which event it was. */
export function mergeStamped(runs: readonly Run[]): AsyncGenerator<readonly StampedItem[]> {
  return merged(runs, true, (run) => ({ ...itemOf(run), ulid: ulidOf(run.row) }))
}

async function* merged<T extends MergedItem>(
  runs: readonly Run[],
  isStamped: boolean,
  makeItem: (run: Run) => T,
): AsyncGenerator<readonly T[]> {
  try {
    const contest = await Contest.of(runs, isStamped)
    const open = new OpenItem<T>()
    const batch = new MergedBatch<T>()
    for (let run = contest.first; run !== null; run = contest.first) {
      const isSame = open.isOf(run.row)
      if (!isSame || open.isBefore(run.row, contest.age)) {
        if (!isSame) batch.add(open.flush())
        open.take(run.row, contest.age, makeItem(run))
      }
      if (batch.isFull) yield batch.take()
      if (run.advance()) {
        contest.moved()
        continue
      }
      // Where nothing more can come of an item, it does not wait in memory for what is loaded next.
      if (run.isLast() && contest.isAlone()) batch.add(open.flush())
      // Before the run loads more: what is handed on is not in memory beside it.
      if (batch.isFull) yield batch.take()
      if (await run.load()) contest.moved()
      else contest.ended()
    }
    batch.add(open.flush())
    if (!batch.isEmpty) yield batch.take()
  } finally {
    for (const run of runs) await run.close()
  }
}

/** Items that are handed on together. */
class MergedBatch<T extends MergedItem> {
  #items: T[] = []
  #bytes = 0

  get isFull(): boolean {
    return this.#items.length >= BATCH || this.#bytes >= BATCH_BYTES
  }

  get isEmpty(): boolean {
    return this.#items.length === 0
  }

  add(item: T | null): void {
    if (item === null) return
    this.#items.push(item)
    this.#bytes += imageBytes(item.image)
  }

  take(): readonly T[] {
    const items = this.#items
    this.#items = []
    this.#bytes = 0
    return items
  }
}

/** Of a run that has ended: behind every other. */
const END: Readonly<Row> = { ...emptyRow(), kindIndex: KINDS.length }

/** Runs that are loaded, and which of them comes next: by key, and the latest stamp of a key first, so that its other rows need no image. */
class Contest {
  readonly #runs: readonly Run[]
  readonly #rows: Readonly<Row>[]
  readonly #ages: Int32Array
  readonly #tournament: Tournament

  /** `rows`: where the runs stand. */
  private constructor(runs: readonly Run[], rows: Readonly<Row>[], ages: Int32Array) {
    this.#runs = runs
    this.#rows = rows
    this.#ages = ages
    this.#tournament = new Tournament(runs.length, (a, b) => this.#isBefore(a, b))
  }

  static async of(runs: readonly Run[], isStamped: boolean): Promise<Contest> {
    const ages = agesOf(runs)
    for (const [index, run] of runs.entries()) run.row.isStamped = isStamped || ages[index]?.isShared === true
    const rows: Readonly<Row>[] = []
    // Several at once: over a network each waits for what it reads.
    for await (const [run, isThere] of ahead(runs, LOADED_AHEAD, (one) => one.load(), LOADED_AHEAD))
      rows.push(isThere ? run.row : END)
    return new Contest(
      runs,
      rows,
      Int32Array.from(ages, ({ age }) => age),
    )
  }

  /** The run that stands on the next row; null where all have ended. */
  get first(): Run | null {
    const { first } = this.#tournament
    return this.#rows[first] === END ? null : (this.#runs[first] ?? null)
  }

  /** Its age (see `agesOf`). */
  get age(): number {
    return this.#ages[this.#tournament.first] ?? 0
  }

  /** Whether no other run stands on the item of the first one. */
  isAlone(): boolean {
    const { first } = this.#tournament
    return this.#tournament.next().every((other) => compareKeys(this.#rowOf(first), this.#rowOf(other)) !== 0)
  }

  /** To be called when the first one stands on another row. */
  moved(): void {
    this.#tournament.sink()
  }

  /** To be called when there is no other row. */
  ended(): void {
    this.#rows[this.#tournament.first] = END
    this.#tournament.sink()
  }

  #isBefore(a: number, b: number): boolean {
    const [row, other] = [this.#rowOf(a), this.#rowOf(b)]
    const order = compareKeys(row, other)
    if (order !== 0) return order < 0
    return compareAges(row, this.#ages[a] ?? 0, other, this.#ages[b] ?? 0) >= 0
  }

  #rowOf(index: number): Readonly<Row> {
    return this.#rows[index] ?? END
  }
}

/** Which of two rows is the later one. What has its age for itself is one run, whose later rows come later. */
function compareAges(a: Readonly<Row>, age: number, b: Readonly<Row>, other: number): number {
  if (age !== other) return age - other
  return b.isStamped ? compareStamps(a, b) : -1
}

/** The item that is being gathered: rows of the same item follow one another. */
class OpenItem<T> {
  readonly #row: Row = emptyRow()
  #age = 0
  #item: T | null = null

  isOf(row: Readonly<Row>): boolean {
    return this.#item !== null && compareKeys(this.#row, row) === 0
  }

  /** Of a row of the same item: whether it is the later one. */
  isBefore(row: Readonly<Row>, age: number): boolean {
    return !currentStands(compareAges(this.#row, this.#age, row, age))
  }

  /** What is gathered, if anything. */
  flush(): T | null {
    const item = this.#item
    if (item === null) return null
    this.#item = null
    // It may be a part of something large that nothing else needs any more.
    copyRow(END, this.#row)
    return item
  }

  take(row: Readonly<Row>, age: number, item: T): void {
    copyRow(row, this.#row)
    this.#age = age
    this.#item = item
  }
}

function itemOf(run: Run): MergedItem {
  const { kindIndex, resource, idData, idStart, idEnd } = run.row
  return { kind: KINDS[kindIndex] ?? 'record', resource, id: textOf(idData, idStart, idEnd), image: run.image() }
}

function ulidOf({ ulidData, ulidStart }: Row): Ulid {
  return textOf(ulidData, ulidStart, ulidStart + ULID_BYTES)
}

function textOf(data: Uint8Array, start: number, end: number): string {
  const buffer = data instanceof Buffer ? data : Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  return buffer.toString('utf8', start, end)
}

/** One by one: of each row that there is, this is done. */
function copyRow(from: Readonly<Row>, to: Row): void {
  to.kindIndex = from.kindIndex
  to.resource = from.resource
  to.idData = from.idData
  to.idStart = from.idStart
  to.idEnd = from.idEnd
  to.prefix = from.prefix
  to.nextPrefix = from.nextPrefix
  to.isStamped = from.isStamped
  to.ulidData = from.ulidData
  to.ulidStart = from.ulidStart
}
