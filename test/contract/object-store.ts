import { describe, expect, test } from 'vitest'
import { compareUtf8, sha256, utf8 } from '../../src/base/bytes.ts'
import type { ObjectInfo, ObjectStore } from '../../src/store/object-store.ts'
import { fails, hashOf, keysOf, pattern, streamOf } from '../support/objects.ts'

/** A fresh, empty store, and what undoes it. */
export interface StoreUnderTest {
  readonly store: ObjectStore
  dispose(): Promise<void>
}

const MIB = 1_048_576

/** What every `ObjectStore` must do; `factory` gives a new store for each test. */
export function objectStoreContract(name: string, factory: () => Promise<StoreUnderTest>): void {
  const check = (title: string, run: (store: ObjectStore) => Promise<void>): void => {
    test(title, async () => {
      const { store, dispose } = await factory()
      try {
        await run(store)
      } finally {
        await dispose()
      }
    })
  }
  describe(`ObjectStore: ${name}`, () => {
    describe('put and get', () => contentTests(check))
    describe('keys', () => keyTests(check))
    describe('list', () => listTests(check))
    describe('races', () => raceTests(check))
    describe('large objects', () => largeTests(check))
  })
}

type Check = (title: string, run: (store: ObjectStore) => Promise<void>) => void

function contentTests(check: Check): void {
  check('gives back every byte', async (store) => {
    const bytes = pattern(100_003)
    await store.put('a/object', bytes)
    expect(Buffer.compare(await store.get('a/object'), bytes)).toBe(0)
    expect(await store.head('a/object')).toEqual({ key: 'a/object', bytes: 100_003 })
  })

  check('keeps an empty object', async (store) => {
    await store.put('empty', new Uint8Array(0))
    expect((await store.get('empty')).length).toBe(0)
    expect((await store.get('empty', { start: 0, end: 0 })).length).toBe(0)
    expect(await store.head('empty')).toEqual({ key: 'empty', bytes: 0 })
    await store.put('empty-stream', streamOf([]))
    expect(await store.head('empty-stream')).toEqual({ key: 'empty-stream', bytes: 0 })
  })

  check('does not change with the bytes it was given or has given', async (store) => {
    // `slice` of a Buffer is no copy.
    for (const bytes of [utf8('original'), Buffer.from('original')]) {
      await store.put('k', bytes)
      bytes.fill(0)
      const read = await store.get('k')
      expect(Buffer.from(read).toString()).toBe('original')
      read.fill(0)
      expect(Buffer.from(await store.get('k')).toString()).toBe('original')
    }
  })

  check('reads exactly the bytes of a range', async (store) => {
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
      expect(Buffer.compare(read, bytes.subarray(start, end)), `${start}-${end}`).toBe(0)
    }
  })

  check('says that an object is too short for a range', async (store) => {
    await store.put('k', pattern(10))
    for (const [start, end] of [
      [0, 11],
      [9, 12],
      [10, 11],
      [50, 60],
      [11, 11],
    ] as const) {
      expect(await fails(store.get('k', { start, end })), `${start}-${end}`).toBe('OBJECT_CORRUPT')
    }
  })

  check('refuses a range that is none', async (store) => {
    await store.put('k', pattern(10))
    for (const [start, end] of [
      [-1, 5],
      [5, 4],
      [0.5, 2],
      [0, Number.NaN],
    ] as const) {
      expect(await fails(store.get('k', { start, end })), `${start}-${end}`).toBe('OPTION_INVALID')
    }
  })

  check('says that there is no such object', async (store) => {
    await store.put('a/b', pattern(1))
    for (const key of ['missing', 'a', 'a/c', 'a/b/c', 'x/y/z']) {
      expect(await fails(store.get(key)), key).toBe('OBJECT_NOT_FOUND')
      expect(await fails(store.get(key, { start: 0, end: 0 })), key).toBe('OBJECT_NOT_FOUND')
      expect(await fails(store.get(key, { start: 0, end: 1 })), key).toBe('OBJECT_NOT_FOUND')
      expect(await store.head(key), key).toBeNull()
    }
  })

  check('replaces an object by another, longer or shorter', async (store) => {
    for (const length of [10, 5000, 3, 0, 7]) {
      const bytes = pattern(length, length)
      await store.put('k', bytes)
      expect(Buffer.compare(await store.get('k'), bytes)).toBe(0)
    }
    expect(await keysOf(store.list(''))).toEqual(['k'])
  })

  check('deletes what it is told to and nothing else', async (store) => {
    for (const key of ['a', 'a-', 'b/c', 'b/d']) await store.put(key, utf8(key))
    await store.delete(['a', 'missing', 'b/missing', 'no/such/directory', 'b/c', 'a'])
    expect(await keysOf(store.list(''))).toEqual(['a-', 'b/d'])
    expect(await fails(store.get('a'))).toBe('OBJECT_NOT_FOUND')
    await store.delete([])
    await store.delete(['b'])
    expect(await keysOf(store.list(''))).toEqual(['a-', 'b/d'])
    await store.put('b/c', utf8('again'), { ifAbsent: true })
    expect(Buffer.from(await store.get('b/c')).toString()).toBe('again')
  })
}

const ODD_KEYS = [
  'a b',
  'a+b',
  'a%2Fb',
  'a%20b',
  'a?b=c&d',
  'a#b',
  "a'b",
  'a"b',
  'a\\b',
  'a<b>&c',
  'a*',
  '~',
  '.hidden',
  '...',
  'a.',
  'tab\there',
  'line\nbreak',
  'bell\u0007',
  'del\u007f',
  'é',
  'e\u0301',
  'ß',
  '日本/語',
  '😀/x',
  '\u{10FFFF}',
  '\uFFFD',
  '\uE000',
  'a=b/c:d@e',
  'resource=users/data/id=1',
  '[x]',
  '{y}',
  '|',
  '^',
  '`',
  '$',
  '!',
  '(z)',
  ',',
  ';',
  '-',
  '_',
  'A',
  '\u2028',
] as const

function keyTests(check: Check): void {
  check('keeps keys of any characters apart', async (store) => {
    for (const key of ODD_KEYS) await store.put(key, utf8(`<${key}>`), { ifAbsent: true })
    for (const key of ODD_KEYS) expect(Buffer.from(await store.get(key)).toString()).toBe(`<${key}>`)
    expect(await keysOf(store.list(''))).toEqual([...ODD_KEYS].sort(compareUtf8))
    await store.delete(ODD_KEYS)
    expect(await keysOf(store.list(''))).toEqual([])
  })

  check('takes long segments', async (store) => {
    const key = `${'s'.repeat(255)}/${'é'.repeat(127)}/${'t'.repeat(255)}`
    await store.put(key, utf8('x'))
    expect(await keysOf(store.list(''))).toEqual([key])
  })

  check('refuses what is no key, in every call', async (store) => {
    const long = Array.from({ length: 6 }, () => 'x'.repeat(200)).join('/')
    for (const key of ['', '/', 'a/', '/a', 'a//b', '.', '..', '../a', 'a/../b', 'a/.', 'a\0b', 'half\ud800', long]) {
      expect(await fails(store.put(key, utf8('x'))), key).toBe('KEY_INVALID')
      expect(await fails(store.get(key)), key).toBe('KEY_INVALID')
      expect(await fails(store.head(key)), key).toBe('KEY_INVALID')
      expect(await fails(store.delete(['ok', key])), key).toBe('KEY_INVALID')
    }
    expect(await keysOf(store.list(''))).toEqual([])
    for (const prefix of ['../', 'a//', './x', '/']) expect(await keysOf(store.list(prefix)), prefix).toEqual([])
  })
}

function listTests(check: Check): void {
  const keys = [
    'a-b',
    'a.b',
    'a/-',
    'a/0',
    'a/b',
    'a/b-c',
    'a/c/d',
    'a/c/e/f',
    'a/c0',
    'a0',
    'aa',
    'b',
    'z/\uE000',
    'z/\uFFFD',
    'z/😀',
    'é/x',
    '😀',
  ]
  const fill = (store: ObjectStore): Promise<unknown> =>
    Promise.all([...keys].reverse().map((key, i) => store.put(key, pattern(i))))

  check('lists by the bytes of the whole key, with sizes', async (store) => {
    await fill(store)
    const listed: ObjectInfo[] = []
    for await (const info of store.list('')) listed.push(info)
    expect(listed).toEqual(keys.map((key, i) => ({ key, bytes: keys.length - 1 - i })))
  })

  check('lists what starts with a prefix and comes after a key', async (store) => {
    await fill(store)
    const prefixes = [
      '',
      'a',
      'a/',
      'a/b',
      'a/b/',
      'a/c',
      'a/c/',
      'a/c/e',
      'a.',
      'z',
      'z/',
      '😀',
      'zz',
      'missing/',
      '.tmp',
      '.tmp/',
    ]
    const starts = [
      '',
      '!',
      'a',
      'a-b',
      'a.',
      'a/',
      'a/b',
      'a/bb',
      'a/c',
      'a/c/',
      'a/c/d',
      'a/c/e',
      'a/c/z',
      'b',
      'z/',
      'z/\uFFFD',
      '😀',
      '\u{10FFFF}',
    ]
    for (const prefix of prefixes) {
      const under = keys.filter((key) => key.startsWith(prefix))
      const after = (start: string): string[] => under.filter((key) => compareUtf8(key, start) > 0)
      const listed = await Promise.all(starts.map((startAfter) => keysOf(store.list(prefix, { startAfter }))))
      for (const [i, start] of starts.entries()) expect(listed[i], `${prefix} after ${start}`).toEqual(after(start))
      expect(await keysOf(store.list(prefix)), prefix).toEqual(under)
    }
  })

  check('lists more than a thousand keys, deletes them all', async (store) => {
    const many = Array.from({ length: 2105 }, (_, i) => `many/${i % 7}/${String(i).padStart(5, '0')}`).sort(compareUtf8)
    for (let i = 0; i < many.length; i += 50) {
      await Promise.all(many.slice(i, i + 50).map((key) => store.put(key, utf8(key))))
    }
    expect(await keysOf(store.list(''))).toEqual(many)
    expect(await keysOf(store.list('many/', { startAfter: many[999] ?? '' }))).toEqual(many.slice(1000))
    await store.delete(many.slice(0, 2100))
    expect(await keysOf(store.list(''))).toEqual(many.slice(2100))
  })

  check('lists an empty store, and stops where the reader stops', async (store) => {
    expect(await keysOf(store.list(''))).toEqual([])
    await fill(store)
    const seen: string[] = []
    for await (const { key } of store.list('')) {
      seen.push(key)
      if (seen.length === 3) break
    }
    expect(seen).toEqual(keys.slice(0, 3))
  })
}

function raceTests(check: Check): void {
  check('lets exactly one of several conditional puts win, and its bytes stand', async (store) => {
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
      expect(results.filter((result) => result === 'won').length).toBe(1)
      expect(results.filter((result) => result === 'OBJECT_EXISTS').length).toBe(7)
      const winner = bodies[results.indexOf('won')]
      expect(Buffer.from(await store.get(`race/${round}`))).toEqual(Buffer.from(winner ?? []))
    }
  })

  check('leaves what exists alone in a conditional put', async (store) => {
    await store.put('k', utf8('first'))
    expect(await fails(store.put('k', utf8('second'), { ifAbsent: true }))).toBe('OBJECT_EXISTS')
    expect(await fails(store.put('k', utf8('first'), { ifAbsent: true }))).toBe('OBJECT_EXISTS')
    expect(Buffer.from(await store.get('k')).toString()).toBe('first')
    expect(await fails(store.put('s', streamOf([utf8('x')]), { ifAbsent: true }))).toBe('OPTION_INVALID')
    expect(await store.head('s')).toBeNull()
  })

  check('shows an object whole or not at all while it is replaced', async (store) => {
    const versions = [pattern(50_000, 1), pattern(70_000, 2)].map((bytes) => ({ bytes, hash: sha256(bytes) }))
    await store.put('k', versions[0]?.bytes ?? new Uint8Array(0))
    const writer = (async () => {
      for (let i = 0; i < 20; i++) await store.put('k', versions[i % 2]?.bytes ?? new Uint8Array(0))
    })()
    const hashes = versions.map(({ hash }) => hash)
    for (let i = 0; i < 20; i++) expect(hashes).toContain(sha256(await store.get('k')))
    await writer
  })

  check('lists everything that was there before, while others put', async (store) => {
    const before = Array.from({ length: 200 }, (_, i) => `d${i % 5}/${String(i).padStart(4, '0')}`).sort(compareUtf8)
    await Promise.all(before.map((key) => store.put(key, utf8(key))))
    const during = Array.from({ length: 60 }, (_, i) => store.put(`d${i % 5}/new-${i}`, utf8('new')))
    const listed = await keysOf(store.list(''))
    await Promise.all(during)
    expect(listed.filter((key) => !key.includes('new'))).toEqual(before)
    expect(listed).toEqual([...listed].sort(compareUtf8))
  })
}

function largeTests(check: Check): void {
  check('stores a long stream byte for byte', async (store) => {
    const chunks = Array.from({ length: 45 }, (_, i) => pattern(MIB / 2 + i * 977, i))
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    expect(bytes).toBeGreaterThan(22 * MIB)
    await store.put('large/stream', streamOf(chunks))
    expect(await store.head('large/stream')).toEqual({ key: 'large/stream', bytes })
    expect(sha256(await store.get('large/stream'))).toBe(hashOf(chunks))
    const tail = await store.get('large/stream', { start: bytes - 977, end: bytes })
    expect(Buffer.compare(tail, Buffer.concat(chunks).subarray(-977))).toBe(0)
  })

  check('stores large bytes and short streams byte for byte', async (store) => {
    for (const length of [8 * MIB, 16 * MIB, 16 * MIB + 1]) {
      const bytes = pattern(length, length)
      await store.put('k', bytes)
      expect(sha256(await store.get('k')), `${length}`).toBe(sha256(bytes))
      await store.put('k', streamOf([bytes.subarray(0, 5), bytes.subarray(5)]))
      expect(sha256(await store.get('k')), `${length} streamed`).toBe(sha256(bytes))
    }
    await store.put('absent', pattern(17 * MIB), { ifAbsent: true })
    expect(await fails(store.put('absent', pattern(17 * MIB, 1), { ifAbsent: true }))).toBe('OBJECT_EXISTS')
    expect(sha256(await store.get('absent'))).toBe(sha256(pattern(17 * MIB)))
  })

  check('stores nothing of a stream that breaks', async (store) => {
    for (const good of [1, 40]) {
      const chunks = Array.from({ length: good }, (_, i) => pattern(MIB, i))
      const failed = store.put('broken', streamOf(chunks, new Error('the source broke')))
      await expect(failed).rejects.toThrow('the source broke')
      expect(await store.head('broken')).toBeNull()
      expect(await keysOf(store.list(''))).toEqual([])
    }
  })
}
