import { expect, it, vi } from 'vitest'
import { decodeStored } from '../../src/s3db/image.ts'
import { readMessagePack } from '../../src/s3db/message-pack.ts'
import { encodeStored } from '../../src/s3db/stored-object.ts'

// msgpackr reads texts with native code where an optional package is there; this is how it goes without.
vi.hoisted(() => {
  process.env.MSGPACKR_NATIVE_ACCELERATION_DISABLED = 'true'
})

const LENGTHS = [0, 1, 31, 32, 255, 256, 65_535, 65_536]

it('texts keep a U+FEFF at their beginning', () => {
  for (const length of LENGTHS) {
    for (const text of [`\ufeff${'x'.repeat(length)}`, `\ufeff${'é'.repeat(length)}`]) {
      const stored = { metadata: [['0', text]] as const, body: text, contentType: text, contentEncoding: null }
      expect(decodeStored(encodeStored(stored))).toEqual(stored)
    }
  }
})

it('binary and many pairs come back', () => {
  for (const length of LENGTHS) {
    const metadata = Array.from({ length }, (_, i): [string, string] => [`k${i}`, ''])
    const stored = { metadata, body: Buffer.alloc(length, 0xff), contentType: null, contentEncoding: 'gzip' }
    const back = decodeStored(encodeStored(stored))
    expect(back.metadata).toEqual(metadata)
    expect(Buffer.compare(Buffer.from(back.body), stored.body)).toBe(0)
  }
})

it('bytes that end early, go on or are of another type are refused', () => {
  const raw = encodeStored({ metadata: [['a', 'b']], body: 'text', contentType: null, contentEncoding: null })
  for (let end = 0; end < raw.length; end++) expect(() => readMessagePack(raw.subarray(0, end))).toThrow(RangeError)
  for (const bytes of [Buffer.concat([raw, Buffer.of(0xc0)]), Buffer.of(0xcb, 1, 2, 3, 4, 5, 6, 7, 8), Buffer.of(0x05)])
    expect(() => decodeStored(bytes)).toThrow(expect.objectContaining({ code: 'TARGET_INVALID' }))
})
