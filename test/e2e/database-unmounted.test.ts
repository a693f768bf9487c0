import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { S3db } from 's3db.js/lite'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'

const home = mkdtempSync(join(tmpdir(), 'unmounted-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

let count = 0
let path = ''
let db: S3db
let tidemark: TidemarkPlugin
beforeEach(async () => {
  path = join(home, `${++count}`)
  db = new S3db({ connectionString: `file://${path}/db`, logLevel: 'silent' })
  await db.connect()
  tidemark = new TidemarkPlugin({ store: `file:${path}/store`, journal: join(path, 'journal') })
  await db.usePlugin(tidemark)
  const notes = await db.createResource({ name: 'notes', attributes: { id: 'string|optional', n: 'number' } })
  await notes.insert({ id: 'a', n: 1 })
  await tidemark.flush()
})

describe('a baseline of a database in which nothing at all is found', () => {
  it.each<[string, () => void]>([
    ['gone', () => {}],
    ['an empty mount point', () => mkdirSync(`${path}/db`)],
  ])('is not taken where its directory is %s: the history keeps what there was', async (_, leave) => {
    renameSync(`${path}/db`, `${path}/disk`)
    leave()
    await expect(tidemark.baseline()).rejects.toMatchObject({ code: 'SOURCE_NOT_CONNECTED' })
    expect(await tidemark.at('latest').get('notes', 'a')).toMatchObject({ n: 1 })
    rmSync(`${path}/db`, { recursive: true, force: true })
    renameSync(`${path}/disk`, `${path}/db`)
    expect(await tidemark.baseline()).toMatchObject({ records: 1 })
    await db.disconnect()
  })

  it('is taken where the history says that it was emptied', async () => {
    await Object.assign(db.client).deleteAll({ prefix: '' })
    expect(await tidemark.baseline()).toMatchObject({ records: 0 })
    await db.disconnect()
  })

  it('is taken once it was found to be emptied', async () => {
    rmSync(`${path}/db`, { recursive: true })
    await expect(tidemark.baseline()).rejects.toMatchObject({ code: 'SOURCE_NOT_CONNECTED' })
    await tidemark.reconcile({ record: true })
    expect(await tidemark.baseline()).toMatchObject({ records: 0 })
    await db.disconnect()
  })
})
