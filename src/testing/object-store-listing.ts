import assert from 'node:assert/strict'
import { compareUtf8, utf8 } from '../base/bytes.ts'
import type { ObjectInfo, ObjectStore } from '../store/object-store.ts'
import type { Checks } from './contract-case.ts'
import { fails, keysOf, pattern } from './objects.ts'

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

/** Of keys. */
export const keyChecks: Checks<ObjectStore> = {
  'keeps keys of any characters apart': async (store) => {
    for (const key of ODD_KEYS) await store.put(key, utf8(`<${key}>`), { ifAbsent: true })
    for (const key of ODD_KEYS) assert.equal(Buffer.from(await store.get(key)).toString(), `<${key}>`)
    assert.deepEqual(await keysOf(store.list('')), [...ODD_KEYS].sort(compareUtf8))
    await store.delete(ODD_KEYS)
    assert.deepEqual(await keysOf(store.list('')), [])
  },

  'takes long segments': async (store) => {
    const key = `${'s'.repeat(255)}/${'é'.repeat(127)}/${'t'.repeat(255)}`
    await store.put(key, utf8('x'))
    assert.deepEqual(await keysOf(store.list('')), [key])
  },

  'refuses what is no key, in every call': async (store) => {
    const long = Array.from({ length: 6 }, () => 'x'.repeat(200)).join('/')
    for (const key of ['', '/', 'a/', '/a', 'a//b', '.', '..', '../a', 'a/../b', 'a/.', 'a\0b', 'half\ud800', long]) {
      assert.equal(await fails(store.put(key, utf8('x'))), 'KEY_INVALID', key)
      assert.equal(await fails(store.get(key)), 'KEY_INVALID', key)
      assert.equal(await fails(store.head(key)), 'KEY_INVALID', key)
      assert.equal(await fails(store.delete(['ok', key])), 'KEY_INVALID', key)
    }
    assert.deepEqual(await keysOf(store.list('')), [])
    for (const prefix of ['../', 'a//', './x', '/']) assert.deepEqual(await keysOf(store.list(prefix)), [], prefix)
  },
}

const LISTED = [
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
  Promise.all([...LISTED].reverse().map((key, i) => store.put(key, pattern(i))))

/** Of listings. */
export const listChecks: Checks<ObjectStore> = {
  'lists by the bytes of the whole key, with sizes': async (store) => {
    await fill(store)
    const listed: ObjectInfo[] = []
    for await (const info of store.list('')) listed.push(info)
    assert.deepEqual(
      listed,
      LISTED.map((key, i) => ({ key, bytes: LISTED.length - 1 - i })),
    )
  },

  'lists what starts with a prefix and comes after a key': async (store) => {
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
      const under = LISTED.filter((key) => key.startsWith(prefix))
      const after = (start: string): string[] => under.filter((key) => compareUtf8(key, start) > 0)
      const listed = await Promise.all(starts.map((startAfter) => keysOf(store.list(prefix, { startAfter }))))
      for (const [i, start] of starts.entries()) assert.deepEqual(listed[i], after(start), `${prefix} after ${start}`)
      assert.deepEqual(await keysOf(store.list(prefix)), under, prefix)
    }
  },

  'lists more than a thousand keys, and deletes them all': async (store) => {
    const many = Array.from({ length: 2105 }, (_, i) => `many/${i % 7}/${String(i).padStart(5, '0')}`).sort(compareUtf8)
    for (let i = 0; i < many.length; i += 50) {
      await Promise.all(many.slice(i, i + 50).map((key) => store.put(key, utf8(key))))
    }
    assert.deepEqual(await keysOf(store.list('')), many)
    assert.deepEqual(await keysOf(store.list('many/', { startAfter: many[999] ?? '' })), many.slice(1000))
    await store.delete(many.slice(0, 2100))
    assert.deepEqual(await keysOf(store.list('')), many.slice(2100))
  },

  'lists an empty store, and stops where the reader stops': async (store) => {
    assert.deepEqual(await keysOf(store.list('')), [])
    await fill(store)
    const seen: string[] = []
    for await (const { key } of store.list('')) {
      seen.push(key)
      if (seen.length === 3) break
    }
    assert.deepEqual(seen, LISTED.slice(0, 3))
  },
}
