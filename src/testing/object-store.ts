import assert from 'node:assert/strict'
import { compareUtf8, sha256, utf8 } from '../base/bytes.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { type Checks, type ContractCase, casesOf } from './contract-case.ts'
import { keyChecks, listChecks } from './object-store-listing.ts'
import { fails, hashOf, keysOf, pattern, streamOf } from './objects.ts'

/** A fresh, empty store, and what undoes it. */
export interface StoreUnderTest {
  readonly store: ObjectStore
  dispose(): Promise<void>
}

const MIB = 1_048_576

/** What every `ObjectStore` must do; `make` gives a new store for each case, which is disposed of behind it. */
export function objectStoreContract(make: () => Promise<StoreUnderTest>): readonly ContractCase[] {
  const checks = { ...contentChecks, ...keyChecks, ...listChecks, ...raceChecks, ...largeChecks }
  return casesOf(checks, async (run) => {
    const { store, dispose } = await make()
    try {
      await run(store)
    } finally {
      await dispose()
    }
  })
}

const contentChecks: Checks<ObjectStore> = {
  'gives back every byte': async (store) => {
    const bytes = pattern(100_003)
    await store.put('a/object', bytes)
    assert.equal(Buffer.compare(await store.get('a/object'), bytes), 0)
    assert.deepEqual(await store.head('a/object'), { key: 'a/object', bytes: 100_003 })
  },

  'keeps an empty object': async (store) => {
    await store.put('empty', new Uint8Array(0))
    assert.equal((await store.get('empty')).length, 0)
    assert.equal((await store.get('empty', { start: 0, end: 0 })).length, 0)
    assert.deepEqual(await store.head('empty'), { key: 'empty', bytes: 0 })
    await store.put('empty-stream', streamOf([]))
    assert.deepEqual(await store.head('empty-stream'), { key: 'empty-stream', bytes: 0 })
  },

  'does not change with the bytes it was given or has given': async (store) => {
    // `slice` of a Buffer is no copy.
    for (const bytes of [utf8('original'), Buffer.from('original')]) {
      await store.put('k', bytes)
      bytes.fill(0)
      const read = await store.get('k')
      assert.equal(Buffer.from(read).toString(), 'original')
      read.fill(0)
      assert.equal(Buffer.from(await store.get('k')).toString(), 'original')
    }
  },

  'reads exactly the bytes of a range': async (store) => {
    const bytes = pattern(10_000)
    await store.put('k', bytes)
    for (const [start, end] of [
      [0, 1],
      [0, 10_000],
      [9_999, 10_000],
      [1234, 5678],
      [500, 500],
      [10_000, 10_000],
    ] as const) {
      const read = await store.get('k', { start, end })
      assert.equal(Buffer.compare(read, bytes.subarray(start, end)), 0, `${start}-${end}`)
    }
  },

  'says that an object is too short for a range': async (store) => {
    await store.put('k', pattern(10))
    for (const [start, end] of [
      [0, 11],
      [9, 12],
      [10, 11],
      [50, 60],
      [11, 11],
    ] as const) {
      assert.equal(await fails(store.get('k', { start, end })), 'OBJECT_CORRUPT', `${start}-${end}`)
    }
  },

  'refuses a range that is none': async (store) => {
    await store.put('k', pattern(10))
    for (const [start, end] of [
      [-1, 5],
      [5, 4],
      [0.5, 2],
      [0, Number.NaN],
    ] as const) {
      assert.equal(await fails(store.get('k', { start, end })), 'OPTION_INVALID', `${start}-${end}`)
    }
  },

  'says that there is no such object': async (store) => {
    await store.put('a/b', pattern(1))
    for (const key of ['missing', 'a', 'a/c', 'a/b/c', 'x/y/z']) {
      assert.equal(await fails(store.get(key)), 'OBJECT_NOT_FOUND', key)
      assert.equal(await fails(store.get(key, { start: 0, end: 0 })), 'OBJECT_NOT_FOUND', key)
      assert.equal(await fails(store.get(key, { start: 0, end: 1 })), 'OBJECT_NOT_FOUND', key)
      assert.equal(await store.head(key), null, key)
    }
  },

  'replaces an object by another, longer or shorter': async (store) => {
    for (const length of [10, 5000, 3, 0, 7]) {
      const bytes = pattern(length, length)
      await store.put('k', bytes)
      assert.equal(Buffer.compare(await store.get('k'), bytes), 0)
    }
    assert.deepEqual(await keysOf(store.list('')), ['k'])
  },

  'deletes what it is told to and nothing else': async (store) => {
    for (const key of ['a', 'a-', 'b/c', 'b/d']) await store.put(key, utf8(key))
    await store.delete(['a', 'missing', 'b/missing', 'no/such/directory', 'b/c', 'a'])
    assert.deepEqual(await keysOf(store.list('')), ['a-', 'b/d'])
    assert.equal(await fails(store.get('a')), 'OBJECT_NOT_FOUND')
    await store.delete([])
    await store.delete(['b'])
    assert.deepEqual(await keysOf(store.list('')), ['a-', 'b/d'])
    await store.put('b/c', utf8('again'), { ifAbsent: true })
    assert.equal(Buffer.from(await store.get('b/c')).toString(), 'again')
  },
}

const raceChecks: Checks<ObjectStore> = {
  'lets exactly one of several conditional puts win, and its bytes stand': async (store) => {
    for (let round = 0; round < 5; round++) {
      const bodies = Array.from({ length: 8 }, (_, i) => pattern(1000 + i, round * 8 + i))
      const results = await Promise.all(
        bodies.map((body) =>
          store.put(`race/${round}`, body, { ifAbsent: true }).then(
            () => 'won',
            (error) => error.code,
          ),
        ),
      )
      assert.equal(results.filter((result) => result === 'won').length, 1)
      assert.equal(results.filter((result) => result === 'OBJECT_EXISTS').length, 7)
      const winner = bodies[results.indexOf('won')]
      assert.deepEqual(Buffer.from(await store.get(`race/${round}`)), Buffer.from(winner ?? []))
    }
  },

  'leaves what exists alone in a conditional put': async (store) => {
    await store.put('k', utf8('first'))
    assert.equal(await fails(store.put('k', utf8('second'), { ifAbsent: true })), 'OBJECT_EXISTS')
    assert.equal(await fails(store.put('k', utf8('first'), { ifAbsent: true })), 'OBJECT_EXISTS')
    assert.equal(Buffer.from(await store.get('k')).toString(), 'first')
    assert.equal(await fails(store.put('s', streamOf([utf8('x')]), { ifAbsent: true })), 'OPTION_INVALID')
    assert.equal(await store.head('s'), null)
  },

  'shows an object whole or not at all while it is replaced': async (store) => {
    const versions = [pattern(50_000, 1), pattern(70_000, 2)].map((bytes) => ({ bytes, hash: sha256(bytes) }))
    await store.put('k', versions[0]?.bytes ?? new Uint8Array(0))
    const writer = (async () => {
      for (let i = 0; i < 20; i++) await store.put('k', versions[i % 2]?.bytes ?? new Uint8Array(0))
    })()
    const hashes = versions.map(({ hash }) => hash)
    for (let i = 0; i < 20; i++) assert.ok(hashes.includes(sha256(await store.get('k'))))
    await writer
  },

  'lists everything that was there before, while others put': async (store) => {
    const before = Array.from({ length: 200 }, (_, i) => `d${i % 5}/${String(i).padStart(4, '0')}`).sort(compareUtf8)
    await Promise.all(before.map((key) => store.put(key, utf8(key))))
    const during = Array.from({ length: 60 }, (_, i) => store.put(`d${i % 5}/new-${i}`, utf8('new')))
    const listed = await keysOf(store.list(''))
    await Promise.all(during)
    assert.deepEqual(
      listed.filter((key) => !key.includes('new')),
      before,
    )
    assert.deepEqual(listed, [...listed].sort(compareUtf8))
  },
}

const largeChecks: Checks<ObjectStore> = {
  'stores a long stream byte for byte': async (store) => {
    const chunks = Array.from({ length: 45 }, (_, i) => pattern(MIB / 2 + i * 977, i))
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    assert.ok(bytes > 22 * MIB)
    await store.put('large/stream', streamOf(chunks))
    assert.deepEqual(await store.head('large/stream'), { key: 'large/stream', bytes })
    assert.equal(sha256(await store.get('large/stream')), hashOf(chunks))
    const tail = await store.get('large/stream', { start: bytes - 977, end: bytes })
    assert.equal(Buffer.compare(tail, Buffer.concat(chunks).subarray(-977)), 0)
  },

  'stores large bytes and short streams byte for byte': async (store) => {
    for (const length of [8 * MIB, 16 * MIB, 16 * MIB + 1]) {
      const bytes = pattern(length, length)
      await store.put('k', bytes)
      assert.equal(sha256(await store.get('k')), sha256(bytes), `${length}`)
      await store.put('k', streamOf([bytes.subarray(0, 5), bytes.subarray(5)]))
      assert.equal(sha256(await store.get('k')), sha256(bytes), `${length} streamed`)
    }
    await store.put('absent', pattern(17 * MIB), { ifAbsent: true })
    assert.equal(await fails(store.put('absent', pattern(17 * MIB, 1), { ifAbsent: true })), 'OBJECT_EXISTS')
    assert.equal(sha256(await store.get('absent')), sha256(pattern(17 * MIB)))
  },

  'stores nothing of a stream that breaks': async (store) => {
    for (const good of [1, 40]) {
      const chunks = Array.from({ length: good }, (_, i) => pattern(MIB, i))
      const failed = store.put('broken', streamOf(chunks, new Error('the source broke')))
      await assert.rejects(failed, /the source broke/)
      assert.equal(await store.head('broken'), null)
      assert.deepEqual(await keysOf(store.list('')), [])
    }
  },
}
