import { expect, test } from 'vitest'
import { TidemarkError } from '../../src/base/errors.ts'
import type { Case, Decoder } from '../support/fuzz/case.ts'
import { golden } from '../support/fuzz/golden.ts'
import { mutateBytes } from '../support/fuzz/mutate.ts'
import { decoders, fuzz } from './fuzz.ts'

const MUTATIONS = 800
/** Another part of the numbers every day would hide what a change broke: CI has its own. */
const SEED = 5_000_000

test.each(await decoders())('$name gives what was written, or refuses', async (decoder) => {
  const { outcomes, kinds } = await fuzz(decoder, MUTATIONS, SEED)
  expect(outcomes.refused + outcomes.decoded).toBe(MUTATIONS)
  expect(outcomes.refused).toBeGreaterThan(MUTATIONS / 10)
  expect(kinds.size).toBeGreaterThanOrEqual(11)
})

/** A decoder of `store-file.bin` that is broken as the given function says. */
function broken(decode: (bytes: Uint8Array) => ReturnType<Case['decode']>): Decoder {
  const file = golden('store-file.bin')
  return {
    name: 'broken',
    make: (random) => {
      const { bytes, kind } = mutateBytes(file, [file], random)
      return { kind, input: bytes, decode: () => decode(bytes) }
    },
  }
}

const refuse = (): never => {
  throw new TidemarkError('OBJECT_CORRUPT', 'refused', { hint: 'none' })
}

test.each([
  [
    'throws another error',
    (bytes: Uint8Array) => {
      if (bytes.length % 7 === 0) throw new RangeError('out of range')
      return refuse()
    },
    'RangeError',
  ],
  [
    'takes the length that it is told',
    (bytes: Uint8Array) => {
      const length = Buffer.alloc(1 << (bytes[20] === 0x7f || bytes[12] !== 0x32 ? 27 : 4)).fill(1).length
      return () => expect(length).toBeGreaterThan(0)
    },
    'MiB',
  ],
  [
    'gives a wrong value',
    (bytes: Uint8Array) => () => {
      if (Buffer.compare(bytes, golden('store-file.bin')) !== 0) throw new Error('a wrong value')
    },
    'a wrong value',
  ],
])('a decoder that %s is found', async (_, decode, message) => {
  await expect(fuzz(broken(decode), 2000, 1)).rejects.toThrow(message)
})
