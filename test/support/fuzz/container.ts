import { EncryptedStore } from '../../../src/store/encryption/encrypted-store.ts'
import { SecretKey, type StoreKey } from '../../../src/store/encryption/store-key.ts'
import { MemoryStore } from '../../../src/store/memory.ts'
import { type Case, type Decoder, same } from './case.ts'
import { choose, mutateBytes, pick, type Random } from './mutate.ts'

/** The key of the golden files. */
export const STORE_KEY: StoreKey = { id: '01KAJ0QZX3N5V7E8T9RYBWDCFG', key: new SecretKey(Buffer.alloc(32, 7)) }
export const OBJECT_KEY = 'segment/fuzz'

const HEADER = 96
const CHUNK = 65_536 + 16

/** Swaps, removes or doubles whole chunks, or cuts behind one: what a checksum of each chunk alone would not notice. */
function moved(file: Uint8Array, donor: Uint8Array, random: Random): { bytes: Uint8Array; kind: string } {
  const chunks = Array.from({ length: Math.ceil((file.length - HEADER) / CHUNK) }, (_, i) =>
    file.subarray(HEADER + i * CHUNK, HEADER + (i + 1) * CHUNK),
  )
  const [a, b] = [pick(random, chunks.length), pick(random, chunks.length)]
  const kind = choose(random, ['swap', 'remove', 'double', 'cut', 'header'])
  const [first, second] = [chunks[a] ?? file, chunks[b] ?? file]
  if (kind === 'swap') chunks.splice(a, 1, second)
  if (kind === 'swap') chunks.splice(b, 1, first)
  if (kind === 'remove') chunks.splice(a, 1)
  if (kind === 'double') chunks.splice(a, 0, first)
  if (kind === 'cut') chunks.length = a
  const header = kind === 'header' ? donor.subarray(0, HEADER) : file.subarray(0, HEADER)
  return { bytes: Buffer.concat([header, ...chunks]), kind: `chunk ${kind}` }
}

/** What a reader gets of the object, and what it must get; the range is one of the original. */
async function opened(bytes: Uint8Array, plain: Uint8Array, random: Random): Promise<[Uint8Array, Uint8Array]> {
  const inner = new MemoryStore()
  await inner.put(OBJECT_KEY, bytes)
  const store = new EncryptedStore(inner, STORE_KEY, () => false)
  if (random() < 0.5) return [await store.get(OBJECT_KEY), plain]
  const start = pick(random, plain.length)
  const end = start + 1 + pick(random, plain.length - start)
  return [await store.get(OBJECT_KEY, { start, end }), plain.subarray(start, end)]
}

/** An encrypted object: whole and by ranges, the original bytes or nothing. */
export function containerDecoder(samples: readonly { sealed: Uint8Array; plain: Uint8Array }[]): Decoder {
  const donors = samples.map(({ sealed }) => sealed)
  return {
    name: 'container',
    make: (random) => {
      const { sealed, plain } = choose(random, samples)
      const donor = choose(random, donors)
      const { bytes, kind } = random() < 0.3 ? moved(sealed, donor, random) : mutateBytes(sealed, donors, random)
      const decode: Case['decode'] = async () => {
        const [found, expected] = await opened(bytes, plain, random)
        return () => {
          const whole = samples.find((one) => Buffer.compare(one.sealed, bytes) === 0)
          if (whole !== undefined && whole.plain !== plain) return
          same(Buffer.from(found).toString('latin1'), Buffer.from(expected).toString('latin1'), 'a damaged file gave')
        }
      }
      return { kind, input: bytes, decode }
    },
  }
}
