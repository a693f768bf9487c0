import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ByteWriter } from '../../src/format/segment/byte-writer.ts'
import { encodeBooleans, encodeDelta, encodeHybrid, widthOf } from '../../src/format/segment/encode-values.ts'
import { decodeBooleans, decodeDelta, decodeHybrid } from '../../src/format/segment/encodings.ts'
import { ThriftReader } from '../../src/format/segment/thrift.ts'
import { ThriftWriter } from '../../src/format/segment/thrift-writer.ts'

/** In memory that is dirty: nothing may rest on zeros. */
function written(write: (out: ByteWriter) => void): Buffer {
  const out = new ByteWriter(4)
  out.bytes(Buffer.alloc(5000, 0xff))
  out.clear()
  write(out)
  return out.view()
}

/** Runs of equal values between ones that differ, of any length against the groups of eight. */
const runs = (width: number): fc.Arbitrary<number[]> =>
  fc
    .array(fc.tuple(fc.integer({ min: 0, max: 2 ** width - 1 }), fc.constantFrom(1, 1, 2, 7, 8, 9, 15, 16, 40)))
    .map((list) => list.flatMap(([value, times]) => Array.from({ length: times }, () => value)))

test('runs and packed integers decode to what was encoded, at every width', () => {
  const values = fc.integer({ min: 0, max: 24 }).chain((width) => fc.tuple(fc.constant(width), runs(width)))
  fc.assert(
    fc.property(values, ([width, list]) => {
      const bytes = written((out) => encodeHybrid(out, Int32Array.from(list), list.length, width))
      expect([...decodeHybrid(bytes, 0, bytes.length, width, list.length)]).toEqual(list)
    }),
  )
})

test('integers decode to what was encoded, near one another and as far apart as can be', () => {
  const value = fc.oneof(
    fc.nat(1000),
    fc.maxSafeNat(),
    fc.constantFrom(0, Number.MAX_SAFE_INTEGER, 2 ** 52, 2 ** 32 - 1),
  )
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 300 }), (list) => {
      const bytes = written((out) => encodeDelta(out, Float64Array.from(list), list.length))
      expect([...decodeDelta(bytes, 0, bytes.length, list.length)]).toEqual(list)
    }),
  )
})

test('flags decode to what was encoded', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(0, 1)), (list) => {
      const bytes = written((out) => encodeBooleans(out, Uint8Array.from(list)))
      expect([...decodeBooleans(bytes, 0, bytes.length, list.length)]).toEqual(list)
    }),
  )
})

test('a width holds its number and no width less does', () => {
  expect([0, 1, 2, 255, 256, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1].map(widthOf)).toEqual([0, 1, 2, 8, 9, 32, 33, 53])
})

test('numbers and texts of Thrift are read back, the extremes too', () => {
  const numbers = [0, -1, 1, 63, 64, -65, 2 ** 51, 2 ** 52 - 1, 1 - 2 ** 52]
  const bytes = written((out) => {
    const thrift = new ThriftWriter(out)
    thrift.struct(() => {
      thrift.i64(2, 7)
      thrift.structs(5, numbers, (number) => thrift.i64(1, number))
      thrift.structs(6, Array.from({ length: 20 }, String), (text) => thrift.binary(1, text))
    })
  })
  const reader = new ThriftReader(bytes)
  const seen: unknown[] = []
  reader.struct((id) => {
    if (id === 2) seen.push(reader.integer())
    else reader.list(() => reader.struct(() => seen.push(id === 5 ? reader.integer() : reader.binary().toString()) > 0))
    return true
  })
  expect(seen).toEqual([7, ...numbers, ...Array.from({ length: 20 }, String)])
})
