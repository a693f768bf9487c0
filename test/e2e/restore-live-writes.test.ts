import { AsyncLocalStorage } from 'node:async_hooks'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { S3db } from 's3db.js/lite'
import { afterAll, afterEach, expect, it } from 'vitest'
import { Tidemark } from '../../src/index.ts'
import { identityOf } from '../../src/s3db/access.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { createS3dbTarget } from '../../src/s3db/target.ts'
import { newDatabase, openDatabase, settled } from '../support/s3db.ts'

const directory = mkdtempSync(join(tmpdir(), 'live-writes-'))
const connected: S3db[] = []
afterEach(async () => {
  for (const db of connected.splice(0)) await db.disconnect()
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const PARTITIONED = {
  attributes: { name: 'string', region: 'string' },
  partitions: { byRegion: { fields: { region: 'string' } } },
  asyncPartitions: false,
}

/** What a capture that is attached later does at the place of a put: where it has read the item and not stamped it yet. */
function belowCapture({ client }: S3db) {
  const raw = client.putObject.bind(client)
  const below = { put: raw }
  client.putObject = (params) => below.put(params)
  return { below, raw }
}

/** A captured database: forty users, of the moment; then all were changed. */
async function world() {
  const { db } = await newDatabase('file')
  connected.push(db)
  const { below, raw } = belowCapture(db)
  const home = mkdtempSync(join(directory, 'home-'))
  const tidemark = new TidemarkPlugin({ store: `file:${home}/store`, journal: `${home}/journal`, database: 'app' })
  await db.usePlugin(tidemark)
  const users = await db.createResource({ name: 'users', ...PARTITIONED })
  for (let i = 0; i < 40; i++) await users.insert({ id: `u${i + 10}`, name: `n${i + 10}`, region: 'US' })
  await tidemark.flush()
  const moment = Date.now()
  await new Promise((resolve) => setTimeout(resolve, 20))
  for (let i = 0; i < 40; i++) await users.update(`u${i + 10}`, { name: `bad${i + 10}` })
  await tidemark.flush()
  const ids = async (region: string): Promise<string[]> =>
    (await users.listIds({ partition: 'byRegion', partitionValues: { region }, limit: 100 })).sort()
  return { db, home, tidemark, users, moment, ids, below, raw }
}

/** Does something once, when the first object with such a key is put; those that are put meanwhile wait for it. */
function beforePut(db: S3db, keys: RegExp, work: () => Promise<unknown>): void {
  const put = db.client.putObject.bind(db.client)
  let working: Promise<unknown> | null = null
  db.client.putObject = async (params) => {
    if (!keys.test(params.key)) return put(params)
    working ??= work()
    await working
    return put(params)
  }
}

/** Does something once, when the first object with such a key was put. */
function afterPut(db: S3db, keys: RegExp, work: () => Promise<unknown>): void {
  const put = db.client.putObject.bind(db.client)
  let isDone = false
  db.client.putObject = async (params) => {
    const result = await put(params)
    const isFirst = keys.test(params.key) && !isDone
    if (isFirst) isDone = true
    if (isFirst) await work()
    return result
  }
}

/** Of those that are put first. */
const FIRST = /data\/id=u[12]/

it('keeps and lists what the application writes between comparing and writing', async () => {
  const { db, tidemark, users, moment, ids } = await world()
  beforePut(db, FIRST, async () => {
    await users.update('u48', { name: 'NEW ORDER PAID' })
    await users.delete('u47')
  })
  // What is restored already and then written is simply later.
  afterPut(db, /data\/id=u12$/, () => users.update('u12', { region: 'EU' }))
  const result = await tidemark.restoreAt(moment, { target: 'live', overwrite: true })
  await settled()
  expect(result.conflicts).toEqual({
    outcome: 'kept',
    count: 2,
    items: ['u47', 'u48'].map((id) => ({ kind: 'record', resource: 'users', id })),
  })
  expect(result.preview).toMatchObject({ changed: 38, newer: 38 })
  expect((await users.get('u48')).name).toBe('NEW ORDER PAID')
  expect(await users.exists('u47')).toBe(false)
  expect((await users.get('u46')).name).toBe('n46')
  expect((await users.get('u12')).region).toBe('EU')
  expect(await ids('EU')).toEqual(['u12'])
  expect((await ids('US')).length).toBe(38)
})

it('overwrites and lists it where that was asked for, and the history has it', async () => {
  const { db, tidemark, users, moment, ids } = await world()
  beforePut(db, FIRST, () => users.update('u48', { name: 'lost?', region: 'EU' }))
  const options = { target: 'live', overwrite: true, onConflict: 'overwrite' } as const
  const { conflicts } = await tidemark.restoreAt(moment, options)
  await settled()
  expect(conflicts).toEqual({
    outcome: 'overwritten',
    count: 1,
    items: [{ kind: 'record', resource: 'users', id: 'u48' }],
  })
  expect((await users.get('u48')).name).toBe('n48')
  expect([await ids('EU'), (await ids('US')).length]).toEqual([[], 40])
  const names = []
  for await (const { after } of tidemark.history('users', 'u48')) {
    names.push(after === null ? null : JSON.parse(Buffer.from(after.json).toString()).name)
  }
  expect(names).toEqual(['n48', 'bad48', 'lost?', 'n48'])
  await expect(tidemark.restoreAt(moment, { ...options, onConflict: 'maybe' as 'keep' })).rejects.toMatchObject({
    code: 'OPTION_INVALID',
  })
})

it('does not undo what is created meanwhile', async () => {
  const { db, tidemark, users, moment, ids } = await world()
  await db.createResource({
    name: 'users',
    ...PARTITIONED,
    attributes: { ...PARTITIONED.attributes, more: 'string|optional' },
  })
  const doomed = await db.createResource({ name: 'doomed', attributes: { a: 'string' } })
  await doomed.insert({ id: 'd', a: 'a' })
  await tidemark.flush()
  const put = db.client.putObject.bind(db.client)
  db.client.putObject = async (params) => {
    if (params.key === 's3db.json' && !('fresh' in db.resources)) {
      const fresh = await db.createResource({ name: 'fresh', ...PARTITIONED })
      await fresh.insert({ id: 'f', name: 'f', region: 'US' })
    }
    return put(params)
  }
  afterPut(db, /data\/id=u16$/, () => doomed.insert({ id: 'late', a: 'a' }))
  const { conflicts } = await tidemark.restoreAt(moment, { target: 'live', overwrite: true })
  await settled()
  expect(conflicts.items).toContainEqual({ kind: 'schema', resource: 'doomed', id: '' })
  const { Body } = await db.client.getObject('s3db.json')
  const stored = JSON.parse(Buffer.from((await Body?.transformToByteArray?.()) ?? '').toString())
  expect(Object.keys(stored.resources).sort()).toEqual(['doomed', 'fresh', 'users'])
  expect(Object.keys(stored.resources.users.versions.v1.attributes)).toEqual(['name', 'region'])
  expect(Object.keys(db.resources).sort()).toEqual(['doomed', 'fresh', 'users'])
  expect(await db.resources.fresh?.get('f')).toMatchObject({ name: 'f' })
  expect(await doomed.get('late')).toMatchObject({ a: 'a' })
  expect(await doomed.exists('d')).toBe(false)
  expect([(await users.get('u16')).name, (await ids('US')).length]).toEqual(['n16', 40])
})

it('keeps what was written after a restore was broken off, when it is begun again', async () => {
  const { db, tidemark, users, moment } = await world()
  const put = db.client.putObject.bind(db.client)
  db.client.putObject = (params) =>
    params.key.endsWith('u16') ? Promise.reject(new Error('the disk is gone')) : put(params)
  await expect(tidemark.restoreAt(moment, { target: 'live', overwrite: true })).rejects.toThrow('the disk is gone')
  db.client.putObject = put
  await users.update('u11', { name: 'later than u11 was restored' })
  await users.update('u48', { name: 'before u48 was restored' })
  const { conflicts, before } = await tidemark.restoreAt(moment, { target: 'live', overwrite: true })
  expect(conflicts.items.map(({ id }) => id)).toEqual(['u11', 'u48'])
  expect([(await users.get('u11')).name, (await users.get('u48')).name, (await users.get('u16')).name]).toEqual([
    'later than u11 was restored',
    'before u48 was restored',
    'n16',
  ])
  expect((await tidemark.at(before ?? '').get('users', 'u11'))?.name).toBe('bad11')
})

it.each([
  { canBeTorn: false, scans: 1 },
  { canBeTorn: true, scans: 2 },
])('goes on with $scans scans where a killed write can be torn: $canBeTorn', async ({ canBeTorn, scans }) => {
  const { db, home, users, tidemark, moment } = await world()
  const put = db.client.putObject.bind(db.client)
  db.client.putObject = (params) =>
    params.key.endsWith('u16') ? Promise.reject(new Error('the disk is gone')) : put(params)
  await expect(tidemark.restoreAt(moment, { target: 'live', overwrite: true })).rejects.toThrow('the disk is gone')
  db.client.putObject = put
  const other = await Tidemark.open({ store: `file:${home}/store`, journal: `${home}/journal` })
  const target = createS3dbTarget(db)
  let count = 0
  const scan = (selection: Parameters<typeof target.scan>[0]) => {
    count++
    return target.scan(selection)
  }
  await other.restoreAt(moment, { target: { ...target, scan, canBeTorn }, overwrite: true, inPlace: true })
  await other.close()
  expect(count).toBe(scans)
  expect((await users.get('u16')).name).toBe('n16')
})

it('hears of another process from the history', async () => {
  const { home, db, users, tidemark, moment } = await world()
  // The database is restored by a process beside the one that writes.
  const other = await Tidemark.open({ store: `file:${home}/store`, journal: `${home}/journal` })
  const target = createS3dbTarget(db)
  let scans = 0
  const scan = async function* (selection: Parameters<typeof target.scan>[0]) {
    if (scans++ === 0) await users.update('u15', { name: 'written beside it' })
    yield* target.scan(selection)
  }
  // Without the locks of this process: they are no help to another.
  await target.close()
  const { conflicts } = await other.restoreAt(moment, { target: { ...target, scan }, overwrite: true, inPlace: true })
  expect(conflicts.items.map(({ id }) => id)).toEqual(['u15'])
  expect([(await users.get('u15')).name, (await users.get('u16')).name]).toEqual(['written beside it', 'n16'])
  await other.close()
  await tidemark.flush()
})

/** What another process does is no part of a write of this one. */
const outside = AsyncLocalStorage.snapshot()

/** Another process on the same database, as far as either of them can tell. */
async function beside({ db, home }: { db: S3db; home: string }) {
  const other = await openDatabase(identityOf(db.client))
  connected.push(other.db)
  const { below, raw } = belowCapture(other.db)
  const tidemark = new TidemarkPlugin({ store: `file:${home}/store`, journal: `${home}/journal`, database: 'app' })
  await other.db.usePlugin(tidemark)
  return { db: other.db, tidemark, below, raw }
}

it.each(['keep', 'overwrite'] as const)(
  'sees what another process writes between its last reading and its write: %s',
  async (onConflict) => {
    const { db, home, users, moment, ids } = await world()
    const other = await beside({ db, home })
    const written: string[] = []
    other.below.put = async (params) => {
      const [, id = ''] = /data\/id=(u1[13])$/.exec(params.key) ?? []
      if (id !== '' && !written.includes(id)) {
        written.push(id)
        if (id === 'u13') await outside(() => users.delete('u13'))
        else await outside(() => users.update(id, { name: 'PAID', region: 'EU' }))
      }
      return other.raw(params)
    }
    const { conflicts } = await other.tidemark.restoreAt(moment, { target: 'live', overwrite: true, onConflict })
    await settled()
    expect(written.sort()).toEqual(['u11', 'u13'])
    const items = ['u11', 'u13'].map((id) => ({ kind: 'record', resource: 'users', id }))
    expect(conflicts).toEqual({ outcome: onConflict === 'keep' ? 'kept' : 'overwritten', count: 2, items })
    expect((await users.get('u11')).name).toBe(onConflict === 'keep' ? 'PAID' : 'n11')
    expect(await users.exists('u13')).toBe(onConflict === 'overwrite')
    expect(await ids('EU')).toEqual(onConflict === 'keep' ? ['u11'] : [])
    expect((await ids('US')).length).toBe(onConflict === 'keep' ? 38 : 40)
    expect((await users.get('u12')).name).toBe('n12')
  },
)

it('sees it also where the write of the other process is stamped after its own', async () => {
  const { db, home, users, moment, below, raw } = await world()
  const other = await beside({ db, home })
  const isPut = Promise.withResolvers<void>()
  const isRestored = Promise.withResolvers<void>()
  afterPut(other.db, /data\/id=u11$/, async () => isRestored.resolve())
  // The application has written, and does not come to its stamp before the restore has overwritten it.
  below.put = async (params) => {
    const result = await raw(params)
    if (!params.key.endsWith('data/id=u11')) return result
    isPut.resolve()
    await isRestored.promise
    return result
  }
  let update: Promise<unknown> = Promise.resolve()
  other.below.put = async (params) => {
    if (params.key.endsWith('data/id=u11')) {
      update = outside(() => users.update('u11', { name: 'PAID' }))
      await isPut.promise
    }
    // It is acknowledged before the restore is over.
    if (params.key.endsWith('data/id=u49')) await update
    return other.raw(params)
  }
  const { conflicts } = await other.tidemark.restoreAt(moment, { target: 'live', overwrite: true })
  await settled()
  expect(conflicts.items.map(({ id }) => id)).toEqual(['u11'])
  expect((await users.get('u11')).name).toBe('PAID')
})
