import { EMPTY, text } from '../base/bytes.ts'
import { EventCursor, encodedEventBytes, encodeEvent, FIELD } from '../format/event-codec.ts'
import { type Change, type Image, NO_CONTEXT } from '../model/event.ts'
import { MIN_ULID, type Ulid } from '../model/ulid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { StampedItem } from './merge.ts'
import { emptyRow, type Row, type Run, type StampRange, setId } from './run.ts'

/** Uncompressed bytes of a part of a spilled run; one part is in memory at a time. */
const PART_BYTES = 1024 * 1024

/** A deletion needs an image before it in an event; in a spilled run nobody reads it. */
const NO_IMAGE: Image = { json: EMPTY, raw: null }

/**
 * Writes a merged run to scratch space, so that more runs than fit into memory can be merged in passes. Deletions are
 * kept: the next pass needs them. Returns the run.
 */
export async function spillRun(
  scratch: ObjectStore,
  name: string,
  items: AsyncIterable<readonly StampedItem[]>,
): Promise<Run> {
  let buffer = Buffer.allocUnsafe(PART_BYTES)
  let used = 0
  let largest = 0
  let [first, last]: [Ulid, Ulid] = ['Z', MIN_ULID]
  const parts: string[] = []
  const flush = async (): Promise<void> => {
    if (used === 0) return
    const key = `${name}/${String(parts.length).padStart(8, '0')}`
    largest = Math.max(largest, used)
    await scratch.put(key, buffer.subarray(0, used))
    parts.push(key)
    buffer = Buffer.allocUnsafe(PART_BYTES)
    used = 0
  }
  for await (const batch of items) {
    for (const item of batch) {
      const change = changeOf(item)
      const bytes = encodedEventBytes(change)
      if (used + bytes > buffer.length) {
        await flush()
        if (bytes > buffer.length) buffer = Buffer.allocUnsafe(bytes)
      }
      used = encodeEvent(buffer, used, change, item.ulid, 0)
      if (item.ulid < first) first = item.ulid
      if (item.ulid > last) last = item.ulid
    }
  }
  await flush()
  return new SpilledRun(scratch, parts, largest, { first, last })
}

function changeOf({ kind, resource, id, image }: StampedItem): Change {
  const start = { kind, resource, id, context: NO_CONTEXT }
  return image === null
    ? { ...start, operation: 'delete', before: NO_IMAGE, after: null }
    : { ...start, operation: 'insert', before: null, after: image }
}

class SpilledRun implements Run {
  readonly row: Row = emptyRow()
  readonly bytes: number
  readonly stamps: StampRange
  readonly #scratch: ObjectStore
  readonly #parts: readonly string[]
  #next = 0
  #cursor = new EventCursor(EMPTY)

  constructor(scratch: ObjectStore, parts: readonly string[], bytes: number, stamps: StampRange) {
    this.bytes = bytes
    this.stamps = stamps
    this.#scratch = scratch
    this.#parts = parts
  }

  advance(): boolean {
    if (!this.#cursor.next()) return false
    const { row } = this
    row.kindIndex = this.#cursor.kindIndex
    row.resource = text(this.#cursor.field(FIELD.resource) ?? EMPTY)
    const id = this.#cursor.field(FIELD.id) ?? EMPTY
    setId(row, id, 0, id.length)
    row.ulidData = this.#cursor.ulidBytes
    return true
  }

  async load(): Promise<boolean> {
    const key = this.#parts[this.#next++]
    if (key === undefined) return false
    this.#cursor = new EventCursor(await this.#scratch.get(key))
    return this.advance()
  }

  isLast(): boolean {
    return true
  }

  image(): Image | null {
    const json = this.#cursor.field(FIELD.afterJson)
    return json === null ? null : { json, raw: this.#cursor.field(FIELD.afterRaw) }
  }

  async close(): Promise<void> {
    await this.#scratch.delete(this.#parts)
  }
}
