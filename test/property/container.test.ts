import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { equalBytes } from '../../src/base/bytes.ts'
import { TidemarkError } from '../../src/base/errors.ts'
import {
  CHUNK_BYTES,
  HEADER_BYTES,
  plainSize,
  SEALED_CHUNK_BYTES,
  sealedSize,
  sealWhole,
} from '../../src/store/encryption/container.ts'
import { EncryptedStore } from '../../src/store/encryption/encrypted-store.ts'
import { SecretKey, type StoreKey } from '../../src/store/encryption/store-key.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { withRetry } from '../../src/store/retry.ts'
import { fails, pattern, streamOf } from '../../src/testing/objects.ts'
import { CountingStore, FaultyStore } from '../support/stores.ts'

const storeKey: StoreKey = { id: '01KAJ0QZX3N5V7E8T9RYBWDCFG', key: SecretKey.random() }
const over = (store: MemoryStore | CountingStore): EncryptedStore => new EncryptedStore(store, storeKey, () => false)

/** Sizes at and around the borders of chunks, and others. */
const size: fc.Arbitrary<number> = fc.oneof(
  fc.constantFrom(0, 1, 15, 16, 17),
  fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: -17, max: 17 })).map(([n, d]) => n * CHUNK_BYTES + d),
  fc.integer({ min: 0, max: 220_000 }),
)

describe('an encrypted file', () => {
  test('gives back every byte of any size and any range, put as bytes or as a stream', async () => {
    const parts = fc.array(fc.integer({ min: 0, max: 90_000 }), { maxLength: 4 })
    const property = fc.asyncProperty(size, parts, fc.nat(), fc.nat(), async (bytes, cuts, a, b) => {
      const plain = pattern(bytes, bytes)
      const inner = new MemoryStore()
      const store = over(inner)
      await store.put('whole', plain)
      await store.put('stream', streamOf(pieces(plain, cuts)))
      const [start = 0, end = 0] = [a % (bytes + 1), b % (bytes + 1)].sort((x, y) => x - y)
      for (const key of ['whole', 'stream']) {
        expect(equalBytes(await store.get(key), plain)).toBe(true)
        // A fresh wrapper knows nothing of the file yet; the second read uses what the first has learnt.
        const reader = over(inner)
        for (let i = 0; i < 2; i++) {
          expect(equalBytes(await reader.get(key, { start, end }), plain.subarray(start, end))).toBe(true)
        }
        expect(await store.head(key)).toEqual({ key, bytes })
        expect((await inner.head(key))?.bytes).toBe(sealedSize(bytes))
      }
      expect(plainSize(sealedSize(bytes))).toBe(bytes)
    })
    await fc.assert(property, { numRuns: 60 })
  })

  test('is refused with any byte flipped, cut, lengthened, or with its chunks in another order', async () => {
    type Change = (file: Uint8Array, random: number) => Uint8Array
    const changes: readonly Change[] = [
      (file, random) => {
        const changed = Uint8Array.from(file)
        const at = random % file.length
        changed[at] = (changed[at] ?? 0) ^ (1 << (random % 8))
        return changed
      },
      (file, random) => file.subarray(0, random % file.length),
      (file, random) => Buffer.concat([file, pattern(1 + (random % 70_000), random)]),
      // Whole chunks cut off, doubled, or in each other's place.
      (file) => file.subarray(0, HEADER_BYTES + SEALED_CHUNK_BYTES),
      (file) => Buffer.concat([file, file.subarray(HEADER_BYTES, HEADER_BYTES + SEALED_CHUNK_BYTES)]),
      (file) => {
        const at = (n: number): number => HEADER_BYTES + n * SEALED_CHUNK_BYTES
        return Buffer.concat([
          file.subarray(0, at(0)),
          file.subarray(at(1), at(2)),
          file.subarray(at(0), at(1)),
          file.subarray(at(2)),
        ])
      },
    ]
    const longer = fc.integer({ min: 2 * CHUNK_BYTES + 1, max: 220_000 })
    const change = fc.nat({ max: changes.length - 1 })
    const property = fc.asyncProperty(
      fc.oneof(size, longer),
      change,
      fc.nat(),
      fc.nat(),
      async (bytes, which, random, at) => {
        const plain = pattern(bytes, random)
        const file = sealWhole(storeKey, 'k', plain)
        const changed = changes[which]?.(file, random) ?? file
        fc.pre(!equalBytes(changed, file))
        const inner = new MemoryStore()
        await inner.put('k', changed)
        expect(await fails(over(inner).get('k'))).toBe('OBJECT_CORRUPT')
        // A range never gives a byte that is not the right one.
        const start = at % (bytes + 1)
        const end = Math.min(bytes, start + 100)
        const found = await over(inner)
          .get('k', { start, end })
          .catch((error: unknown) => {
            expect(error).toMatchObject({ code: 'OBJECT_CORRUPT', details: { key: 'k' } })
            return plain.subarray(start, end)
          })
        expect(equalBytes(found, plain.subarray(start, end))).toBe(true)
      },
    )
    await fc.assert(property, { numRuns: 150 })
  })

  test('is refused under another name, with the header of another file, or with the key of another store', async () => {
    const inner = new MemoryStore()
    const store = over(inner)
    for (const key of ['a', 'b']) await store.put(key, pattern(100, 1))
    const [a, b] = [await inner.get('a'), await inner.get('b')]
    expect(equalBytes(a, b)).toBe(false)
    await inner.put('c', a)
    await inner.put('d', Buffer.concat([a.subarray(0, HEADER_BYTES), b.subarray(HEADER_BYTES)]))
    await inner.put('plain', pattern(500))
    await inner.put('short', pattern(5))
    for (const key of ['c', 'd', 'plain', 'short']) {
      expect(await fails(store.get(key)), key).toBe('OBJECT_CORRUPT')
      expect(await fails(store.get(key, { start: 0, end: 1 })), key).toBe('OBJECT_CORRUPT')
    }
    for (const other of [
      { ...storeKey, key: SecretKey.random() },
      { ...storeKey, id: '01KAJ0QZX3N5V7E8T9RYBWDCFH' },
    ]) {
      expect(await fails(new EncryptedStore(inner, other, () => false).get('a'))).toBe('OBJECT_CORRUPT')
    }
  })
})

describe('the encrypted store', () => {
  test('fetches the chunks that a range needs and no others, and asks for the header once', async () => {
    const inner = new CountingStore(new MemoryStore())
    await over(inner).put('k', pattern(20 * CHUNK_BYTES))
    const store = over(inner)
    inner.reset()
    await Promise.all([
      store.get('k', { start: 5, end: 6 }),
      store.get('k', { start: 3 * CHUNK_BYTES - 1, end: 3 * CHUNK_BYTES + 1 }),
    ])
    expect(inner.calls).toMatchObject({ head: 1, get: 3 })
    inner.reset()
    await store.get('k', { start: 19 * CHUNK_BYTES, end: 20 * CHUNK_BYTES })
    await store.get('k', { start: 3 * CHUNK_BYTES - 1, end: 3 * CHUNK_BYTES + 1 })
    expect(inner.calls).toMatchObject({ head: 0, get: 2 })
    expect(inner.bytesRead).toBe(3 * SEALED_CHUNK_BYTES)
  })

  test('sees that another process has put another object in the place of one that it knows', async () => {
    const inner = new MemoryStore()
    const [one, two] = [over(inner), over(inner)]
    await one.put('k', pattern(100_000, 1))
    const range = { start: 70_000, end: 70_100 }
    await one.get('k', range)
    for (const length of [100_000, 150_000, 70_100]) {
      await two.put('k', pattern(length, length))
      expect(equalBytes(await one.get('k', range), pattern(length, length).subarray(70_000, 70_100))).toBe(true)
    }
    await two.put('k', pattern(10))
    expect(await fails(one.get('k', range))).toBe('OBJECT_CORRUPT')
  })

  test('wins a conditional put whose answer was lost', async () => {
    const inner = new FaultyStore(new MemoryStore(), (verb, _key, call) =>
      verb === 'put' && call === 1 ? 'after' : null,
    )
    const store = new EncryptedStore(withRetry(inner, { baseMs: 1 }), storeKey, () => false)
    await store.put('k', pattern(100), { ifAbsent: true })
    expect(await fails(store.put('k', pattern(100), { ifAbsent: true }))).toBe('OBJECT_EXISTS')
  })

  test('passes clear keys through, and nothing else', async () => {
    const inner = new MemoryStore()
    const store = new EncryptedStore(inner, storeKey, (key) => key === 'clear')
    for (const key of ['clear', 'secret']) await store.put(key, Buffer.from('canary'))
    expect(Buffer.from(await inner.get('clear')).toString()).toBe('canary')
    expect(Buffer.from(await inner.get('secret')).includes('canary')).toBe(false)
    expect(Buffer.from(await store.get('clear', { start: 1, end: 3 })).toString()).toBe('an')
    const sizes: number[] = []
    for await (const { bytes } of store.list('')) sizes.push(bytes)
    expect(sizes).toEqual([6, 6])
  })

  test('refuses a put whose object is not in the store as it was encrypted', async () => {
    type Spoil = (sealed: Uint8Array, plain: Uint8Array) => Uint8Array
    const spoilers: readonly [string, Spoil][] = [
      ['stripped', (_sealed, plain) => plain],
      ['cut', (sealed) => sealed.subarray(0, 50)],
      ['empty', () => new Uint8Array(0)],
      ['flipped', (sealed) => sealed.map((byte, at) => (at === 300 ? byte ^ 1 : byte))],
    ]
    for (const [name, spoil] of spoilers) {
      for (const streamed of [false, true]) {
        const plain = pattern(1000)
        const inner = new MemoryStore()
        const put = inner.put.bind(inner)
        inner.put = async (key, body) => {
          const parts: Uint8Array[] = []
          if (body instanceof Uint8Array) parts.push(body)
          else for await (const part of body) parts.push(part)
          await put(key, spoil(Buffer.concat(parts), plain))
        }
        const error = await over(inner)
          .put('k', streamed ? streamOf([plain]) : plain)
          .catch((thrown: unknown) => thrown)
        expect(error, name).toBeInstanceOf(TidemarkError)
        expect(error, name).toMatchObject({ code: 'ENCRYPTION_FAILED', details: { key: 'k' } })
      }
    }
  })

  test('takes the object of another process in its place, where that is encrypted too', async () => {
    for (const length of [10, 1000, 200_000]) {
      const inner = new MemoryStore()
      const put = inner.put.bind(inner)
      inner.put = async (key, body, options) => {
        await put(key, body, options)
        await put(key, sealWhole(storeKey, key, pattern(length)))
      }
      await over(inner).put('k', pattern(1000))
    }
  })
})

function pieces(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const parts: Uint8Array[] = []
  let at = 0
  for (const cut of cuts) {
    parts.push(bytes.subarray(at, at + cut))
    at = Math.min(bytes.length, at + cut)
  }
  return [...parts, bytes.subarray(at)]
}
