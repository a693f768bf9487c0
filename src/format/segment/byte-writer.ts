/** Bytes that are kept for the next who writes: fresh memory costs more than the copying into it. */
const KEPT_BYTES = 64 << 20

/** A buffer that grows. */
export class ByteWriter {
  buffer: Buffer
  length = 0
  readonly #least: number

  constructor(least = 1024) {
    this.#least = least
    this.buffer = Buffer.allocUnsafeSlow(least)
  }

  /** Begins anew in the same memory: views of what was written are not valid any more. Large memory is let go. */
  clear(): void {
    this.length = 0
    if (this.buffer.length > KEPT_BYTES) this.buffer = Buffer.allocUnsafeSlow(this.#least)
  }

  /** Makes room for `bytes` more, and returns where they go: they count as written. */
  take(bytes: number): number {
    const at = this.length
    this.length += bytes
    if (this.length > this.buffer.length) {
      const wider = Buffer.allocUnsafeSlow(Math.max(this.length, this.buffer.length * 2))
      this.buffer.copy(wider, 0, 0, at)
      this.buffer = wider
    }
    return at
  }

  byte(value: number): void {
    const at = this.take(1)
    this.buffer[at] = value
  }

  u32(value: number): void {
    const at = this.take(4)
    const { buffer } = this
    buffer[at] = value
    buffer[at + 1] = value >>> 8
    buffer[at + 2] = value >>> 16
    buffer[at + 3] = value >>> 24
  }

  bytes(source: Uint8Array): void {
    const at = this.take(source.length)
    this.buffer.set(source, at)
  }

  /** Short ranges byte by byte: a call into the runtime costs more. */
  range(source: Buffer, start: number, end: number): void {
    const at = this.take(end - start)
    const { buffer } = this
    if (end - start > 32) source.copy(buffer, at, start, end)
    else for (let i = start; i < end; i++) buffer[at + i - start] = source[i] ?? 0
  }

  /** A non-negative integer, seven bits a byte, the least significant first. */
  varint(value: number): void {
    let rest = value
    while (rest > 127) {
      this.byte((rest % 128) | 128)
      rest = Math.floor(rest / 128)
    }
    this.byte(rest)
  }

  /** A signed safe integer, as the varint of twice its size, odd where it is negative. */
  zigzag(value: number): void {
    if (Math.abs(value) < 2 ** 52) {
      this.varint(value < 0 ? -2 * value - 1 : 2 * value)
      return
    }
    let rest = value < 0 ? -2n * BigInt(value) - 1n : 2n * BigInt(value)
    for (; rest > 127n; rest >>= 7n) this.byte(Number(rest & 127n) | 128)
    this.byte(Number(rest))
  }

  /** A view of what was written, until `clear` or the next write. */
  view(): Buffer {
    return this.buffer.subarray(0, this.length)
  }
}
