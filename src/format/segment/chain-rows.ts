import { createHash } from 'node:crypto'
import type { Ulid } from '../../model/ulid.ts'
import { SALT_BYTES, type Salts } from './salts.ts'

const ULID_BYTES = 26
const ULID_AT = 8
const DIGEST_AT = ULID_AT + ULID_BYTES
const ROW_BYTES = DIGEST_AT + 32
/** What is known of the row of an event: nothing yet; that it is there; that only an erased one can be, since its salt is gone. */
const [FREE, SET, SALTLESS] = [0, 1, 2]

/** What each event takes: its row, what is known of it, and its salt. */
export const CHAIN_ROW_BYTES: number = ROW_BYTES + 1 + SALT_BYTES

/**
 * Memory for the rows of so many events, in one piece: what has thousands of parts with ten events each would take several
 * times as much for the objects.
 */
export class ChainRoom {
  readonly rows: Buffer
  readonly known: Uint8Array
  readonly salts: Buffer
  #used = 0

  constructor(events: number) {
    this.rows = Buffer.alloc(events * ROW_BYTES)
    this.known = new Uint8Array(events)
    this.salts = Buffer.alloc(events * SALT_BYTES)
  }

  /** The next `events` of it: the number of the first. */
  take(events: number): number {
    if (this.#used + events > this.known.length) throw new RangeError('there is no room for so many events')
    this.#used += events
    return this.#used - events
  }
}

/** What the links of a run of events are made of: one row an event, filled in any order, and the salts that their digests need. */
export class ChainRows {
  readonly #room: ChainRoom
  readonly #first: number
  readonly #count: number
  /** Where the rows are in the room. */
  readonly #base: number

  constructor(salts: Salts, firstSequence: number, lastSequence: number, room?: ChainRoom) {
    this.#first = firstSequence
    this.#count = lastSequence - firstSequence + 1
    this.#room = room ?? new ChainRoom(this.#count)
    this.#base = this.#room.take(this.#count)
    const gone = salts.write(firstSequence, lastSequence, this.#room.salts, this.#base * SALT_BYTES)
    for (const sequence of gone) this.#room.known[this.#base + sequence - firstSequence] = SALTLESS
  }

  /** Writes the salt of an event at the beginning of `target`; false where it is gone, or was set as that of an erased event. */
  putSalt(sequence: number, target: Uint8Array): boolean {
    const row = this.#row(sequence)
    if (row < 0 || this.#room.known[row] === SALTLESS) return false
    const { salts } = this.#room
    for (let i = 0, at = row * SALT_BYTES; i < SALT_BYTES; i++) target[i] = salts[at + i] ?? 0
    return true
  }

  /** Sets the row of an erased event. False where the sequence is not of the run, or was set before. `digest`: 32 bytes, as Latin-1. */
  setErased(sequence: number, ulid: Ulid, digest: string): boolean {
    const row = this.#row(sequence)
    if (row < 0 || this.#room.known[row] === SET) return false
    const at = this.#begin(row, sequence)
    putLatin1(this.#room.rows, at + ULID_AT, ulid)
    putLatin1(this.#room.rows, at + DIGEST_AT, digest)
    return true
  }

  /** The same of an event that is there, with a ULID that begins at `start` of `ulids`. False also where its salt is gone. */
  set(sequence: number, ulids: Uint8Array, start: number, digest: string): boolean {
    const row = this.#row(sequence)
    if (row < 0 || this.#room.known[row] !== FREE) return false
    const [{ rows }, at] = [this.#room, this.#begin(row, sequence)]
    for (let i = 0; i < ULID_BYTES; i++) rows[at + ULID_AT + i] = ulids[start + i] ?? 0
    putLatin1(rows, at + DIGEST_AT, digest)
    return true
  }

  /** Where its row is in the room; negative where it is none of the run. */
  #row(sequence: number): number {
    const row = sequence - this.#first
    return row >= 0 && row < this.#count ? this.#base + row : -1
  }

  /** Takes a row, which has its sequence then; where its bytes begin. */
  #begin(row: number, sequence: number): number {
    const [{ rows, known }, at] = [this.#room, row * ROW_BYTES]
    known[row] = SET
    const [low, high] = [sequence % 2 ** 32, Math.floor(sequence / 2 ** 32)]
    for (let i = 0; i < 4; i++) {
      rows[at + i] = low >>> (8 * i)
      rows[at + 4 + i] = high >>> (8 * i)
    }
    return at
  }

  /** Whether every sequence of the run was set. */
  get complete(): boolean {
    const { known } = this.#room
    for (let row = this.#base; row < this.#base + this.#count; row++) if (known[row] !== SET) return false
    return true
  }

  /** The link behind `previous` over the sequences of the run from `first` to `last`. */
  link(previous: string, first: number, last: number): string {
    const rows = this.#room.rows.subarray(this.#row(first) * ROW_BYTES, (this.#row(last) + 1) * ROW_BYTES)
    return createHash('sha256').update(Buffer.from(previous, 'hex')).update(rows).digest('hex')
  }
}

/** In a loop: a call into the runtime costs more. */
function putLatin1(target: Uint8Array, at: number, text: string): void {
  for (let i = 0; i < text.length; i++) target[at + i] = text.charCodeAt(i)
}
