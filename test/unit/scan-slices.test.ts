import { S3db } from 's3db.js/lite'
import { expect, test } from 'vitest'
import { type Image, type Item, imageBytes } from '../../src/model/event.ts'
import { createS3dbTarget } from '../../src/s3db/target.ts'
import { liveStates } from '../../src/upkeep/live.ts'

const MIB = 1024 * 1024

/** The bytes of each batch of states, and how many are in it. */
async function batchesOf(
  scan: AsyncIterable<readonly { readonly image: Image }[]>,
): Promise<{ most: number; length: number; states: number }> {
  const found = { most: 0, length: 0, states: 0 }
  for await (const batch of scan) {
    found.most = Math.max(
      found.most,
      batch.reduce((sum, { image }) => sum + imageBytes(image), 0),
    )
    found.length = Math.max(found.length, batch.length)
    found.states += batch.length
  }
  return found
}

test('a database of large records is not compared a thousand of them at a time', async () => {
  const db = new S3db({ connectionString: 'memory://scan-slices/db', logLevel: 'silent' })
  await db.connect()
  const docs = await db.createResource({ name: 'docs', attributes: { text: 'string' }, behavior: 'body-overflow' })
  for (let i = 0; i < 40; i++) await docs.insert({ id: `d${i}`, text: 'x'.repeat(MIB) })
  const small = await db.createResource({ name: 'small', attributes: { text: 'string' } })
  for (let i = 0; i < 400; i++) await small.insert({ id: `s${i}`, text: 'y' })
  const target = createS3dbTarget(db)
  const large = await batchesOf(target.scan({ resources: ['docs'] }))
  expect(large.states).toBe(41)
  expect(large.most).toBeLessThan(20 * MIB)
  // Small ones are read many at a time.
  const many = await batchesOf(target.scan({ resources: ['small'] }))
  expect([many.states, many.length > 200]).toEqual([401, true])
  await target.close()
  await db.disconnect()
})

test('a baseline of huge records reads one of them at a time', async () => {
  const items = Array.from({ length: 12 }, (_, i): Item => ({ kind: 'record', resource: 'r', id: `r${i + 10}` }))
  const image = { json: Buffer.from('{}'), raw: null, bytes: 50 * MIB }
  let [reading, most] = [0, 0]
  const read = async (): Promise<Image> => {
    most = Math.max(most, ++reading)
    await new Promise((resolve) => setImmediate(resolve))
    reading--
    return image
  }
  const source = {
    identity: 'test',
    volatile: true,
    async *items() {
      yield items
    },
    read,
    attach: () => () => {},
  }
  expect((await batchesOf(liveStates(source, read))).states).toBe(12)
  expect(most).toBe(1)
})
