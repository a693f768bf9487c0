import fc from 'fast-check'
import { Packr } from 'msgpackr'
import { expect, test } from 'vitest'
import { packedTextLength } from '../../src/format/packed-text.ts'
import { rawFromJson, rawFromText, rawText, rawToJson } from '../../src/format/raw-json.ts'
import { packedOfText } from '../../src/format/text-packed.ts'

const packr = new Packr({ useRecords: false, variableMapSize: true, mapsAsObjects: true, int64AsType: 'bigint' })

/** The same with values in between, as plainly as can be; where the bytes do not come back, they are carried. */
function plainText(raw: Uint8Array): string {
  try {
    const text = JSON.stringify(packr.unpack(raw), (_, value) =>
      value?.type === 'Buffer' && Array.isArray(value.data)
        ? { $bin: Buffer.from(value.data).toString('base64') }
        : value,
    )
    if (Buffer.compare(rawFromJson(JSON.parse(text)) ?? Buffer.alloc(0), raw) === 0) return text
  } catch {
    // carried
  }
  return JSON.stringify({ $msgpack: Buffer.from(raw).toString('base64') })
}

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom('$bin', '$msgpack', '__proto__', '7', '10', 'b'),
)
const number = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double(),
  fc.constantFrom(-0, 127, 128, 255, 256, -32, -33, -129, 65536),
)
const binary = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes))
const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    text,
    number,
    binary,
    fc.constantFrom(null, true, false, 'x'.repeat(70_000), 'é"\n'.repeat(20_000)),
    fc.array(tie('any'), { maxLength: 20 }),
    fc.dictionary(text, tie('any'), { maxKeys: 20 }),
  ),
})).any

const packed = fc.oneof(
  value.map((one) => packr.pack(one)),
  // What is nearly MessagePack: other forms of the same, and what is none.
  fc
    .tuple(
      value.map((one) => packr.pack(one)),
      fc.nat(),
      fc.nat(255),
    )
    .map(([bytes, at, byte]) => {
      const changed = Buffer.from(bytes)
      changed[at % Math.min(changed.length, 40)] = byte
      return changed
    }),
)

test('a raw part comes back from its text, which is the one that a JSON library would have written', () => {
  fc.assert(
    fc.property(packed, (raw) => {
      const json = rawToJson(raw)
      expect(Buffer.compare(rawFromJson(JSON.parse(json)) ?? Buffer.alloc(0), raw)).toBe(0)
      expect(Buffer.compare(rawFromText(Buffer.from(json)) ?? Buffer.alloc(0), raw)).toBe(0)
      const packed = packedOfText(Buffer.from(json))
      if (packed !== null) expect(Buffer.compare(packed, raw)).toBe(0)
      expect(json === plainText(raw)).toBe(true)
    }),
    { numRuns: 800 },
  )
})

test('what JSON libraries make of a text is what is made of it without one', () => {
  const json = fc.oneof(
    fc.json(),
    fc.tuple(fc.json(), fc.nat(), fc.nat(127)).map(([whole, at, code]) => {
      const changed = Buffer.from(whole)
      changed[at % changed.length] = code
      return changed.toString('utf8')
    }),
    fc.constantFrom(
      '{"a":1,"a":2}',
      '{"b":1,"1":2}',
      '"\\ud800"',
      '"\\u00e9"',
      '-0',
      '1.0',
      '1e3',
      '01',
      '[1,]',
      '{"$bin":"!"}',
    ),
  )
  fc.assert(
    fc.property(json, (whole) => {
      const direct = packedOfText(Buffer.from(whole))
      if (direct !== null) expect(Buffer.compare(direct, rawFromJson(JSON.parse(whole)) ?? packr.pack(null))).toBe(0)
    }),
    { numRuns: 2000 },
  )
})

test('a large raw part is written and read in place, without a value of it in between', () => {
  const raw = packr.pack({
    metadata: [['text', 'é"\n'.repeat(100_000)]],
    body: Buffer.alloc(500_000, 7),
    contentType: null,
  })
  const parse = JSON.parse
  const unpack = Packr.prototype.unpack
  JSON.parse = Packr.prototype.unpack = () => {
    throw new Error('a value was made of it')
  }
  try {
    const json = Buffer.from(rawText(raw))
    expect(packedTextLength(raw)).toBe(json.length)
    expect(Buffer.compare(rawFromText(json) ?? Buffer.alloc(0), raw)).toBe(0)
  } finally {
    JSON.parse = parse
    Packr.prototype.unpack = unpack
  }
})
