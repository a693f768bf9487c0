import { EVENT_HEADER_BYTES, EventCursor, FIELD } from '../event-codec.ts'
import { murmur3, resourceHash } from './hash.ts'
import { Interner } from './interner.ts'

/** Start of each of the 9 variable fields, and the end of the last. */
const POSITIONS = 10
const ULID_BYTES = 26
const TIME_DIGITS = 10

const DIGITS: Uint8Array = new Uint8Array(256)
for (const [value, digit] of [...'0123456789ABCDEFGHJKMNPQRSTVWXYZ'].entries()) DIGITS[digit.charCodeAt(0)] = value

/** Milliseconds of the ULID at `at`: two halves of 25 bits, so that every step is integer arithmetic. */
function timeOf(bytes: Uint8Array, at: number): number {
  let high = 0
  let low = 0
  for (let i = 0; i < 5; i++) high = (high << 5) | (DIGITS[bytes[at + i] ?? 0] ?? 0)
  for (let i = 5; i < TIME_DIGITS; i++) low = (low << 5) | (DIGITS[bytes[at + i] ?? 0] ?? 0)
  return high * 2 ** 25 + low
}

/**
 * Events as a struct of arrays over the buffers that hold them encoded; no object an event, no copy of a payload.
 * The buffers must not change while this is in use.
 */
export class EventColumns {
  count = 0
  /** Bytes of all appended events. */
  bytes = 0
  readonly buffers: Buffer[] = []
  readonly streams: string[] = []
  /** (kind, resource); the parent is the index in KINDS. */
  readonly resources: Interner = new Interner()
  /** Items; the parent is an entry of `resources`. */
  readonly items: Interner = new Interner()
  readonly actors: Interner = new Interner()

  bufferOf: Uint32Array
  /** The ULIDs, 26 ASCII bytes each: kept apart, since they are needed in another order than they came. */
  ulids: Uint8Array
  /** Milliseconds since the epoch, of the ULID. */
  time: Float64Array
  /** Whether every ULID is greater than the one before it, as within a stream. */
  ascending = true
  position: Uint32Array
  present: Uint16Array
  operation: Uint8Array
  streamOf: Uint32Array
  sequence: Float64Array
  item: Uint32Array
  /** Entry of `actors`, or -1. */
  actor: Int32Array

  /** `expected`: events for which there is room at once; there may be more. */
  constructor(expected = 1024) {
    const most = Math.max(1, expected)
    this.bufferOf = new Uint32Array(most)
    this.ulids = new Uint8Array(most * ULID_BYTES)
    this.time = new Float64Array(most)
    this.position = new Uint32Array(most * POSITIONS)
    this.present = new Uint16Array(most)
    this.operation = new Uint8Array(most)
    this.streamOf = new Uint32Array(most)
    this.sequence = new Float64Array(most)
    this.item = new Uint32Array(most)
    this.actor = new Int32Array(most)
  }

  /** Appends the encoded events of `stream` in `bytes` whose sequence is greater than `after`. */
  append(stream: string, bytes: Uint8Array, after = 0): void {
    const index = this.streamIndex(stream)
    this.#append(bytes, () => index, after)
  }

  /** Appends encoded events of several streams: `streams` has the index of each, by `streamIndex`. */
  appendMixed(bytes: Uint8Array, streams: Uint32Array): void {
    this.#append(bytes, (nth) => streams[nth] ?? 0, 0)
  }

  /** The index of a stream, which is added where it is new. */
  streamIndex(stream: string): number {
    const known = this.streams.indexOf(stream)
    return known >= 0 ? known : this.streams.push(stream) - 1
  }

  #append(bytes: Uint8Array, streamOf: (nth: number) => number, after: number): void {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const bufferIndex = this.buffers.push(buffer) - 1
    const cursor = new EventCursor(buffer)
    for (let nth = 0; cursor.next(); nth++) {
      const sequence = cursor.sequence
      if (sequence <= after) continue
      if (this.count === this.present.length) this.#grow()
      const event = this.count++
      this.bufferOf[event] = bufferIndex
      this.streamOf[event] = streamOf(nth)
      this.sequence[event] = sequence
      this.#stamp(event, buffer, cursor.ulidStart)
      this.present[event] = cursor.present
      this.operation[event] = cursor.operationIndex
      for (let i = 0; i < POSITIONS; i++) this.position[event * POSITIONS + i] = cursor.startOf(i)
      this.bytes += cursor.startOf(POSITIONS - 1) - cursor.offset
      this.#intern(event, cursor, buffer)
    }
  }

  /** The buffer of an event. */
  bufferAt(event: number): Buffer {
    const buffer = this.buffers[this.bufferOf[event] ?? 0]
    if (buffer === undefined) throw new RangeError(`no event ${event}`)
    return buffer
  }

  /** Where an event, as it was encoded, starts in its buffer. */
  encodedStart(event: number): number {
    return this.start(event, 0) - EVENT_HEADER_BYTES
  }

  /** Behind its last byte there. */
  encodedEnd(event: number): number {
    return this.start(event, POSITIONS - 1)
  }

  has(event: number, field: number): boolean {
    return ((this.present[event] ?? 0) & (1 << field)) !== 0
  }

  start(event: number, field: number): number {
    return this.position[event * POSITIONS + field] ?? 0
  }

  end(event: number, field: number): number {
    return this.position[event * POSITIONS + field + 1] ?? 0
  }

  /** Order of the ULIDs of two events: they differ within the first bytes, so a loop beats a call into the runtime. */
  compareUlids(a: number, b: number): number {
    const x = a * ULID_BYTES
    const y = b * ULID_BYTES
    for (let i = 0; i < ULID_BYTES; i++) {
      const difference = (this.ulids[x + i] ?? 0) - (this.ulids[y + i] ?? 0)
      if (difference !== 0) return difference
    }
    return 0
  }

  /** 26 ASCII bytes: a view. */
  ulidBytes(event: number): Uint8Array {
    return this.ulids.subarray(event * ULID_BYTES, (event + 1) * ULID_BYTES)
  }

  ulid(event: number): string {
    const start = event * ULID_BYTES
    return Buffer.from(this.ulids.buffer, this.ulids.byteOffset).toString('latin1', start, start + ULID_BYTES)
  }

  #stamp(event: number, buffer: Buffer, start: number): void {
    const at = event * ULID_BYTES
    // Neighbours in a stream mostly share the millisecond: its digits are decoded once.
    let sameTime = event > 0
    for (let i = 0; i < ULID_BYTES; i++) {
      const byte = buffer[start + i] ?? 0
      this.ulids[at + i] = byte
      if (i < TIME_DIGITS && byte !== this.ulids[at - ULID_BYTES + i]) sameTime = false
    }
    this.time[event] = sameTime ? (this.time[event - 1] ?? 0) : timeOf(this.ulids, at)
    if (event > 0 && this.ascending && this.compareUlids(event - 1, event) >= 0) this.ascending = false
  }

  #intern(event: number, cursor: EventCursor, buffer: Buffer): void {
    const kind = cursor.kindIndex
    const resourceStart = cursor.startOf(FIELD.resource)
    const idStart = cursor.startOf(FIELD.id)
    const idEnd = cursor.startOf(FIELD.id + 1)
    const seed = resourceHash(kind, buffer, resourceStart, idStart)
    const resource = this.resources.intern(kind, seed, buffer, resourceStart, idStart)
    this.item[event] = this.items.intern(resource, murmur3(buffer, idStart, idEnd, seed), buffer, idStart, idEnd)
    if (!this.has(event, FIELD.actor)) {
      this.actor[event] = -1
      return
    }
    const actorEnd = cursor.startOf(FIELD.actor + 1)
    this.actor[event] = this.actors.intern(0, murmur3(buffer, idEnd, actorEnd, 0), buffer, idEnd, actorEnd)
  }

  #grow(): void {
    this.bufferOf = wider(this.bufferOf, new Uint32Array(this.bufferOf.length * 2))
    this.ulids = wider(this.ulids, new Uint8Array(this.ulids.length * 2))
    this.time = wider(this.time, new Float64Array(this.time.length * 2))
    this.position = wider(this.position, new Uint32Array(this.position.length * 2))
    this.present = wider(this.present, new Uint16Array(this.present.length * 2))
    this.operation = wider(this.operation, new Uint8Array(this.operation.length * 2))
    this.streamOf = wider(this.streamOf, new Uint32Array(this.streamOf.length * 2))
    this.sequence = wider(this.sequence, new Float64Array(this.sequence.length * 2))
    this.item = wider(this.item, new Uint32Array(this.item.length * 2))
    this.actor = wider(this.actor, new Int32Array(this.actor.length * 2))
  }
}

function wider<T extends Uint32Array | Uint16Array | Uint8Array | Float64Array | Int32Array>(old: T, next: T): T {
  next.set(old)
  return next
}
