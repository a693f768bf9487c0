import { expect, test } from 'vitest'
import type { Body, ObjectInfo, ObjectStore } from '../../src/index.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { objectStoreContract } from '../../src/testing.ts'
import { failing } from '../support/contract.ts'

/** A store whose calls are those of one in memory, but for these. */
function storeWith(calls: (inner: MemoryStore) => Partial<ObjectStore>): ObjectStore {
  const inner = new MemoryStore()
  return {
    put: (key, body, options) => inner.put(key, body, options),
    get: (key, range) => inner.get(key, range),
    head: (key) => inner.head(key),
    list: (prefix, options) => inner.list(prefix, options),
    delete: (keys) => inner.delete(keys),
    ...calls(inner),
  }
}

async function collected(listing: AsyncIterable<ObjectInfo>): Promise<ObjectInfo[]> {
  const found: ObjectInfo[] = []
  for await (const info of listing) found.push(info)
  return found
}

/** A listing that is made otherwise. */
function listing(change: (found: ObjectInfo[]) => ObjectInfo[]): (inner: MemoryStore) => Partial<ObjectStore> {
  return (inner) => ({
    list: async function* (prefix, options) {
      yield* change(await collected(inner.list(prefix, options)))
    },
  })
}

const BAD_STORES: readonly (readonly [string, (inner: MemoryStore) => Partial<ObjectStore>, string])[] = [
  [
    'whose conditional put replaces',
    (inner) => ({ put: (key, body) => inner.put(key, body) }),
    'leaves what exists alone in a conditional put',
  ],
  [
    'that looks first, and puts then',
    (inner) => ({
      put: async (key, body, options) => {
        if (options?.ifAbsent !== true) return inner.put(key, body)
        if ((await inner.head(key)) !== null || !(body instanceof Uint8Array)) return inner.put(key, body, options)
        await new Promise((resolve) => setImmediate(resolve))
        return inner.put(key, body)
      },
    }),
    'exactly one of several',
  ],
  [
    'that keeps what came of a stream that broke',
    (inner) => ({
      put: async (key, body, options) => {
        if (body instanceof Uint8Array) return inner.put(key, body, options)
        const chunks: Uint8Array[] = []
        try {
          for await (const chunk of body) chunks.push(chunk)
        } finally {
          await inner.put(key, Buffer.concat(chunks))
        }
      },
    }),
    'nothing of a stream that breaks',
  ],
  [
    'that cuts a stream short',
    (inner) => ({ put: (key, body, options) => inner.put(key, firstOf(body), options) }),
    'a long stream',
  ],
  ['that gives the whole for a range', (inner) => ({ get: (key) => inner.get(key) }), 'exactly the bytes of a range'],
  [
    'that gives less than a range asks for',
    (inner) => ({
      get: async (key, range) => {
        const bytes = await inner.get(key)
        return range === undefined ? bytes : bytes.slice(range.start, range.end)
      },
    }),
    'too short for a range',
  ],
  [
    'that gives out its own bytes',
    () => {
      const held = new Map<string, Uint8Array>()
      return {
        put: async (key, body) => void (body instanceof Uint8Array && held.set(key, body)),
        get: async (key) => held.get(key) ?? new Uint8Array(),
      }
    },
    'does not change with the bytes',
  ],
  [
    'that throws what its library throws',
    (inner) => ({
      get: (key, range) => inner.get(key, range).catch(() => Promise.reject(new Error('404 BlobNotFound'))),
    }),
    'there is no such object',
  ],
  [
    'that has an object for every prefix',
    (inner) => ({
      head: async (key) => {
        const [first] = await collected(inner.list(key))
        return first === undefined ? inner.head(key) : { ...first, key }
      },
    }),
    'there is no such object',
  ],
  [
    'that fails to delete what is not there',
    (inner) => ({
      delete: async (keys) => {
        for (const key of keys) await inner.get(key)
        await inner.delete(keys)
      },
    }),
    'deletes what it is told to',
  ],
  [
    'that deletes what begins with a key too',
    (inner) => ({
      delete: async (keys) => {
        for (const key of keys) await inner.delete((await collected(inner.list(key))).map((info) => info.key))
      },
    }),
    'deletes what it is told to',
  ],
  [
    'that lists by UTF-16',
    listing((found) => found.sort((a, b) => (a.key < b.key ? -1 : 1))),
    'keys of any characters apart',
  ],
  ['that lists a page', listing((found) => found.slice(0, 1000)), 'more than a thousand'],
  ['that lists from a key on', (inner) => ({ list: (prefix) => inner.list(prefix) }), 'comes after a key'],
  ['that says nothing of sizes', listing((found) => found.map(({ key }) => ({ key, bytes: 0 }))), 'with sizes'],
  [
    'that takes any key',
    (inner) => ({
      head: async (key) => inner.head(key).catch(() => null),
    }),
    'refuses what is no key',
  ],
]

test.each(BAD_STORES)('the suite for stores finds one %s', async (_, calls, name) => {
  const cases = objectStoreContract(async () => ({ store: storeWith(calls), dispose: async () => {} }))
  expect(await failing(cases.filter((one) => one.name.includes(name)))).toHaveLength(1)
})

/** Of a stream, the first eight chunks. */
function firstOf(body: Body): Body {
  if (body instanceof Uint8Array) return body
  return (async function* () {
    let n = 0
    for await (const chunk of body) if (n++ < 8) yield chunk
  })()
}
