import { EventColumns } from '../../format/segment/columns.ts'
import { type EncodedRunFile, encodeRunFile } from '../../format/segment/run-file.ts'
import type { Ulid } from '../../model/ulid.ts'
import { ahead } from '../../restore/ahead.ts'
import { Heap } from '../../restore/heap.ts'
import { compareKeys, compareStamps, emptyRow, type Row } from '../../restore/run.ts'
import type { MergeInput } from './merge-input.ts'

/** Encoded events of a file, as many as are worth it: fewer files are fewer requests, and larger ones compress no better. */
export const FILE_BYTES: number = 16 * 1024 * 1024
/** Events are gathered in pieces of this size; a larger one has a piece for itself. */
const PIECE_BYTES = 1024 * 1024
/** Inputs whose first row group is read at once. */
const LOADED_AHEAD = 16

/** What a merge writes. */
export interface MergeOptions {
  readonly run: Ulid
  readonly level: number
  /** Bytes of encoded events at which a file ends, where its last record does. */
  readonly fileBytes: number
}

/**
 * Merges sorted series of events into the files of a run, in the order of their items; an item goes on in the next file only
 * where it fills more than one by itself. Closes the inputs.
 */
export async function* mergeInputs(
  inputs: readonly MergeInput[],
  { run, level, fileBytes }: MergeOptions,
): AsyncGenerator<EncodedRunFile> {
  const heap = new Heap<MergeInput>(before)
  try {
    for await (const [input, isThere] of ahead(inputs, LOADED_AHEAD, (one) => one.load(), LOADED_AHEAD))
      if (isThere) heap.push(input)
    const room = new FileRoom()
    let file = new GrowingFile(room)
    let count = 0
    for (let input = heap.top(); input !== undefined; input = heap.top()) {
      if (file.bytes >= fileBytes && (!file.isOf(input.row) || file.bytes >= 2 * fileBytes)) {
        yield encodeRunFile(file.finish(), { run, level, file: count++ })
        file.letGo()
        file = new GrowingFile(room)
      }
      file.add(input)
      if (file.bytes >= fileBytes) file.note(input.row)
      if (input.advance() || (await input.load())) heap.sink()
      else heap.pop()
    }
    if (file.bytes > 0) yield encodeRunFile(file.finish(), { run, level, file: count })
  } finally {
    for (const input of inputs) await input.close()
  }
}

function before(a: MergeInput, b: MergeInput): boolean {
  const order = compareKeys(a.row, b.row)
  return order !== 0 ? order < 0 : compareStamps(a.row, b.row) <= 0
}

/** What one file leaves to the next: fresh memory costs more than the copying into it. */
class FileRoom {
  /** Pieces in which nothing is needed any more. */
  readonly pieces: Buffer[] = []
  /** Events of the last file, or how many are expected in the first. */
  events = 1024
}

/** The events of one file as they come. */
class GrowingFile {
  bytes = 0
  readonly #room: FileRoom
  readonly #columns: EventColumns
  readonly #pieces: Buffer[] = []
  readonly #streams = new Map<string, number>()
  readonly #last: Row = emptyRow()
  #piece: Buffer = Buffer.alloc(0)
  #used = 0
  /** Of the events of the piece. */
  #streamOf: number[] = []

  constructor(room: FileRoom) {
    this.#room = room
    this.#columns = new EventColumns(room.events)
  }

  add(input: MergeInput): void {
    const size = input.size()
    if (this.#used + size > this.#piece.length) this.#next(size)
    this.#used = input.write(this.#piece, this.#used)
    this.#streamOf.push(this.#indexOf(input.stream))
    this.bytes += size
  }

  /** Remembers where the last event stands. */
  note(row: Row): void {
    Object.assign(this.#last, row)
  }

  /** Whether the event that was noted last is of the item of this row. */
  isOf(row: Row): boolean {
    return compareKeys(this.#last, row) === 0
  }

  finish(): EventColumns {
    this.#next(0)
    return this.#columns
  }

  /** To be called when nobody needs the events any more. */
  letGo(): void {
    this.#room.events = this.#columns.count
    this.#room.pieces.push(...this.#pieces)
  }

  #next(least: number): void {
    if (this.#used > 0) this.#columns.appendMixed(this.#piece.subarray(0, this.#used), Uint32Array.from(this.#streamOf))
    this.#piece = this.#pieceFor(least)
    this.#used = 0
    this.#streamOf = []
  }

  #pieceFor(least: number): Buffer {
    if (least === 0 || least > PIECE_BYTES) return Buffer.allocUnsafeSlow(least)
    const piece = this.#room.pieces.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES)
    this.#pieces.push(piece)
    return piece
  }

  #indexOf(stream: string): number {
    const known = this.#streams.get(stream)
    if (known !== undefined) return known
    const index = this.#columns.streamIndex(stream)
    this.#streams.set(stream, index)
    return index
  }
}
