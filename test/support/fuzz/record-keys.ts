import { TidemarkError } from '../../../src/base/errors.ts'
import { Keyring } from '../../../src/format/record-keys/keyring.ts'
import { openImage } from '../../../src/format/record-keys/sealed-image.ts'
import type { Image } from '../../../src/model/event.ts'
import { show } from '../arbitrary.ts'
import { type Case, type Decoder, same } from './case.ts'
import type { SealedKind } from './catalogue.ts'
import { choose, mutateBytes } from './mutate.ts'

/** The record of the golden images; the second golden keyring is without another one. */
export const KEYED = { resource: 'users', id: 'u/é' }
const SEALED_JSON = '{"tidemark":"sealed"}'

/** What the golden images are of: short, long, and long without a raw part. */
export function keyedImages(): Image[] {
  const text = JSON.stringify({ text: 'abc '.repeat(2000), tail: 'é' })
  return [
    { json: Buffer.from('{}'), raw: Buffer.of(0xc0) },
    { json: Buffer.from(text), raw: Buffer.from(text) },
    { json: Buffer.from(text.slice(0, -1)), raw: null },
  ]
}

function refused(what: string): never {
  throw new TidemarkError('OBJECT_CORRUPT', `${what} was refused`, { hint: 'it is damaged' })
}

/** The keyring: a damaged one gives nothing, one that somebody has made a tree that can be written again. */
export function keyringKind(samples: readonly Uint8Array[]): SealedKind {
  const text = (keyring: Keyring): { text: string } => ({ text: Buffer.from(keyring.encode()).toString('latin1') })
  return {
    name: 'keyring',
    samples,
    read: async (bytes) => text(Keyring.decode(bytes) ?? refused('a keyring')),
    check: (found) => {
      const written = JSON.stringify(found)
      const again = Keyring.decode(Buffer.from(JSON.parse(written).text, 'latin1')) ?? refused('a keyring of its own')
      same(JSON.stringify(text(again)), written, 'a keyring, written again')
      again.keyOf(KEYED)
    },
  }
}

/** A sealed image: what was sealed, or nothing. */
export function sealedImageDecoder(keyring: Keyring, samples: readonly Uint8Array[]): Decoder {
  const plain = keyedImages()
  return {
    name: 'sealed-image',
    make: (random) => {
      const sealed = choose(random, samples)
      const { bytes, kind } = mutateBytes(sealed, samples, random)
      const decode: Case['decode'] = () => {
        const opened = openImage(keyring, KEYED, { json: Buffer.from(SEALED_JSON), raw: bytes })
        if (typeof opened === 'string') refused('a sealed image')
        return () => {
          const which = samples.findIndex((one) => Buffer.compare(one, bytes) === 0)
          same(show(opened), show(plain[which] ?? { json: Buffer.from('none'), raw: null }), 'a sealed image gave')
        }
      }
      return { kind, input: bytes, decode }
    },
  }
}
