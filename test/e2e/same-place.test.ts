import { mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { S3db } from 's3db.js/lite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { tidemarkHere as cli } from '../support/in-process.ts'

const home = mkdtempSync(join(tmpdir(), 'place-'))
const store = `file:${home}/store`
let db: S3db
let tidemark: TidemarkPlugin
let before: number

beforeAll(async () => {
  db = new S3db({ connectionString: `file://${home}/db`, logLevel: 'silent' })
  await db.connect()
  tidemark = new TidemarkPlugin({ store, journal: join(home, 'journal') })
  await db.usePlugin(tidemark)
  const notes = await db.createResource({ name: 'notes', attributes: { id: 'string|optional', n: 'number' } })
  await notes.insert({ id: 'a', n: 1 })
  await tidemark.flush()
  await new Promise((resolve) => setTimeout(resolve, 5))
  before = Date.now()
  await new Promise((resolve) => setTimeout(resolve, 5))
  await notes.update('a', { n: 2 })
  await tidemark.flush()
  symlinkSync(join(home, 'db'), join(home, 'link'))
})
afterAll(async () => {
  await db.disconnect()
  rmSync(home, { recursive: true, force: true })
})

describe('the captured database by another name', () => {
  const names = (): [string, string][] => [
    ['its connection string', `file://${home}/db`],
    ['a link to it', `file://${home}/link`],
  ]

  it('is restored in place, by a connection string or through a link', async () => {
    for (const [name, target] of names()) {
      await expect(tidemark.restoreAt(before, { target }), name).rejects.toMatchObject({ code: 'CONFIRMATION_NEEDED' })
      const result = await tidemark.restoreAt(before, { target, overwrite: true })
      expect(result.before, name).toMatch(/^before:/)
      expect(await db.resources.notes?.get('a'), name).toMatchObject({ n: 1 })
      await tidemark.restoreAt(result.before ?? '', { target, overwrite: true })
      expect(await db.resources.notes?.get('a'), name).toMatchObject({ n: 2 })
    }
    expect(await tidemark.reconcile()).toMatchObject({ added: 0, changed: 0, removed: 0 })
  })

  it('is restored in place through another instance', async () => {
    const other = new S3db({ connectionString: `file://${home}/db`, logLevel: 'silent' })
    await other.connect()
    const result = await tidemark.restoreAt(before, { target: other, overwrite: true })
    expect(result.before).toMatch(/^before:/)
    await tidemark.restoreAt(result.before ?? '', { target: 'live', overwrite: true })
    await other.disconnect()
    expect(await tidemark.reconcile()).toMatchObject({ added: 0, changed: 0, removed: 0 })
  })

  it('is known to the command line through a link', async () => {
    const target = `file://${home}/link`
    const { code, out } = await cli(home, [
      'restore',
      '--store',
      store,
      '--to',
      `${before}`,
      '--target',
      target,
      '--yes',
    ])
    expect(code).toBe(0)
    expect(out).toContain('To take it back')
    expect(await tidemark.reconcile()).toMatchObject({ added: 0, changed: 0, removed: 0 })
  })
})

describe('a place within the store', () => {
  it('is refused as a target, and nothing is written there', async () => {
    for (const target of [`${home}/store/out`, `file:${home}/store`, `file://${home}/store/db`]) {
      const restore = tidemark.restoreAt(before, { target, overwrite: true })
      await expect(restore, target).rejects.toMatchObject({ code: 'TARGET_INVALID' })
    }
    expect(readdirSync(join(home, 'store'))).not.toContain('out')
    expect(readdirSync(join(home, 'store'))).not.toContain('db')
  })
})
