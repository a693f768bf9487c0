import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CachePlugin, S3db } from 's3db.js'
import { afterAll, describe, expect, it } from 'vitest'
import { Tidemark } from '../../src/index.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { essential, openDatabase, PASSPHRASE, settled } from '../support/s3db.ts'
import { describeBytes } from '../support/storage-log.ts'
import { Workload } from '../support/workload.ts'

const directory = mkdtempSync(join(tmpdir(), 'plugin-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))
let count = 0

function place(): { options: { store: string; journal: string }; connectionString: string; home: string } {
  const home = join(directory, String(++count))
  return {
    home,
    options: { store: `file:${home}/store`, journal: `${home}/journal` },
    connectionString: `memory://plugin-${process.pid}-${count}/app`,
  }
}

const attributes = { id: 'string|optional', n: 'number' }

async function inStore(store: string, resource: string, id: string): Promise<unknown> {
  const reader = await Tidemark.open({ store })
  try {
    return await reader.at('latest').get(resource, id)
  } finally {
    await reader.close()
  }
}

describe('a plugin', () => {
  it('given to the constructor captures from connect on, resources that existed before included', async () => {
    const { options, connectionString } = place()
    const first = new S3db({ connectionString, logLevel: 'silent' })
    await first.connect()
    await (await first.createResource({ name: 'notes', attributes })).insert({ id: 'old', n: 1 })
    await first.disconnect()
    const db = new S3db({ connectionString, logLevel: 'silent', plugins: [new TidemarkPlugin(options)] })
    await db.connect()
    const notes = await db.getResource('notes')
    await notes.insert({ id: 'new', n: 2 })
    await notes.delete('old')
    await db.disconnect()
    expect(await inStore(options.store, 'notes', 'new')).toEqual({ id: 'new', n: 2 })
    expect(await inStore(options.store, 'notes', 'old')).toBe(null)
  })

  it('given to usePlugin before connect is refused, and works afterwards', async () => {
    const { options, connectionString } = place()
    const db = new S3db({ connectionString, logLevel: 'silent' })
    const tidemark = new TidemarkPlugin(options)
    await expect(db.usePlugin(tidemark)).rejects.toMatchObject({ code: 'SOURCE_NOT_CONNECTED' })
    await db.connect()
    await db.usePlugin(tidemark)
    await (await db.createResource({ name: 'notes', attributes })).insert({ id: 'a', n: 1 })
    expect(await tidemark.at('latest').get('notes', 'a')).toEqual({ id: 'a', n: 1 })
    await db.disconnect()
  })

  it('seals everything on disconnect, and captures again after the next connect', async () => {
    const { options, connectionString } = place()
    const db = new S3db({ connectionString, logLevel: 'silent' })
    await db.connect()
    const tidemark = new TidemarkPlugin({ ...options, seal: { ageMs: 3_600_000 } })
    await db.usePlugin(tidemark)
    await (await db.createResource({ name: 'notes', attributes })).insert({ id: 'a', n: 1 })
    for (let n = 2; n < 5; n++) {
      await db.disconnect()
      expect(await inStore(options.store, 'notes', 'a')).toEqual({ id: 'a', n: n - 1 })
      await db.connect()
      await (await db.getResource('notes')).update('a', { n })
      expect(await tidemark.at('latest').get('notes', 'a')).toMatchObject({ n })
    }
    await db.disconnect()
    const reader = await Tidemark.open({ store: options.store })
    const operations = []
    for await (const { operation, stamp } of reader.history('notes', 'a')) operations.push([operation, stamp.stream])
    expect(operations.map(([operation]) => operation)).toEqual(['insert', 'update', 'update', 'update'])
    expect(new Set(operations.map(([, stream]) => stream)).size).toBe(1) // one stream, taken up again
    expect((await reader.verify()).damage).toEqual([])
    await reader.close()
  })

  it('says who wrote, in which transaction, and what was noted', async () => {
    const { options, connectionString } = place()
    const db = new S3db({ connectionString, logLevel: 'silent' })
    await db.connect()
    const tidemark = new TidemarkPlugin(options)
    await db.usePlugin(tidemark)
    const notes = await db.createResource({ name: 'notes', attributes })
    await tidemark.as({ actor: 'ann', tx: 't1', meta: { ticket: 7 } }, async () => {
      await notes.insert({ id: 'a', n: 1 })
      await tidemark.as({ actor: 'bob' }, () => notes.update('a', { n: 2 }))
    })
    await notes.update('a', { n: 3 })
    const contexts = []
    for await (const { context } of tidemark.history('notes', 'a')) contexts.push(context)
    expect(contexts).toEqual([
      { actor: 'ann', transaction: 't1', metadata: '{"ticket":7}' },
      { actor: 'bob', transaction: 't1', metadata: '{"ticket":7}' },
      { actor: null, transaction: null, metadata: null },
    ])
    await db.disconnect()
  })

  it('restores past a cache: what is read afterwards is not what the cache held', async () => {
    const { options, connectionString } = place()
    const db = new S3db({ connectionString, logLevel: 'silent' })
    await db.connect()
    const tidemark = new TidemarkPlugin(options)
    await db.usePlugin(tidemark)
    const notes = await db.createResource({
      name: 'notes',
      attributes,
      partitions: { byN: { fields: { n: 'number' } } },
    })
    // The types of s3db.js do not take its own plugins under exactOptionalPropertyTypes.
    await Reflect.apply(db.usePlugin, db, [new CachePlugin({ driver: 'memory', logLevel: 'silent' })])
    await notes.insert({ id: 'a', n: 1 })
    await tidemark.flush()
    const moment = new Date()
    await new Promise((resolve) => setTimeout(resolve, 5))
    await notes.update('a', { n: 2 })
    expect((await notes.get('a')).n).toBe(2) // now it is in the cache
    expect((await notes.list()).map(({ n }) => n)).toEqual([2])
    await tidemark.restoreAt(moment, { target: 'live', overwrite: true })
    expect((await notes.get('a')).n).toBe(1)
    expect((await notes.list()).map(({ n }) => n)).toEqual([1])
    const found = await notes.getFromPartition({ id: 'a', partitionName: 'byN', partitionValues: { n: 1 } })
    expect(found.n).toBe(1)
    await db.disconnect()
  })

  it('that is uninstalled captures no more', async () => {
    const { options, connectionString } = place()
    const db = new S3db({ connectionString, logLevel: 'silent' })
    await db.connect()
    await db.usePlugin(new TidemarkPlugin(options))
    const notes = await db.createResource({ name: 'notes', attributes })
    await notes.insert({ id: 'a', n: 1 })
    await db.uninstallPlugin('tidemark')
    await notes.insert({ id: 'b', n: 2 })
    expect(await inStore(options.store, 'notes', 'a')).toEqual({ id: 'a', n: 1 })
    expect(await inStore(options.store, 'notes', 'b')).toBe(null)
    await db.disconnect()
  })
})

describe.each(['memory', 'file'])('a restore on %s://', (kind) => {
  it('into the live database gives every byte back, and can itself be undone', async () => {
    const { options, connectionString, home } = place()
    const { db, stored } = await openDatabase(kind === 'memory' ? connectionString : `file://${home}-db`)
    const tidemark = new TidemarkPlugin(options)
    await db.usePlugin(tidemark)
    await tidemark.reachable('latest') // waits for the first baseline, behind which the moments are
    const bytes = async (): Promise<[string, string][]> => {
      await settled()
      return [...essential(await stored())]
        .filter(([key]) => key !== 's3db.json')
        .map(([key, value]): [string, string] => [key, describeBytes(value)])
    }
    const workload = new Workload(db, { seed: 5 })
    await workload.prepare()
    const secrets = await db.createResource({
      name: 'secrets',
      attributes: { id: 'string|optional', pin: 'secret', hash: 'password' },
      behavior: 'body-only',
    })
    await secrets.insert({ id: 's1', pin: '1234', hash: 'swordfish' })
    await workload.run(150)
    const good = await bytes()
    const said = workload.expected()
    const [pin, hash] = await secrets.get('s1').then((one) => [one.pin, one.hash])
    const moment = new Date()
    await new Promise((resolve) => setTimeout(resolve, 5))
    await workload.run(150)
    await secrets.delete('s1')
    await db.createResource({ name: 'later', attributes })
    const bad = await bytes()

    const dry = await tidemark.restoreAt(moment, { target: 'live', dryRun: true })
    expect(dry.written).toBe(false)
    expect(await bytes()).toEqual(bad)
    await expect(tidemark.restoreAt(moment, { target: 'live' })).rejects.toMatchObject({ code: 'CONFIRMATION_NEEDED' })
    const undo = new Date()
    await new Promise((resolve) => setTimeout(resolve, 5))
    const { preview } = await tidemark.restoreAt(moment, { target: 'live', overwrite: true })
    const counts = ({ added, changed, removed }: typeof preview): number[] => [added, changed, removed]
    expect(counts(preview)).toEqual(counts(dry.preview))
    expect(preview.newer).toBe(preview.changed + preview.removed)
    expect(await bytes()).toEqual(good)
    expect(await workload.read(said)).toEqual(said)
    const again = await secrets.get('s1')
    expect([again.pin, again.hash]).toEqual([pin, hash])
    expect(Object.keys(db.resources)).not.toContain('later')
    expect((await tidemark.status()).epochs.map(({ epoch }) => epoch)).toEqual([1, 2])

    await tidemark.restoreAt(undo, { target: 'live', overwrite: true })
    expect(await bytes()).toEqual(bad)

    const copy = await openDatabase(kind === 'memory' ? `${connectionString}-copy` : `file://${home}-copy`)
    await tidemark.restoreAt(moment, { target: copy.db })
    expect(
      [...essential(await copy.stored())]
        .filter(([key]) => key !== 's3db.json')
        .map(([key, value]) => [key, describeBytes(value)]),
    ).toEqual(good)
    await expect(tidemark.restoreAt(moment, { target: copy.db })).rejects.toMatchObject({ code: 'TARGET_NOT_EMPTY' })
    await copy.db.disconnect()

    await tidemark.restoreAt(moment, { target: `file://${home}-string`, resources: ['secrets'] })
    const string = await openDatabase(`file://${home}-string`)
    expect((await (await string.db.getResource('secrets')).get('s1')).pin).toBe(pin)
    expect(Object.keys(string.db.resources)).toEqual(['secrets'])
    await string.db.disconnect()

    await secrets.insert({ id: 's2', pin: '9', hash: 'x' })
    await secrets.deleteMany(['s1']).catch(() => undefined)
    await tidemark.restoreAt(moment, { target: 'live', overwrite: true, resources: ['secrets'], ids: ['s1'] })
    expect((await secrets.get('s1')).pin).toBe(pin)
    expect((await secrets.get('s2')).pin).toBe('9') // not chosen, not touched
    expect((await tidemark.verify()).damage).toEqual([])
    await db.disconnect()
    expect(PASSPHRASE).not.toBe('')
    expect(readdirSync(home).filter((name) => name.includes('.restore-'))).toEqual([])
  })
})
