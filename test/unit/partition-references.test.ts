import fc from 'fast-check'
import { afterEach, expect, test } from 'vitest'
import { compareUtf8 } from '../../src/base/bytes.ts'
import { type Group, groupedBy, type NamedValue } from '../../src/engine/groups.ts'
import { createS3dbTarget } from '../../src/s3db/target.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { s3ForTests } from '../support/s3.ts'
import { connectedOnS3 } from '../support/s3db-on-s3.ts'
import { CountingStore } from '../support/stores.ts'

const server = s3ForTests()
const closing: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

async function all(batches: AsyncIterable<readonly Group[]>): Promise<Group[]> {
  const whole: Group[] = []
  for await (const batch of batches) whole.push(...batch)
  return whole
}

async function* inBatches<T>(values: readonly T[], size: number): AsyncGenerator<readonly T[]> {
  for (let at = 0; at < values.length; at += size) yield values.slice(at, at + size)
}

const id = fc.stringMatching(/^[a-zé𝒳=:%]{0,4}$/u)

test('pairs are grouped by name and joined with names, in memory or over scratch space', async () => {
  const made = fc.uniqueArray(fc.tuple(id, fc.constantFrom('a', 'b', 'c')), { selector: (pair) => pair.join('/') })
  await fc.assert(
    fc.asyncProperty(made, fc.uniqueArray(id), fc.constantFrom(1, 300, 1_000_000), async (pairs, names, characters) => {
      const store = new MemoryStore()
      const sorted = names.toSorted(compareUtf8)
      const found = await all(
        groupedBy(inBatches(sorted, 3), inBatches(pairs, 7), { scratch: () => store, characters }),
      )
      const wanted = Map.groupBy(pairs, ([name]) => name)
      const every = [...new Set([...wanted.keys(), ...names])].sort(compareUtf8)
      expect(found).toEqual(every.map((name) => [name, (wanted.get(name) ?? []).map(([, value]) => value).sort()]))
      for await (const { key } of store.list('')) expect(key).toBe('nothing')
    }),
    { numRuns: 100 },
  )
})

test('the references of a large resource are not gathered whole', async () => {
  const pairs = Array.from(
    { length: 20_000 },
    (_, i): NamedValue => [`record-${i}`, `resource=r/partition=p/f=${i % 7}`],
  )
  const counting = new CountingStore(new MemoryStore())
  const sorting = { scratch: () => counting, characters: 100_000 }
  const found = await all(groupedBy(inBatches<string>([], 1), inBatches(pairs, 100), sorting))
  expect(found).toHaveLength(pairs.length)
  // Each part is about what may be in memory; everything went through them.
  expect(counting.calls.put).toBeGreaterThan(20)
  expect(counting.bytesWritten).toBeGreaterThan(pairs.flat().join('').length)
})

test.skipIf(server === null)('the references of a database on S3 are read page by page', async () => {
  const db = await connectedOnS3(server)
  closing.push(() => db.disconnect())
  const partitions = { byAge: { fields: { age: 'number' } } }
  const attributes = { age: 'number|required' }
  const users = await db.createResource({ name: 'users', attributes, partitions, asyncPartitions: false })
  for (let i = 0; i < 5; i++) await users.insert({ id: `u${i}`, age: i % 2 })
  const right = await keysUnder(db.client, 'resource=users/partition=')
  await db.client.deleteObject(right[0] ?? '')
  await db.client.putObject({ key: 'resource=users/partition=byAge/age=7/id=u1', metadata: {}, body: '' })
  await db.client.putObject({ key: 'resource=users/partition=byAge/age=7/id=gone', metadata: {}, body: '' })

  Reflect.set(db.client, 'getAllKeys', () => Promise.reject(new Error('the whole listing was asked for')))
  await createS3dbTarget(db).finish({ resources: ['users'], ids: ['gone', 'u3'] })
  Reflect.deleteProperty(db.client, 'getAllKeys')
  const half = await keysUnder(db.client, 'resource=users/partition=')
  expect(half).not.toEqual(right)
  expect(half.some((key) => key.endsWith('/id=gone'))).toBe(false)
  Reflect.set(db.client, 'getAllKeys', () => Promise.reject(new Error('the whole listing was asked for')))
  await createS3dbTarget(db).finish({ resources: ['users'] })
  Reflect.deleteProperty(db.client, 'getAllKeys')
  expect(await keysUnder(db.client, 'resource=users/partition=')).toEqual(right)
})

async function keysUnder(
  client: { getAllKeys(params: { prefix: string }): Promise<readonly string[]> },
  prefix: string,
): Promise<string[]> {
  return [...(await client.getAllKeys({ prefix }))].sort()
}
