import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { lastUlidAt, lastWholeMs } from '../../src/model/ulid.ts'
import { ModelDatabase } from '../support/model-database.ts'

let directory = ''
let tidemark: Tidemark
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'restore-directory-'))
  const database = new ModelDatabase()
  const image = (value: object) => ({ json: Buffer.from(JSON.stringify(value)), raw: null })
  for (const resource of ['users', 'orders']) {
    await database.write({ kind: 'schema', resource, id: '' }, image({ attributes: {} }))
    for (const id of ['1', '2']) await database.write({ kind: 'record', resource, id }, image({ id }))
  }
  tidemark = await Tidemark.capture({ store: `file:${directory}/store`, source: database, ack: 'memory' })
})
afterEach(async () => {
  await tidemark.close()
  await rm(directory, { recursive: true, force: true })
})

test('a directory with anything but a restored state is never replaced', async () => {
  const target = join(directory, 'target')
  await tidemark.restoreAt('latest', { target })
  await writeFile(join(target, 'precious.txt'), 'mine')
  for (const options of [{ overwrite: true }, { dryRun: true }, {}]) {
    await expect(tidemark.restoreAt('latest', { target, ...options })).rejects.toMatchObject({
      code: 'TARGET_INVALID',
      details: { file: 'precious.txt' },
    })
  }
  expect(await readFile(join(target, 'precious.txt'), 'utf8')).toBe('mine')
  await rm(join(target, 's3db.json'))
  await expect(tidemark.restoreAt('latest', { target, overwrite: true })).rejects.toMatchObject({
    code: 'TARGET_INVALID',
  })
  // The store itself, of all things.
  await expect(
    tidemark.restoreAt('latest', { target: join(directory, 'store'), overwrite: true }),
  ).rejects.toMatchObject({ code: 'TARGET_INVALID' })
  expect((await tidemark.verify()).damage).toEqual([])
})

test('what a partial restore takes from a directory is seen as removed', async () => {
  const target = join(directory, 'target')
  await tidemark.restoreAt('latest', { target })
  const selection = { target, resources: ['users'], ids: ['1'] }
  await expect(tidemark.restoreAt('latest', { target, resources: ['none'] })).rejects.toMatchObject({
    code: 'RESOURCE_NOT_FOUND',
  })
  await expect(tidemark.restoreAt('latest', selection)).rejects.toMatchObject({ code: 'TARGET_NOT_EMPTY' })
  const { preview } = await tidemark.restoreAt('latest', { ...selection, dryRun: true })
  expect(preview.resources.get('orders')).toMatchObject({ removed: 3 })
  expect(preview.resources.get('users')).toMatchObject({ removed: 1 })
  await tidemark.restoreAt('latest', { ...selection, overwrite: true })
  expect((await readdir(target)).sort()).toEqual(['s3db.json', 'users.jsonl.gz'])
})

test('the moments that a status names can be reached', async () => {
  await tidemark.flush()
  const { reachable } = await tidemark.status()
  for (const moment of [reachable.earliest, reachable.latest]) {
    expect(await tidemark.at(moment ?? '').count('users')).toBe(2)
  }
  expect(lastWholeMs(lastUlidAt(1000))).toBe(1000)
  expect(lastWholeMs(`${lastUlidAt(1000).slice(0, -1)}Y`)).toBe(999)
})

test('a restore that fails on its way leaves nothing beside the target', async () => {
  await tidemark.flush()
  const store = join(directory, 'store')
  const [snapshot = ''] = await readdir(join(store, 'snapshot'))
  const file = join(store, 'snapshot', snapshot, 'users.jsonl.gz')
  const bytes = await readFile(file)
  bytes[20] = (bytes[20] ?? 0) ^ 0xff
  await writeFile(file, bytes)
  const target = join(directory, 'target')
  await expect(tidemark.restoreAt('latest', { target })).rejects.toMatchObject({ code: 'SNAPSHOT_CORRUPT' })
  expect((await readdir(directory)).sort()).toEqual(['store'])
})

test('a target is closed once, whatever becomes of the restore', async () => {
  let closed = 0
  const target = {
    name: 'test',
    takes: 'differences' as const,
    scan: async function* () {},
    write: async () => {},
    finish: async () => {},
    close: async () => {
      closed++
    },
  }
  await tidemark.restoreAt('latest', { target })
  await tidemark.restoreAt('latest', { target, dryRun: true })
  await tidemark.restoreAt('1999-01-01T00:00:00Z', { target }).catch(() => undefined)
  expect(closed).toBe(3)
})
