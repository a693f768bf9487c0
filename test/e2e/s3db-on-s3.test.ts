import { expect, test } from 'vitest'
import { s3ForTests } from '../support/s3.ts'
import { s3dbOnS3 } from '../support/s3db-on-s3.ts'

const server = s3ForTests()

test.skipIf(server === null)('s3db.js keeps, changes, lists and deletes records on the S3 server', async () => {
  if (server === null) throw new Error('no S3 server')
  const { open } = await s3dbOnS3(server)
  const attributes = { name: 'string|required', age: 'number|optional' }
  const partitions = { byAge: { fields: { age: 'number' } } }

  const db = open()
  await db.connect()
  const users = await db.createResource({
    name: 'users',
    attributes,
    partitions,
    timestamps: true,
    asyncPartitions: false,
  })
  await users.insert({ id: 'u1', name: 'Ada Ωé日本', age: 3 })
  await users.insertMany([
    { id: 'u2', name: 'Bob' },
    { id: 'u3', name: 'Cy', age: 5 },
  ])
  await users.update('u1', { age: 4 })
  await users.patch('u1', { age: 6 })
  await users.replace('u3', { name: 'Cyd', age: 6 })
  await users.setContent({ id: 'u1', buffer: Buffer.from([0, 255, 1]), contentType: 'application/x-test' })
  await users.delete('u2')
  await expect(users.insert({ id: 'u1', name: 'twice' })).rejects.toThrow()
  await db.disconnect()

  const again = open()
  await again.connect()
  const found = again.resources.users
  if (found === undefined) throw new Error('the resource is gone')
  expect(await found.get('u1')).toMatchObject({ id: 'u1', name: 'Ada Ωé日本', age: 6, _v: 'v1', _hasContent: true })
  expect(await found.listIds()).toEqual(['u1', 'u3'])
  expect((await found.list()).map(({ id, name, age }) => ({ id, name, age }))).toEqual([
    { id: 'u1', name: 'Ada Ωé日本', age: 6 },
    { id: 'u3', name: 'Cyd', age: 6 },
  ])
  const content = await found.content('u1')
  expect([...(content?.buffer ?? [])]).toEqual([0, 255, 1])
  expect(content?.contentType).toBe('application/x-test')
  const aged = await found.list({ partition: 'byAge', partitionValues: { age: 6 } })
  expect(aged.map(({ id }) => id).sort()).toEqual(['u1', 'u3'])
  await again.disconnect()
})
