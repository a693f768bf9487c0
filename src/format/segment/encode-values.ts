import type { ByteWriter } from './byte-writer.ts'

/* Parquet's encodings (parquet.apache.org, "Encodings"), those that segments use, the other way round from encodings.ts. */

/** Values that are packed together, and that many equal ones are better told once. */
const GROUP = 8

/** Writes `count` integers from 0 below 2^`width`, `width` at most 24, as the RLE / bit-packed hybrid. */
export function encodeHybrid(out: ByteWriter, values: Int32Array, count: number, width: number): void {
  let at = 0
  while (at < count) {
    const equal = equalFrom(values, at, count)
    if (equal >= GROUP || equal === count - at) {
      out.varint(equal * 2)
      for (let bits = 0; bits < width; bits += 8) out.byte((values[at] ?? 0) >>> bits)
      at += equal
      continue
    }
    const start = at
    do at += GROUP
    while (at < count && equalFrom(values, at, Math.min(count, at + GROUP)) < GROUP)
    const groups = (at - start) / GROUP
    out.varint(groups * 2 + 1)
    // What is missing of the last group is not read.
    pack(out, values, start, Math.min(at, count), width, groups * width)
  }
}

/** How many values from `at` on, below `end`, are the same. */
function equalFrom(values: Int32Array, at: number, end: number): number {
  let next = at + 1
  while (next < end && values[next] === values[at]) next++
  return next - at
}

/** Bit-packed integers, the least significant bits first, filled up to `bytes`. */
function pack(out: ByteWriter, values: Int32Array, from: number, to: number, width: number, bytes: number): void {
  let at = out.take(bytes)
  const end = at + bytes
  const { buffer } = out
  let [held, bits] = [0, 0]
  for (let i = from; i < to; i++) {
    bits |= (values[i] ?? 0) << held
    held += width
    while (held >= 8) {
      buffer[at++] = bits
      bits >>>= 8
      held -= 8
    }
  }
  if (held > 0) buffer[at++] = bits
  buffer.fill(0, at, end)
}

const BLOCK = 128
const MINIBLOCK = 32
/** Differences of differences below this are exact as numbers. */
const EXACT = 2 ** 52

/** Writes DELTA_BINARY_PACKED: `count` safe integers that are not negative, at least one. */
export function encodeDelta(out: ByteWriter, values: Float64Array, count: number): void {
  out.varint(BLOCK)
  out.varint(BLOCK / MINIBLOCK)
  out.varint(count)
  out.zigzag(values[0] ?? 0)
  for (let start = 1; start < count; start += BLOCK) encodeBlock(out, values, start, Math.min(count, start + BLOCK))
}

function encodeBlock(out: ByteWriter, values: Float64Array, from: number, to: number): void {
  const difference = (i: number): number => (values[i] ?? 0) - (values[i - 1] ?? 0)
  let [least, greatest] = [difference(from), difference(from)]
  for (let i = from + 1; i < to; i++) {
    least = Math.min(least, difference(i))
    greatest = Math.max(greatest, difference(i))
  }
  out.zigzag(least)
  const widths = out.take(BLOCK / MINIBLOCK)
  out.buffer.fill(0, widths, widths + BLOCK / MINIBLOCK)
  const isExact = greatest - least < EXACT
  const above = (i: number): bigint => BigInt(difference(i)) - BigInt(least)
  for (let mini = 0; from + mini * MINIBLOCK < to; mini++) {
    const start = from + mini * MINIBLOCK
    const end = Math.min(to, start + MINIBLOCK)
    let most = 0n
    let mostNumber = 0
    for (let i = start; i < end; i++) {
      if (isExact) mostNumber = Math.max(mostNumber, difference(i) - least)
      else if (above(i) > most) most = above(i)
    }
    const width = isExact ? widthOf(mostNumber) : most.toString(2).length
    out.buffer[widths + mini] = width
    const at = out.take((width * MINIBLOCK) / 8)
    out.buffer.fill(0, at, out.length)
    for (let i = start; i < end; i++) {
      const bit = at * 8 + (i - start) * width
      if (isExact) putBits(out.buffer, bit, difference(i) - least, width)
      else {
        putBits(out.buffer, bit, Number(above(i) & 0xffffffffn), Math.min(width, 32))
        putBits(out.buffer, bit + 32, Number(above(i) >> 32n), width - 32)
      }
    }
  }
}

/** Bits that a number from 0 to 2^53 needs. */
export function widthOf(value: number): number {
  const high = Math.floor(value / 2 ** 32)
  return high > 0 ? 64 - Math.clz32(high) : 32 - Math.clz32(value)
}

/** Widths up to this, and the seven bits before a value in its first byte, fit into 32 bits. */
const SHORT_WIDTH = 24

/** Puts `width` bits of `value` at bit `position`, where there are zeros. */
function putBits(buffer: Buffer, position: number, value: number, width: number): void {
  if (width <= SHORT_WIDTH) {
    let byte = position >>> 3
    for (let bits = value << (position & 7); bits !== 0; bits >>>= 8, byte++) buffer[byte] = (buffer[byte] ?? 0) | bits
    return
  }
  let rest = value
  let at = position
  for (let left = width; left > 0; ) {
    const shift = at & 7
    const taken = Math.min(8 - shift, left)
    buffer[at >>> 3] = (buffer[at >>> 3] ?? 0) | ((rest % 2 ** taken) << shift)
    rest = Math.floor(rest / 2 ** taken)
    at += taken
    left -= taken
  }
}

/** Writes PLAIN booleans, a bit each: `flags` has 1 for true. */
export function encodeBooleans(out: ByteWriter, flags: Uint8Array): void {
  const at = out.take((flags.length + 7) >> 3)
  const { buffer } = out
  buffer.fill(0, at, out.length)
  for (let i = 0; i < flags.length; i++) {
    if (flags[i] === 1) buffer[at + (i >> 3)] = (buffer[at + (i >> 3)] ?? 0) | (1 << (i & 7))
  }
}
