import fc from 'fast-check'
import { Packr } from 'msgpackr'
import type { Image } from '../../src/model/event.ts'

const packr = new Packr({ useRecords: false })

/** Ids that broke other tools: delimiters, unicode beyond the BMP, names of JavaScript's own, control characters. */
export const trickyId: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    '',
    'null',
    '__proto__',
    'constructor',
    'a/b',
    'a',
    'a.b',
    'a:b',
    '%2F',
    '..',
    'id=1/x',
    '\u{1f600}',
    '\ufb01',
    '\ufeff',
    '\ufeff1',
    'é',
    'é',
    '"',
    '\\',
    '\n',
  ),
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.stringMatching(/^[a-z]{1,3}$/),
)

/** Values that MessagePack and JSON both carry. */
const rawValue: fc.Arbitrary<unknown> = fc.oneof(
  fc.record({
    metadata: fc.array(fc.tuple(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' })), { maxLength: 4 }),
    body: fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    ),
  }),
  fc.integer(),
  fc.double({ noNaN: true }),
  fc.constantFrom(null, true, '', [], {}),
  fc.dictionary(fc.constantFrom('$bin', '$msgpack', 'a', 'b'), fc.string(), { maxKeys: 2 }),
)

/** Images whose raw part, as of every source, says at least what the JSON does. */
export const image: fc.Arbitrary<Image> = fc
  .record({
    value: fc.dictionary(trickyId, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 }),
    raw: fc.option(rawValue),
  })
  .map(({ value, raw }) => {
    const json = JSON.stringify(value)
    return {
      json: new Uint8Array(Buffer.from(json)),
      raw: raw === null ? null : new Uint8Array(packr.pack([raw, json])),
    }
  })

/** A comparable form of an image. */
export function show(image: Image | null): string {
  if (image === null) return '-'
  return `${Buffer.from(image.json).toString('utf8')} | ${image.raw === null ? '-' : Buffer.from(image.raw).toString('hex')}`
}
