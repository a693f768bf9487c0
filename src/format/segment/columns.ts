import { EventCursor, FIELD } from '../event-codec.ts'
import { murmur3, resourceHash } from './hash.ts'
import { Interner } from './interner.ts'

/** Start of each of the 9 variable fields, and the end of the last. */
const POSITIONS = 10

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

  bufferOf: Uint32Array = new Uint32Array(1024)
  ulidStart: Uint32Array = new Uint32Array(1024)
  position: Uint32Array = new Uint32Array(1024 * POSITIONS)
  present: Uint16Array = new Uint16Array(1024)
  operation: Uint8Array = new Uint8Array(1024)
  streamOf: Uint32Array = new Uint32Array(1024)
  sequence: Float64Array = new Float64Array(1024)
  item: Uint32Array = new Uint32Array(1024)
  /** Entry of `actors`, or -1. */
  actor: Int32Array = new Int32Array(1024)

  /** Appends the encoded events of `stream` in `bytes` whose sequence is greater than `after`. */
  append(stream: string, bytes: Uint8Array, after = 0): void {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const bufferIndex = this.buffers.push(buffer) - 1
    const streamIndex = this.#streamIndex(stream)
    const cursor = new EventCursor(buffer)
    while (cursor.next()) {
      const sequence = cursor.sequence
      if (sequence <= after) continue
      if (this.count === this.present.length) this.#grow()
      const event = this.count++
      this.bufferOf[event] = bufferIndex
      this.streamOf[event] = streamIndex
      this.sequence[event] = sequence
      this.ulidStart[event] = cursor.ulidStart
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
    const x = this.bufferAt(a)
    const y = this.bufferAt(b)
    const xStart = this.ulidStart[a] ?? 0
    const yStart = this.ulidStart[b] ?? 0
    for (let i = 0; i < 26; i++) {
      const difference = (x[xStart + i] ?? 0) - (y[yStart + i] ?? 0)
      if (difference !== 0) return difference
    }
    return 0
  }

  ulid(event: number): string {
    const start = this.ulidStart[event] ?? 0
    return this.bufferAt(event).toString('latin1', start, start + 26)
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

  #streamIndex(stream: string): number {
    const known = this.streams.indexOf(stream)
    return known >= 0 ? known : this.streams.push(stream) - 1
  }

  #grow(): void {
    this.bufferOf = wider(this.bufferOf, new Uint32Array(this.bufferOf.length * 2))
    this.ulidStart = wider(this.ulidStart, new Uint32Array(this.ulidStart.length * 2))
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
