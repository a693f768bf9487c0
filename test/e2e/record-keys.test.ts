import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { formatHead } from '../../src/model/head.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import type { StoreSpec } from '../../src/store/open.ts'
import { fingerprint, jsonLines, type Run } from '../support/cli.ts'
import { tidemarkHere as tidemark } from '../support/in-process.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'
import { openDatabase } from '../support/s3db.ts'

const home = mkdtempSync(join(tmpdir(), 'record-keys-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))
let place = ''
let count = 0
beforeEach(() => {
  place = join(home, String(++count))
})

const PERSON = { id: 'u1', name: 'canary-name', city: 'canary-city' }
const item = (id: string): { kind: 'record'; resource: string; id: string } => ({
  kind: 'record',
  resource: 'users',
  id,
})

function spec(): StoreSpec {
  return { url: `file:${place}/store`, recordKeys: `file:${place}/keys` }
}

/** The command line, which finds the keys by the environment. */
function run(...args: string[]): Promise<Run> {
  const environment = { TIDEMARK_STORE: `file:${place}/store`, TIDEMARK_RECORD_KEYS: `file:${place}/keys` }
  return tidemark(place, args, environment)
}

function plain(): string {
  const files = readdirSync(join(place, 'store'), { recursive: true, encoding: 'utf8' }).map((name) =>
    join(place, 'store', name),
  )
  const bytes = files.filter((path) => statSync(path).isFile()).map((path) => [path, readFileSync(path)] as const)
  return bytes.map(([path, one]) => (path.endsWith('.gz') ? gunzipSync(one) : one).toString('latin1')).join('\n')
}

describe('a real database with record keys', () => {
  test('is restored like any other; an erased record is nowhere, and not a file of the store was touched', {
    timeout: 240_000,
  }, async () => {
    const { db } = await openDatabase(`file://${place}/app`)
    const plugin = new TidemarkPlugin({ store: spec(), journal: `${place}/journal` })
    await db.usePlugin(plugin)
    const attributes = { name: 'string', city: 'string|optional' }
    const users = await db.createResource({ name: 'users', attributes, behavior: 'body-overflow' })
    await users.insert(PERSON)
    await users.insert({ id: 'u2', name: 'Ben' })
    await users.update('u1', { city: 'canary-town' })
    await plugin.flush()
    await plugin.snapshot()
    const during = Date.now()
    await new Promise((resolve) => setTimeout(resolve, 10))
    await users.delete('u1')
    await users.update('u2', { city: 'Zug' })
    await plugin.flush()
    await plugin.snapshot()
    const head = (await run('head')).out.trim()
    await db.disconnect()
    expect(plain()).not.toContain('canary-')

    const at = ['--at', new Date(during).toISOString()]
    expect(jsonLines((await run('show', 'users/u1', ...at, '--json')).out)).toMatchObject([
      { name: 'canary-name', city: 'canary-town' },
    ])
    expect((await run('log', 'users/u1')).out).toContain('canary-town')
    // Another process that still has its keyring when the record goes.
    const reader = await Tidemark.open({ store: spec() })
    expect(await reader.at(during).get('users', 'u1')).toMatchObject({ name: 'canary-name' })
    cpSync(join(place, 'keys'), join(place, 'old-keys'), { recursive: true })
    const before = await fingerprint(join(place, 'store'))

    const erased = await run('erase', 'users/u1', '--reason', 'request 4711', '--yes', '--json')
    expect([erased.code, jsonLines(erased.out)]).toMatchObject([
      0,
      [{ mode: 'keys', entry: { mode: 'keys', events: 3, snapshots: 1, keyring: 2 } }],
    ])
    const after = await fingerprint(join(place, 'store'))
    for (const [path, sha256] of before) expect(after.get(path), path).toBe(sha256)
    // The entry in the ledger, and what was asked of the history before it: generations of the timeline, and nothing else.
    const added = [...after.keys()].filter((path) => !before.has(path))
    expect(added.filter((path) => !path.includes('/store/timeline/'))).toEqual([])
    expect(added.length).toBeGreaterThan(0)
    expect(readdirSync(join(place, 'keys/keyring'))).toEqual(['000000000002.json'])

    expect((await run('log', 'users/u1')).code).toBe(3)
    expect((await run('show', 'users/u1', ...at)).code).toBe(3)
    expect(await reader.at(during).get('users', 'u1')).toBeNull()
    expect(await reader.at(during).get('users', 'u2')).toMatchObject({ name: 'Ben' })
    await reader.close()
    expect((await run('verify', '--head', head)).code).toBe(0)
    expect((await run('drill', '--at', new Date(during).toISOString())).code).toBe(0)
    expect((await run('drill', '--at', 'latest')).code).toBe(0)
    expect((await run('reconcile', '--source', `file://${place}/app`)).code).toBe(0)
    expect((await run('restore', '--to', new Date(during).toISOString(), '--target', `${place}/out`)).code).toBe(0)
    const lines = gunzipSync(readFileSync(join(place, 'out/users.jsonl.gz')))
      .toString()
      .trim()
      .split('\n')
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([{ id: 'u2', name: 'Ben' }])
    expect(
      (await run('restore', '--to', new Date(during).toISOString(), '--target', `file://${place}/copy`)).code,
    ).toBe(0)
    const { db: copy } = await openDatabase(`file://${place}/copy`)
    expect(await (await copy.getResource('users')).listIds()).toEqual(['u2'])
    await copy.disconnect()
    expect((await run('erase', 'users/u1', '--reason', 'again', '--yes')).code).toBe(3)

    // The keyring of before, beside the one in force, is told, and the erasure that is run again takes it away.
    cpSync(join(place, 'old-keys'), join(place, 'keys'), { recursive: true })
    const told = await run('verify')
    expect([told.code, told.out]).toMatchObject([4, expect.stringContaining('keyring/000000000001.json')])
    expect((await run('erase', 'users/u1', '--reason', 'again', '--yes')).code).toBe(0)
    expect((await run('verify')).code).toBe(0)

    // The keyring of before, put back by mistake, brings nothing back.
    rmSync(join(place, 'keys'), { recursive: true })
    cpSync(join(place, 'old-keys'), join(place, 'keys'), { recursive: true })
    const lost = await run('show', 'users/u2', ...at)
    expect([lost.code, lost.err]).toMatchObject([4, expect.stringContaining('RECORD_KEYS_LOST')])
  })
})

async function capture(store: StoreSpec, options: { ack?: 'store' } = {}): Promise<Tidemark> {
  const database = new ModelDatabase()
  database.put(item('u1'), recordImage(PERSON))
  const opened = await Tidemark.capture({ store, source: database, journal: `${place}/journal`, ...options })
  await opened.flush()
  return opened
}

describe('the place of the keyring', () => {
  test('is to be told where there is one, and not to be told where there is none', async () => {
    await (await capture(spec())).close()
    expect(readFileSync(join(place, 'store/tidemark.json'), 'utf8')).toContain('"recordKeys":true')
    await expect(Tidemark.open({ store: spec().url })).rejects.toMatchObject({ code: 'RECORD_KEYS_NEEDED' })
    place = `${place}-without`
    await (await capture({ url: spec().url })).close()
    expect(readFileSync(join(place, 'store/tidemark.json'), 'utf8')).not.toContain('recordKeys')
    await expect(Tidemark.open({ store: spec() })).rejects.toMatchObject({ code: 'RECORD_KEYS_FOREIGN' })
    const opened = await Tidemark.open({ store: spec().url })
    const erase = opened.erase('users', 'u9', { reason: 'r', mode: 'keys' })
    await expect(erase).rejects.toMatchObject({ code: 'RECORD_KEYS_NEEDED' })
    await opened.close()
  })

  test('is another than the store, and takes no options of a store', async () => {
    const { url } = spec()
    const wrong: StoreSpec[] = [
      { url, recordKeys: url },
      { url, recordKeys: `${url}/keys` },
      { url: `${url}/sub`, recordKeys: url },
      { url, recordKeys: { url: `file:${place}/keys`, encryption: { passphrase: 'x' } } },
      { url, recordKeys: spec() },
      { url, recordKeys: 'ftp://nowhere' },
    ]
    for (const store of wrong) await expect(capture(store)).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    // The journal would be in the store, and its images could not be erased.
    await expect(capture(spec(), { ack: 'store' })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })

  test('must have the keyring of this store, whole', async () => {
    await (await capture(spec())).close()
    const mine = join(place, 'keys')
    const path = join(mine, 'keyring/000000000001.json')
    place = `${place}-other`
    await (await capture(spec())).close()
    const open = (): Promise<Tidemark> => Tidemark.open({ store: { url: spec().url, recordKeys: `file:${mine}` } })
    await expect(open()).rejects.toMatchObject({ code: 'RECORD_KEYS_LOST' })
    rmSync(path)
    await expect(open()).rejects.toMatchObject({ code: 'RECORD_KEYS_LOST' })
  })
})

test('an erasure while the disk of the keys is unmounted makes no keyring in the place of it, and loses none', async () => {
  const database = new ModelDatabase()
  const capture = await Tidemark.capture({ store: spec(), journal: `${place}/journal`, source: database })
  for (const id of ['u1', 'u2']) await database.write(item(id), recordImage({ id }))
  await database.write(item('u1'), null)
  await capture.flush()
  renameSync(`${place}/keys`, `${place}/disk`)
  mkdirSync(`${place}/keys`)
  const erase = (): Promise<unknown> => capture.erase('users', 'u1', { reason: 'asked for' })
  await expect(erase()).rejects.toMatchObject({ code: 'RECORD_KEYS_LOST' })
  expect(readdirSync(`${place}/keys`)).toEqual([])
  rmSync(`${place}/keys`, { recursive: true })
  renameSync(`${place}/disk`, `${place}/keys`)
  await erase()
  await capture.close()
  expect(await (await Tidemark.open({ store: spec() })).at('latest').get('users', 'u2')).toMatchObject({ id: 'u2' })
})

test('a store that keeps everything for a time is rewritten later: then the id is gone as well', async () => {
  const database = new ModelDatabase()
  const opened = await Tidemark.capture({ store: spec(), source: database, journal: `${place}/journal` })
  await opened.flush()
  await database.write(item('canary-id'), recordImage(PERSON))
  await database.write(item('u2'), recordImage({ id: 'u2' }))
  await database.write(item('canary-id'), null)
  await opened.flush()
  const head = await opened.head()
  await opened.erase('users', 'canary-id', { reason: 'r' })
  const { entry } = await opened.erase('users', 'canary-id', { reason: 'r', mode: 'rewritten' })
  expect(entry).toMatchObject({ mode: 'rewritten', events: 2 })
  expect(plain()).not.toContain('canary-id')
  expect((await opened.verify({ head: formatHead(head) })).damage).toEqual([])
  expect(await opened.at('latest').get('users', 'u2')).toEqual({ id: 'u2' })
  await opened.close()
})
