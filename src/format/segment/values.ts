/** The values of a column of bytes: value i is `data[starts[i], ends[i])`, where `nulls` does not say it is null. */
export class ByteValues {
  readonly data: Buffer
  readonly starts: Uint32Array
  readonly ends: Uint32Array
  /** 1 where the value is null; null where no value is. */
  readonly nulls: Uint8Array | null

  constructor(data: Uint8Array, starts: Uint32Array, ends: Uint32Array, nulls: Uint8Array | null) {
    this.data = Buffer.isBuffer(data) ? data : Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    this.starts = starts
    this.ends = ends
    this.nulls = nulls
  }

  isNull(i: number): boolean {
    return this.nulls !== null && this.nulls[i] === 1
  }

  /** A view of value i, or null. */
  bytes(i: number): Uint8Array | null {
    return this.isNull(i) ? null : this.data.subarray(this.starts[i], this.ends[i])
  }

  /** A copy of value i, or null. */
  copy(i: number): Uint8Array | null {
    if (this.isNull(i)) return null
    const [start = 0, end = 0] = [this.starts[i], this.ends[i]]
    const copy = Buffer.allocUnsafe(end - start)
    this.data.copy(copy, 0, start, end)
    return copy
  }

  /** Value i as text, or null. */
  text(i: number): string | null {
    if (this.isNull(i)) return null
    return this.data.toString('utf8', this.starts[i], this.ends[i])
  }

  /** Whether values i and j are the same bytes; both must not be null. */
  same(i: number, j: number): boolean {
    const start = this.starts[i] ?? 0
    const end = this.ends[i] ?? 0
    const other = this.starts[j] ?? 0
    // Values of one entry of a dictionary are one range.
    if (start === other) return end === this.ends[j]
    if (end - start !== (this.ends[j] ?? 0) - other) return false
    for (let at = 0; at < end - start; at++) if (this.data[start + at] !== this.data[other + at]) return false
    return true
  }
}

/** The values of a column of few distinct ones: value i is `values[codes[i]]`, or null where the code is -1. */
export interface CodedValues {
  readonly codes: Int32Array
  readonly values: readonly string[]
}

/** The values of a column of bytes that come again: value i is entry `codes[i]`, or null where the code is -1. */
export interface CodedBytes {
  readonly codes: Int32Array
  readonly entries: ByteValues
}
