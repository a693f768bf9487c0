import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FullTextPlugin, type Resource, S3db } from 's3db.js'
import { Plugin } from 's3db.js/plugins/plugin.class'
import { afterAll, describe, expect, it } from 'vitest'
import { Tidemark } from '../../src/index.ts'
import type { Kind } from '../../src/model/event.ts'
import { foundInterval } from '../../src/model/found.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'

const directory = mkdtempSync(join(tmpdir(), 'plugin-life-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))
let count = 0

function place(): { options: { store: string; journal: string; seal: { ageMs: number } }; connectionString: string } {
  const home = join(directory, String(++count))
  return {
    options: { store: `file:${home}/store`, journal: `${home}/journal`, seal: { ageMs: 3_600_000 } },
    connectionString: `memory://plugin-life-${process.pid}-${count}/app`,
  }
}

const attributes = { id: 'string|optional', n: 'number' }

/** Also waits for the first baseline, without which nothing can be restored. */
async function use(db: S3db, tidemark: TidemarkPlugin): Promise<void> {
  await db.usePlugin(tidemark)
  await tidemark.reachable('latest')
}

/** Ids of the records in the store, without asking the process that wrote them. */
async function idsIn(store: string, resource: string): Promise<string[]> {
  const reader = await Tidemark.open({ store })
  try {
    const ids: string[] = []
    for await (const { id } of reader.at('latest').list(resource)) ids.push(String(id))
    return ids
  } finally {
    await reader.close()
  }
}

/** Writes without a pause until it is told to stop, and remembers what became of each write. */
class Lanes {
  readonly acknowledged: string[] = []
  readonly refused: unknown[] = []
  #stop = false
  readonly #lanes: Promise<unknown>

  constructor(resource: Resource, lanes: number) {
    this.#lanes = Promise.all(Array.from({ length: lanes }, (_, lane) => this.#write(resource, lane)))
  }

  async #write(resource: Resource, lane: number): Promise<void> {
    for (let n = 0; !this.#stop; n++) {
      const id = `l${lane}-${n}`
      try {
        await resource.insert({ id, n })
        this.acknowledged.push(id)
      } catch (error) {
        this.refused.push(error)
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  async until(done: () => boolean): Promise<void> {
    while (!done()) await new Promise((resolve) => setImmediate(resolve))
  }

  async end(): Promise<void> {
    this.#stop = true
    await this.#lanes
  }
}

/** Another plugin, which writes at every step of its life. */
class Writing extends Plugin {
  declare instanceName: string
  override async onInstall(): Promise<void> {
    await this.#write('install')
  }
  override async onStart(): Promise<void> {
    await this.#write('start')
  }
  override async onStop(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    await this.#write('stop')
  }
  async #write(id: string): Promise<void> {
    const db = this.database as S3db
    const steps = db.resources.steps ?? (await db.createResource({ name: 'steps', attributes }))
    await steps.insert({ id, n: 1 })
  }
}

describe('no write passes a plugin by', () => {
  it('while the database disconnects: it is in the store, or was refused', async () => {
    const { options, connectionString } = place()
    const db = new S3db({ connectionString, logLevel: 'silent' })
    await db.connect()
    await use(db, new TidemarkPlugin(options))
    const notes = await db.createResource({ name: 'notes', attributes })
    const lanes = new Lanes(notes, 4)
    await lanes.until(() => lanes.acknowledged.length > 20)
    await db.disconnect()
    await lanes.until(() => lanes.refused.length > 4)
    await lanes.end()
    expect(await idsIn(options.store, 'notes')).toEqual([...lanes.acknowledged].sort())
    const codes = lanes.refused.map((error) => JSON.stringify(error, Object.getOwnPropertyNames(error)))
    expect(codes.every((code) => code.includes('CAPTURE_CLOSED'))).toBe(true)
  })

  it.each([
    ['before it', 1],
    ['before it', 10],
    ['after it', 1],
    ['after it', 10],
  ])(
    'of a plugin that stands %s in the list, at its start and at its stop, %i at a time',
    async (where, parallelism) => {
      const { options, connectionString } = place()
      const tidemark = new TidemarkPlugin(options)
      const plugins = where === 'before it' ? [new Writing(), tidemark] : [tidemark, new Writing()]
      // The types of s3db.js want constructors here, its documentation instances.
      const given = { connectionString, logLevel: 'silent' as const, parallelism, plugins: plugins as never[] }
      const db = new S3db(given)
      await db.connect()
      await db.disconnect()
      expect(await idsIn(options.store, 'steps')).toEqual(['install', 'start', 'stop'])
    },
  )

  it('of a plugin of s3db.js that saves what it has when it is stopped', async () => {
    const { options, connectionString } = place()
    const db = new S3db({ connectionString, logLevel: 'silent' })
    await db.connect()
    await use(db, new TidemarkPlugin(options))
    const index = new FullTextPlugin({ fields: ['name'], logLevel: 'silent' })
    // The types of s3db.js do not take its own plugins under exactOptionalPropertyTypes.
    await Reflect.apply(db.usePlugin, db, [index])
    const list: unknown[] = db.pluginList
    list.push(index)
    const users = await db.createResource({ name: 'users', attributes: { id: 'string|optional', name: 'string' } })
    for (let i = 0; i < 5; i++) await users.insert({ id: `u${i}`, name: `word${i} shared` })
    const name = Object.keys(db.resources).find((one) => one.includes('fulltext')) ?? ''
    await db.disconnect()
    const bare = new S3db({ connectionString, logLevel: 'silent' })
    await bare.connect()
    const held = (await (await bare.getResource(name)).list()).map(({ id }) => String(id))
    await bare.disconnect()
    expect(held.length).toBeGreaterThan(0)
    expect(await idsIn(options.store, name)).toEqual(held.sort())
  })

  it('that comes while the journal is still being opened', async () => {
    const { options, connectionString } = place()
    const db = new S3db({ connectionString, logLevel: 'silent' })
    await db.connect()
    const notes = await db.createResource({ name: 'notes', attributes })
    const using = db.usePlugin(new TidemarkPlugin(options))
    await notes.insert({ id: 'a', n: 1 })
    await using
    const reader = await Tidemark.open({ store: options.store })
    const operations = []
    for await (const { operation } of reader.history('notes', 'a')) operations.push(operation)
    await reader.close()
    expect(operations).toEqual(['insert'])
    await db.disconnect()
  })

  it('after disconnect(), until the plugin is uninstalled, nor inside the next connect()', async () => {
    const { options, connectionString } = place()
    const db = new S3db({ connectionString, logLevel: 'silent' })
    await db.connect()
    const tidemark = new TidemarkPlugin(options)
    await use(db, tidemark)
    const notes = await db.createResource({ name: 'notes', attributes })
    await notes.insert({ id: 'a', n: 1 })
    const { client } = db
    await db.disconnect()
    const before = await client.getAllKeys({})
    await expect(notes.insert({ id: 'b', n: 1 })).rejects.toThrow('The capture of this database has ended')
    await expect(client.putObject({ key: 'resource=notes/data/id=c', body: '' })).rejects.toMatchObject({
      code: 'CAPTURE_CLOSED',
    })
    expect(await client.getAllKeys({})).toEqual(before)
    const connected = db.connect()
    await client.putObject({ key: 'resource=notes/data/id=d', metadata: { _v: 'v1', 0: '1' }, body: '' })
    await connected
    await db.uninstallPlugin('tidemark')
    await (await db.getResource('notes')).insert({ id: 'e', n: 1 })
    expect(await idsIn(options.store, 'notes')).toEqual(['a', 'd'])
    await db.disconnect()
  })
})

describe('a plugin that is given again', () => {
  it.each(['connect', 'usePlugin', 'both'])('(%s) goes on, and flush() does what it says', async (again) => {
    const { options, connectionString } = place()
    const tidemark = new TidemarkPlugin(options)
    const plugins = again === 'usePlugin' ? [] : [tidemark as never]
    const db = new S3db({ connectionString, logLevel: 'silent', plugins })
    await db.connect()
    if (again !== 'connect') await db.usePlugin(tidemark)
    if (again === 'usePlugin') await db.usePlugin(tidemark)
    if (again === 'connect') await db.connect()
    const notes = await db.createResource({ name: 'notes', attributes })
    await notes.insert({ id: 'a', n: 1 })
    await tidemark.reachable('latest') // waits for the first baseline
    await tidemark.flush()
    const { pending } = await tidemark.status()
    expect(pending?.events).toBe(0)
    expect(await idsIn(options.store, 'notes')).toEqual(['a'])
    await db.disconnect()
    const reader = await Tidemark.open({ store: options.store })
    expect((await reader.status()).streams.map(({ state }) => state)).toEqual(['closed'])
    await reader.close()
  })

  it('to another database is refused, and captures its own as before', async () => {
    const [one, two] = [place(), place()]
    const tidemark = new TidemarkPlugin(one.options)
    const db = new S3db({ connectionString: one.connectionString, logLevel: 'silent' })
    const other = new S3db({ connectionString: two.connectionString, logLevel: 'silent' })
    await db.connect()
    await other.connect()
    await use(db, tidemark)
    await expect(other.usePlugin(tidemark)).rejects.toMatchObject({ code: 'SOURCE_ATTACHED' })
    await (await db.createResource({ name: 'notes', attributes })).insert({ id: 'a', n: 1 })
    await other.createResource({ name: 'notes', attributes })
    await db.disconnect()
    await other.disconnect()
    expect(await idsIn(one.options.store, 'notes')).toEqual(['a'])
  })
})

describe('a second plugin on one database', () => {
  it('inside connect() makes it fail, before anything is touched', async () => {
    const { options, connectionString } = place()
    const [one, two] = [new TidemarkPlugin(options), new TidemarkPlugin({ ...options, store: `${options.store}-2` })]
    const db = new S3db({ connectionString, logLevel: 'silent', plugins: [one as never, two as never] })
    await expect(db.connect()).rejects.toThrow('is captured already')
    await expect(async () => two.flush()).rejects.toMatchObject({ code: 'SOURCE_NOT_CONNECTED' })
    await expect(Tidemark.open({ store: `${options.store}-2` })).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' })
  })

  it('by usePlugin() is refused, and the first goes on under its name', async () => {
    const { options, connectionString } = place()
    const db = new S3db({ connectionString, logLevel: 'silent' })
    await db.connect()
    const first = new TidemarkPlugin(options)
    await use(db, first)
    const second = new TidemarkPlugin({ ...options, store: `${options.store}-2` })
    await expect(db.usePlugin(second)).rejects.toMatchObject({ code: 'SOURCE_ATTACHED' })
    expect(db.plugins.tidemark).toBe(first)
    const notes = await db.createResource({ name: 'notes', attributes })
    await notes.insert({ id: 'a', n: 1 })
    await db.uninstallPlugin('tidemark')
    await use(db, second)
    await notes.insert({ id: 'b', n: 1 })
    await db.disconnect()
    expect(await idsIn(options.store, 'notes')).toEqual(['a'])
    expect(await idsIn(`${options.store}-2`, 'notes')).toEqual(['a', 'b'])
  })
})

describe('a capture that cannot be opened', () => {
  const broken = { store: 'file:/dev/null/store', journal: join(directory, 'broken') }

  it('inside connect() makes it fail, and writes are refused', async () => {
    const { connectionString } = place()
    const plugins = [new TidemarkPlugin(broken) as never]
    const db = new S3db({ connectionString, logLevel: 'silent', plugins })
    await expect(db.connect()).rejects.toThrow('Failed to')
    await expect(db.client.putObject({ key: 'resource=notes/data/id=a', body: '' })).rejects.toThrow()
    expect(await db.client.getAllKeys({})).toEqual([])
  })

  it('by usePlugin() says so, and leaves the database as it was', async () => {
    const { connectionString } = place()
    const db = new S3db({ connectionString, logLevel: 'silent' })
    await db.connect()
    const notes = await db.createResource({ name: 'notes', attributes })
    await expect(db.usePlugin(new TidemarkPlugin(broken))).rejects.toThrow()
    await notes.insert({ id: 'a', n: 1 })
    expect((await notes.get('a')).n).toBe(1)
    await db.disconnect()
  })
})

/** The operations on an item of the history, and whether each was found. */
async function operationsOn(tidemark: Tidemark, resource: string, id: string, kind: Kind): Promise<string[]> {
  const operations: string[] = []
  for await (const { operation, context } of tidemark.history(resource, id, kind)) {
    operations.push(foundInterval(context) === null ? operation : `${operation} found`)
  }
  return operations
}

async function inHistory(store: string, resource: string, id: string, kind: Kind = 'record'): Promise<string[]> {
  const reader = await Tidemark.open({ store })
  try {
    return await operationsOn(reader, resource, id, kind)
  } finally {
    await reader.close()
  }
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 50))
}

describe('what was written just before the capture is found', () => {
  it('a schema that changed, and a resource that was made with its records, while nothing captured', async () => {
    const { options, connectionString } = place()
    const first = new S3db({ connectionString, logLevel: 'silent' })
    await first.connect()
    await use(first, new TidemarkPlugin(options))
    await first.createResource({ name: 'notes', attributes })
    await first.disconnect()
    const bare = new S3db({ connectionString, logLevel: 'silent' })
    await bare.connect()
    await bare.createResource({ name: 'notes', attributes: { ...attributes, more: 'string|optional' } })
    await (await bare.createResource({ name: 'orders', attributes })).insert({ id: 'a', n: 1 })
    await bare.disconnect()
    const db = new S3db({ connectionString, logLevel: 'silent' })
    await db.connect()
    const tidemark = new TidemarkPlugin(options)
    await use(db, tidemark)
    await until(async () => ((await tidemark.status()).findings?.count ?? 0) >= 3)
    await db.disconnect()
    expect(await inHistory(options.store, 'notes', '', 'schema')).toEqual(['insert', 'update found'])
    expect(await inHistory(options.store, 'orders', '', 'schema')).toEqual(['insert found'])
    expect(await inHistory(options.store, 'orders', 'a')).toEqual(['insert found'])
  })

  it('and only what is asked for is looked at', async () => {
    const { options, connectionString } = place()
    const db = new S3db({ connectionString, logLevel: 'silent' })
    await db.connect()
    const tidemark = new TidemarkPlugin(options)
    await use(db, tidemark)
    const notes = await db.createResource({ name: 'notes', attributes })
    for (const id of ['a', 'b']) await notes.insert({ id, n: 1 })
    const bare = new S3db({ connectionString, logLevel: 'silent' })
    await bare.connect()
    for (const id of ['a', 'b']) await (await bare.getResource('notes')).update(id, { n: 2 })
    const items = [{ kind: 'record', resource: 'notes', id: 'a' } as const]
    expect(await tidemark.reconcile({ items })).toMatchObject({ added: 0, changed: 1, removed: 0, same: 0 })
    await bare.disconnect()
    await db.disconnect()
  })

  it('a write that was under way while the plugin was attached', async () => {
    const { options, connectionString } = place()
    const first = new S3db({ connectionString, logLevel: 'silent' })
    await first.connect()
    await use(first, new TidemarkPlugin(options))
    await (await first.createResource({ name: 'notes', attributes })).insert({ id: 'a', n: 1 })
    await first.disconnect()
    const db = new S3db({ connectionString, logLevel: 'silent' })
    await db.connect()
    // A put of the client that takes longer than attaching does.
    const { client } = db
    let letPass = (): void => {}
    const passing = new Promise<void>((resolve) => {
      letPass = resolve
    })
    const put = client.putObject.bind(client)
    client.putObject = async (params) => {
      await passing
      return put(params)
    }
    const late = (await db.getResource('notes')).update('a', { n: 2 })
    await new Promise((resolve) => setTimeout(resolve, 50)) // it is in the client by now
    client.putObject = put
    const tidemark = new TidemarkPlugin(options)
    await use(db, tidemark)
    letPass()
    await late
    await until(async () => (await tidemark.status()).findings?.count === 1)
    await db.disconnect()
    expect(await inHistory(options.store, 'notes', 'a')).toEqual(['insert', 'update found'])
  })
})

it('who listens for findings hears them after disconnect() and connect() too', async () => {
  const { options, connectionString } = place()
  const db = new S3db({ connectionString, logLevel: 'silent' })
  await db.connect()
  const tidemark = new TidemarkPlugin(options)
  await use(db, tidemark)
  const heard: unknown[] = []
  tidemark.on('plg:tidemark:finding', ({ id }) => heard.push(id))
  await db.createResource({ name: 'notes', attributes })
  await db.disconnect()
  await db.connect()
  await tidemark.flush()
  const bare = new S3db({ connectionString, logLevel: 'silent' })
  await bare.connect()
  await bare.resources.notes?.insert({ id: 'around', n: 1 })
  await tidemark.reconcile({ record: true })
  expect(heard).toEqual(['around'])
  await bare.disconnect()
  await db.disconnect()
})
