import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bloomMayContain, buildBloom } from '../../src/format/segment/bloom.ts'
import { Malformed } from '../../src/format/segment/corrupt.ts'
import { decodeBooleans, decodeByteArrays, decodeDelta, decodeHybrid } from '../../src/format/segment/encodings.ts'
import { finalMix, murmur3 } from '../../src/format/segment/hash.ts'

function varint(value: bigint): number[] {
  return value < 128n ? [Number(value)] : [Number(value & 127n) | 128, ...varint(value >> 7n)]
}

/** Integers of `width` bits, the least significant bit first. */
function pack(values: readonly bigint[], width: number): number[] {
  let bits = ''
  for (const value of values) bits += [...value.toString(2).padStart(width, '0').slice(-width)].reverse().join('')
  if (width === 0) bits = ''
  const bytes: number[] = []
  for (let i = 0; i < bits.length; i += 8) bytes.push(Number.parseInt([...bits.slice(i, i + 8)].reverse().join(''), 2))
  return bytes
}

test('the hybrid of runs and packed integers decodes to what was encoded, at every width', () => {
  const run = (width: number): fc.Arbitrary<{ bytes: number[]; values: number[] }> => {
    const value = fc.integer({ min: 0, max: 2 ** width - 1 })
    const repeated = fc.tuple(value, fc.integer({ min: 1, max: 300 })).map(([v, count]) => ({
      bytes: [...varint(BigInt(count) * 2n), ...pack([BigInt(v)], Math.ceil(width / 8) * 8)],
      values: Array.from({ length: count }, () => v),
    }))
    const packed = fc.array(value, { minLength: 1, maxLength: 40 }).map((list) => {
      const padded = [...list, ...Array.from({ length: (8 - (list.length % 8)) % 8 }, () => 0)]
      return {
        bytes: [...varint(BigInt(padded.length / 8) * 2n + 1n), ...pack(padded.map(BigInt), width)],
        values: padded,
      }
    })
    return fc.oneof(repeated, packed)
  }
  fc.assert(
    fc.property(
      fc
        .integer({ min: 0, max: 31 })
        .chain((width) => fc.tuple(fc.constant(width), fc.array(run(width), { minLength: 1, maxLength: 6 }))),
      ([width, runs]) => {
        const bytes = Uint8Array.from([9, ...runs.flatMap((each) => each.bytes)])
        const values = runs.flatMap((each) => each.values)
        expect([...decodeHybrid(bytes, 1, bytes.length, width, values.length)]).toEqual(values)
        expect(() => decodeHybrid(bytes, 1, bytes.length, width, values.length + 9)).toThrow(Malformed)
      },
    ),
  )
})

test('a run whose value is wider than it says is refused: at 31 bits it would be a negative code', () => {
  const negative = Uint8Array.of(2, 0xff, 0xff, 0xff, 0xff)
  expect(() => decodeHybrid(negative, 0, negative.length, 31, 1)).toThrow(Malformed)
  const wide = Uint8Array.of(2, 2)
  expect(() => decodeHybrid(wide, 0, wide.length, 1, 1)).toThrow(Malformed)
  expect([...decodeHybrid(wide, 0, wide.length, 2, 1)]).toEqual([2])
})

test('delta-packed integers decode to what was encoded, negative and 53 bits wide', () => {
  const zigzag = (value: bigint): bigint => (value >= 0n ? value * 2n : -value * 2n - 1n)
  const encode = (values: readonly number[]): Uint8Array => {
    const out = [
      ...varint(128n),
      ...varint(4n),
      ...varint(BigInt(values.length)),
      ...varint(zigzag(BigInt(values[0] ?? 0))),
    ]
    const deltas = values.slice(1).map((value, i) => BigInt(value) - BigInt(values[i] ?? 0))
    for (let i = 0; i < deltas.length; i += 128) {
      const block = deltas.slice(i, i + 128)
      const minimum = block.reduce((least, delta) => (delta < least ? delta : least))
      const minis = [0, 1, 2, 3].map((n) => block.slice(n * 32, n * 32 + 32).map((delta) => delta - minimum))
      const widths = minis.map((mini) =>
        Math.max(0, ...mini.map((delta) => (delta === 0n ? 0 : delta.toString(2).length))),
      )
      out.push(...varint(zigzag(minimum)), ...widths)
      minis.forEach((mini, n) => {
        const padded = [...mini, ...Array.from({ length: 32 - mini.length }, () => 0n)]
        if (mini.length > 0) out.push(...pack(padded, widths[n] ?? 0))
      })
    }
    return Uint8Array.from(out)
  }
  const value = fc.oneof(fc.integer({ min: -5, max: 5 }), fc.maxSafeInteger())
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 300, size: 'max' }), (values) => {
      const bytes = encode(values)
      expect([...decodeDelta(bytes, 0, bytes.length, values.length)]).toEqual(values)
      expect(() => decodeDelta(bytes, 0, bytes.length, values.length + 1)).toThrow(Malformed)
    }),
  )
})

test('booleans and byte arrays decode to what was encoded, and are refused where they end early', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 40 }), (flags) => {
      const bytes = Uint8Array.from(
        pack(
          [...flags, ...Array.from({ length: 7 }, () => false)].map((flag) => (flag ? 1n : 0n)),
          1,
        ),
      )
      expect([...decodeBooleans(bytes, 0, bytes.length, flags.length)].map((bit) => bit === 1)).toEqual(flags)
    }),
  )
  fc.assert(
    fc.property(fc.array(fc.option(fc.uint8Array({ maxLength: 300 })), { maxLength: 30 }), (values) => {
      const present = values.filter((value) => value !== null)
      const parts = present.map((value) => Buffer.concat([Buffer.from(Uint32Array.of(value.length).buffer), value]))
      const bytes = Buffer.concat([Buffer.from([1]), ...parts])
      const nulls = Uint8Array.from(values, (value) => (value === null ? 1 : 0))
      const [starts, ends] = [new Uint32Array(values.length), new Uint32Array(values.length)]
      const decode = (end: number): void =>
        decodeByteArrays(bytes, { start: 1, end, base: 0 }, { from: 0, to: values.length, nulls }, starts, ends)
      decode(bytes.length)
      expect(values.map((value, i) => value && bytes.subarray(starts[i], ends[i]).toString('hex'))).toEqual(
        values.map((value) => value && Buffer.from(value).toString('hex')),
      )
      if (present.length > 0) expect(() => decode(bytes.length - 1)).toThrow(Malformed)
    }),
  )
})

test('the hash is MurmurHash3 x86 32', () => {
  const hash = (text: string, seed: number): number => murmur3(Buffer.from(text), 0, Buffer.byteLength(text), seed)
  // Published test vectors (en.wikipedia.org/wiki/MurmurHash).
  expect([hash('', 0), hash('', 1), hash('test', 0), hash('Hello, world!', 0)]).toEqual([
    0, 0x514e28b7, 0xba6bd213, 0xc0363e43,
  ])
  expect(hash('The quick brown fox jumps over the lazy dog', 0x9747b28c)).toBe(0x2fa826cd)
})

test('the filter says no to at least 99 of 100 strangers', () => {
  const hashes = Uint32Array.from({ length: 20_000 }, (_, i) => finalMix(i + 1))
  const bloom = buildBloom(hashes)
  expect(hashes.every((hash) => bloomMayContain(bloom, hash))).toBe(true)
  const strangers = Array.from({ length: 20_000 }, (_, i) => finalMix(i + 100_000))
  expect(strangers.filter((hash) => bloomMayContain(bloom, hash)).length).toBeLessThan(200)
})
