/**
 * Memory that the pages of one row group after the other are decompressed into: in a long scan, memory of its own for each page
 * would cost more than its decompression. What was taken is valid until `clear`. It keeps what was taken at most between two of these.
 */
export class PageMemory {
  #buffer = Buffer.alloc(0)
  #used = 0

  /** Memory of `bytes`, with anything in it. */
  take(bytes: number): Uint8Array {
    if (bytes > this.#buffer.length - this.#used) {
      // What was taken before stays where it is, in the buffer that goes: the next time there is room for both.
      this.#buffer = Buffer.allocUnsafeSlow(this.#used + bytes)
    }
    const start = this.#used
    this.#used += bytes
    return this.#buffer.subarray(start, this.#used)
  }

  /** Takes back what was taken. */
  clear(): void {
    this.#used = 0
  }
}
