/** A run of bytes in a buffer. */
export interface Span {
  readonly buffer: Buffer
  readonly start: number
  readonly end: number
}

/**
 * Numbers distinct byte strings under a parent number, in the order of their first appearance, without copying them:
 * an open-addressed hash table over spans of buffers that must not change meanwhile.
 */
export class Interner {
  count = 0
  #slots = new Uint32Array(1024)
  #hashes = new Uint32Array(512)
  #parents = new Uint32Array(512)
  #starts = new Uint32Array(512)
  #ends = new Uint32Array(512)
  readonly #buffers: Buffer[] = []

  intern(parent: number, hash: number, buffer: Buffer, start: number, end: number): number {
    const mask = this.#slots.length - 1
    let slot = hash & mask
    for (let found = this.#slots[slot] ?? 0; found !== 0; found = this.#slots[slot] ?? 0) {
      const entry = found - 1
      if (this.#hashes[entry] === hash && this.#parents[entry] === parent && this.#equals(entry, buffer, start, end)) {
        return entry
      }
      slot = (slot + 1) & mask
    }
    const entry = this.count++
    this.#slots[slot] = this.count
    this.#hashes[entry] = hash
    this.#parents[entry] = parent
    this.#starts[entry] = start
    this.#ends[entry] = end
    this.#buffers.push(buffer)
    if (this.count === this.#hashes.length) this.#grow()
    return entry
  }

  parent(entry: number): number {
    return this.#parents[entry] ?? 0
  }

  span(entry: number): Span {
    const buffer = this.#buffers[entry]
    if (buffer === undefined) throw new RangeError(`no entry ${entry}`)
    return { buffer, start: this.#starts[entry] ?? 0, end: this.#ends[entry] ?? 0 }
  }

  /** The hashes of all entries, in their order. */
  hashes(): Uint32Array {
    return this.#hashes.subarray(0, this.count)
  }

  /** Byte `at` of an entry, or -1 behind its end. */
  byteAt(entry: number, at: number): number {
    const position = (this.#starts[entry] ?? 0) + at
    return position < (this.#ends[entry] ?? 0) ? (this.#buffers[entry]?.[position] ?? -1) : -1
  }

  compare(a: number, b: number): number {
    const x = this.span(a)
    const y = this.span(b)
    return x.buffer.compare(y.buffer, y.start, y.end, x.start, x.end)
  }

  #equals(entry: number, buffer: Buffer, start: number, end: number): boolean {
    const length = end - start
    const from = this.#starts[entry] ?? 0
    if ((this.#ends[entry] ?? 0) - from !== length) return false
    const other = this.#buffers[entry]
    if (other === undefined) return false
    if (length > 48) return other.compare(buffer, start, end, from, from + length) === 0
    for (let i = 0; i < length; i++) if (other[from + i] !== buffer[start + i]) return false
    return true
  }

  #grow(): void {
    const wider = (old: Uint32Array): Uint32Array<ArrayBuffer> => {
      const next = new Uint32Array(old.length * 2)
      next.set(old)
      return next
    }
    this.#hashes = wider(this.#hashes)
    this.#parents = wider(this.#parents)
    this.#starts = wider(this.#starts)
    this.#ends = wider(this.#ends)
    const slots = new Uint32Array(this.#slots.length * 2)
    const mask = slots.length - 1
    for (let entry = 0; entry < this.count; entry++) {
      let slot = (this.#hashes[entry] ?? 0) & mask
      while (slots[slot] !== 0) slot = (slot + 1) & mask
      slots[slot] = entry + 1
    }
    this.#slots = slots
  }
}
