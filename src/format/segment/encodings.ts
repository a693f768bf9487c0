import { expect } from './corrupt.ts'

/*
 * Parquet's encodings (parquet.apache.org, "Encodings"), those that segments use. All of them read `bytes[start, end)`
 * and throw `Malformed` rather than read beyond it.
 */

/** Reads the RLE / bit-packed hybrid: `count` integers of `width` bits. */
export function decodeHybrid(bytes: Uint8Array, start: number, end: number, width: number, count: number): Int32Array {
  expect(width <= 31, 'a run of integers is too wide')
  const out = new Int32Array(count)
  const valueBytes = (width + 7) >> 3
  let at = start
  let filled = 0
  while (filled < count) {
    let head = 0
    let scale = 1
    let byte: number
    do {
      expect(at < end && scale < 2 ** 35, 'a run of integers ends too early')
      byte = bytes[at++] ?? 0
      head += (byte & 127) * scale
      scale *= 128
    } while (byte > 127)
    if (head % 2 === 0) {
      expect(valueBytes <= end - at, 'a run of integers ends too early')
      let value = 0
      for (let i = 0; i < valueBytes; i++) value |= (bytes[at + i] ?? 0) << (8 * i)
      expect(value >= 0 && value < 2 ** width, 'a run of integers has one that is wider than it says')
      const stop = Math.min(count, filled + head / 2)
      expect(stop > filled, 'a run of integers is empty')
      out.fill(value, filled, stop)
      filled = stop
      at += valueBytes
    } else {
      const groups = (head - 1) / 2
      const length = groups * width
      expect(groups > 0 && length <= end - at, 'a run of integers ends too early')
      const stop = Math.min(count, filled + groups * 8)
      unpack(bytes, at, width, out, filled, stop)
      filled = stop
      at += length
    }
  }
  return out
}

/** Bit-packed integers, the least significant bits first. */
function unpack(bytes: Uint8Array, start: number, width: number, out: Int32Array, from: number, to: number): void {
  const mask = width === 31 ? 0x7fffffff : (1 << width) - 1
  let at = start
  let bits = 0
  let held = 0
  for (let i = from; i < to; i++) {
    // Widths to 24 bits fit a 32-bit accumulator; wider ones, never seen in practice, go byte by byte.
    if (width > 24) out[i] = wideBits(bytes, start * 8 + (i - from) * width, width)
    else {
      while (held < width) {
        bits |= (bytes[at++] ?? 0) << held
        held += 8
      }
      out[i] = bits & mask
      bits >>>= width
      held -= width
    }
  }
}

/** `width` bits from bit `position`, as a number; exact to 53 bits. */
function wideBits(bytes: Uint8Array, position: number, width: number): number {
  let value = 0
  let done = 0
  let at = position
  while (done < width) {
    const free = 8 - (at & 7)
    const take = Math.min(free, width - done)
    value += (((bytes[at >>> 3] ?? 0) >> (at & 7)) & ((1 << take) - 1)) * 2 ** done
    done += take
    at += take
  }
  return value
}

/** Reads DELTA_BINARY_PACKED: `count` integers, each a safe one. */
export function decodeDelta(bytes: Uint8Array, start: number, end: number, count: number): Float64Array {
  let at = start
  const unsigned = (): bigint => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      expect(at < end && shift < 70n, 'a column of numbers ends too early')
      const byte = bytes[at++] ?? 0
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return value
    }
  }
  const signed = (): bigint => {
    const raw = BigInt.asUintN(64, unsigned())
    return raw % 2n === 0n ? raw / 2n : -(raw / 2n) - 1n
  }
  const blockSize = Number(unsigned())
  const miniblocks = Number(unsigned())
  const perMiniblock = blockSize / miniblocks
  const shaped = blockSize <= 65_536 && miniblocks > 0 && Number.isInteger(perMiniblock) && perMiniblock % 32 === 0
  expect(shaped && perMiniblock > 0 && unsigned() === BigInt(count), 'a column of numbers has an impossible head')
  const out = new Float64Array(count)
  let value = safe(Number(signed()))
  if (count > 0) out[0] = value
  let filled = 1
  while (filled < count) {
    const minimum = signed()
    const least = Number(minimum)
    const widths = at
    expect(miniblocks <= end - at, 'a column of numbers ends too early')
    at += miniblocks
    for (let i = 0; i < miniblocks && filled < count; i++) {
      const width = bytes[widths + i] ?? 0
      expect(width <= 64 && (width * perMiniblock) / 8 <= end - at, 'a column of numbers ends too early')
      // Differences of numbers of 53 bits need more than that; so far apart they are rare, and exact arithmetic is slow.
      const near = width <= EXACT_BITS && minimum > -EXACT_LIMIT && minimum < EXACT_LIMIT
      const stop = Math.min(count, filled + perMiniblock)
      for (let bit = at * 8; filled < stop; filled++, bit += width) {
        value = near
          ? safe(value + least + wideBits(bytes, bit, width))
          : safe(Number(BigInt.asIntN(64, BigInt(value) + minimum + exactBits(bytes, bit, width))))
        out[filled] = value
      }
      at += (width * perMiniblock) / 8
    }
  }
  return out
}

const EXACT_BITS = 50
const EXACT_LIMIT = 2n ** 50n

/** Like `wideBits`, of up to 64 bits. */
function exactBits(bytes: Uint8Array, position: number, width: number): bigint {
  const low = Math.min(width, 32)
  return BigInt(wideBits(bytes, position, low)) + (BigInt(wideBits(bytes, position + low, width - low)) << 32n)
}

function safe(value: number): number {
  expect(Number.isSafeInteger(value), 'a column of numbers holds one that is out of range')
  return value
}

/** Reads PLAIN booleans, a bit each. */
export function decodeBooleans(bytes: Uint8Array, start: number, end: number, count: number): Uint8Array {
  expect((count + 7) >> 3 <= end - start, 'a column of flags ends too early')
  const out = new Uint8Array(count)
  for (let i = 0; i < count; i++) out[i] = ((bytes[start + (i >> 3)] ?? 0) >> (i & 7)) & 1
  return out
}

/**
 * Reads PLAIN byte arrays, each with its length before it, into the positions `from..from + count` of `starts` and
 * `ends`, moved by `base`. Positions that `nulls` marks are left out: they have no bytes.
 */
export function decodeByteArrays(
  bytes: Uint8Array,
  range: { readonly start: number; readonly end: number; readonly base: number },
  rows: { readonly from: number; readonly to: number; readonly nulls: Uint8Array | null },
  starts: Uint32Array,
  ends: Uint32Array,
): void {
  const { end, base } = range
  const { from, to, nulls } = rows
  let at = range.start
  for (let i = from; i < to; i++) {
    if (nulls !== null && nulls[i] === 1) continue
    expect(4 <= end - at, 'a column of texts ends too early')
    const length =
      ((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24)) >>>
      0
    at += 4
    expect(length <= end - at, 'a column of texts ends inside one')
    starts[i] = base + at
    at += length
    ends[i] = base + at
  }
  expect(at === end, 'a column of texts has bytes left over')
}
