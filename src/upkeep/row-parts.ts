import type { ObjectStore } from '../store/object-store.ts'

/** Rows that are gathered before they are put away; there is one such buffer for each part. */
const CHUNK_BYTES = 64 * 1024

/**
 * Rows of one size, apart by the first bytes of each, which are a hash: rows with the same hash are in the same part, and a
 * part fits the memory. Where there is more than one they are in scratch space.
 */
export class RowParts {
  readonly count: number
  readonly #scratch: (() => ObjectStore) | null
  readonly #name: string
  readonly #rowBytes: number
  readonly #open: { buffer: Buffer; used: number; chunks: (Buffer | string)[] }[]

  /** `name` is the prefix of its keys in scratch space, which is asked for only where it is needed. */
  constructor(scratch: () => ObjectStore, name: string, count: number, rowBytes: number) {
    this.count = count
    this.#scratch = count > 1 ? scratch : null
    this.#name = name
    this.#rowBytes = rowBytes
    this.#open = Array.from({ length: count }, () => ({ buffer: this.#fresh(), used: 0, chunks: [] }))
  }

  /** The row is copied. */
  async add(row: Buffer): Promise<void> {
    const part = row.readUInt32LE(0) % this.count
    const open = this.#open[part]
    if (open === undefined) throw new RangeError(`there is no part ${part}`)
    if (open.used + this.#rowBytes > open.buffer.length) await this.#putAway(part)
    open.used += row.copy(open.buffer, open.used)
  }

  /** The rows of a part in the order in which they came; each is valid until the next. */
  async *rows(part: number): AsyncGenerator<Buffer> {
    const open = this.#open[part]
    if (open === undefined) return
    for (const chunk of open.chunks) {
      yield* this.#split(typeof chunk === 'string' ? Buffer.from((await this.#scratch?.().get(chunk)) ?? []) : chunk)
    }
    yield* this.#split(open.buffer.subarray(0, open.used))
  }

  /** Lets go of the rows of a part. */
  async drop(part: number): Promise<void> {
    const open = this.#open[part]
    const keys = open?.chunks.filter((chunk) => typeof chunk === 'string') ?? []
    if (keys.length > 0) await this.#scratch?.().delete(keys)
    if (open !== undefined) Object.assign(open, { used: 0, chunks: [] })
  }

  async #putAway(part: number): Promise<void> {
    const open = this.#open[part]
    if (open === undefined) return
    const whole = open.buffer.subarray(0, open.used)
    if (this.#scratch === null) open.chunks.push(whole)
    else {
      const key = `${this.#name}/${part}/${open.chunks.length}`
      await this.#scratch().put(key, whole)
      open.chunks.push(key)
    }
    open.buffer = this.#fresh()
    open.used = 0
  }

  *#split(chunk: Buffer): Generator<Buffer> {
    for (let at = 0; at < chunk.length; at += this.#rowBytes) yield chunk.subarray(at, at + this.#rowBytes)
  }

  #fresh(): Buffer {
    return Buffer.allocUnsafe(Math.max(1, Math.floor(CHUNK_BYTES / this.#rowBytes)) * this.#rowBytes)
  }
}
