import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { S3db } from 's3db.js/lite'
import { afterAll, describe, expect, it } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { TidemarkPlugin, type TidemarkPluginOptions } from '../../src/s3db/plugin.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { keysOf } from '../../src/testing/objects.ts'

const directory = mkdtempSync(join(tmpdir(), 'options-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))
let count = 0

async function open(
  options: Partial<TidemarkPluginOptions>,
): Promise<{ db: S3db; tidemark: TidemarkPlugin; home: string; insert: (n: number) => Promise<void> }> {
  const home = join(directory, String(++count))
  const db = new S3db({ connectionString: `memory://options-${process.pid}-${count}`, logLevel: 'silent' })
  await db.connect()
  const tidemark = new TidemarkPlugin({ store: `file:${home}/store`, journal: `${home}/journal`, ...options })
  await db.usePlugin(tidemark)
  const attributes = { id: 'string|optional', n: 'number', text: 'string|optional' }
  const notes = await db.createResource({ name: 'notes', attributes, behavior: 'body-only' })
  const insert = async (n: number): Promise<void> =>
    void (await notes.insert({ id: `n${n}`, n, text: 'x'.repeat(300) }))
  return { db, tidemark, home, insert }
}

const segments = async (tidemark: TidemarkPlugin): Promise<number> => (await tidemark.status()).segments.count

/** Waits until `condition` holds; fails after five seconds. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 100; i++) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('waited in vain')
}

const NEVER = 3_600_000

describe('every option does what it says', () => {
  it('seal.events: that many events are sealed without waiting', async () => {
    const { db, tidemark, insert } = await open({ seal: { events: 5, ageMs: NEVER } })
    await tidemark.flush()
    const before = await segments(tidemark)
    for (let n = 0; n < 4; n++) await insert(n)
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(await segments(tidemark)).toBe(before)
    await insert(4)
    await until(async () => (await segments(tidemark)) === before + 1)
    await db.disconnect()
  })

  it('store: one of somebody else keeps everything, encrypted, and so does one for the keys of records', async () => {
    const [objects, keys] = [new MemoryStore(), new MemoryStore()]
    const recordKeys = { url: 'own://keys', objects: keys }
    const store = { url: 'own://store', objects, recordKeys, encryption: { key: new Uint8Array(32).fill(1) } }
    const { db, tidemark, home, insert } = await open({ store })
    await insert(0)
    await tidemark.flush()
    await db.resources.notes?.delete('n0')
    await tidemark.flush()
    await tidemark.erase('notes', 'n0', { reason: 'asked' })
    expect(await tidemark.verify()).toMatchObject({ damage: [] })
    expect((await tidemark.status()).store).toBe('own://store')
    await db.disconnect()
    expect(existsSync(`${home}/store`)).toBe(false)
    const keysIn = async (one: MemoryStore): Promise<string> => (await keysOf(one.list(''))).join()
    expect(await keysIn(objects)).toMatch(/key\/.*segment\/.*tidemark\.json.*timeline\//)
    expect(await keysIn(keys)).toBe('keyring/000000000002.json')
    const reader = await Tidemark.open({ store })
    expect(await reader.at('latest').get('notes', 'n0')).toBeNull()
    await reader.close()
    const other = { ...store, encryption: { key: new Uint8Array(32).fill(2) } }
    await expect(Tidemark.open({ store: other })).rejects.toMatchObject({ code: 'ENCRYPTION_KEY_WRONG' })
  })

  it('seal.bytes: that many bytes are sealed without waiting', async () => {
    const { db, tidemark, insert } = await open({ seal: { bytes: 3000, ageMs: NEVER } })
    await tidemark.flush()
    const before = await segments(tidemark)
    await insert(0)
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(await segments(tidemark)).toBe(before)
    for (let n = 1; n < 5; n++) await insert(n)
    await until(async () => (await segments(tidemark)) > before)
    await db.disconnect()
  })

  it('seal.ageMs: an event waits no longer, and without events nothing happens', async () => {
    const { db, tidemark, insert } = await open({ seal: { ageMs: 100 } })
    await tidemark.flush()
    const { generation } = await tidemark.status()
    await new Promise((resolve) => setTimeout(resolve, 400))
    expect((await tidemark.status()).generation).toBe(generation)
    await insert(0)
    await until(async () => (await segments(tidemark)) > 0)
    await db.disconnect()
  })

  it('ack: journal writes a journal on disk, store one in the store, memory none', async () => {
    for (const ack of ['journal', 'store', 'memory'] as const) {
      const { db, home, insert } = await open({ ack, seal: { ageMs: NEVER } })
      await insert(1)
      expect(existsSync(join(home, 'journal')), ack).toBe(ack === 'journal')
      const inStore = existsSync(join(home, 'store/journal'))
      expect(inStore && readdirSync(join(home, 'store/journal'), { recursive: true }).length > 1, ack).toBe(
        ack === 'store',
      )
      await db.disconnect()
    }
  })

  it('snapshots: one is made by itself when it is due, and none with false', async () => {
    for (const snapshots of [{ everyMs: 50 }, false] as const) {
      const { db, tidemark, insert } = await open({ snapshots, seal: { ageMs: 50 } })
      await insert(0)
      // What came within half of that time of the last one is not worth another.
      await new Promise((resolve) => setTimeout(resolve, 100))
      await insert(1)
      await tidemark.flush()
      const count = async (): Promise<number> => (await tidemark.status()).snapshots.length
      if (snapshots === false) await new Promise((resolve) => setTimeout(resolve, 400))
      else await until(async () => (await count()) > 1)
      expect((await count()) > 1).toBe(snapshots !== false)
      await db.disconnect()
    }
    await expect(open({ snapshots: { events: -1 } })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })

  it('database: names the database in the store, and is checked', async () => {
    const { db, tidemark, home } = await open({ database: 'production' })
    expect((await tidemark.status()).database).toBe('production')
    await db.disconnect()
    await expect(open({ store: `file:${home}/store`, database: 'staging' })).rejects.toMatchObject({
      code: 'STORE_FOREIGN',
    })
  })

  it('memory: a budget too small for all segments at once merges in passes, with the same result', async () => {
    const { db, tidemark, insert } = await open({ memory: 1, seal: { events: 3, ageMs: NEVER } })
    for (let n = 0; n < 30; n++) {
      await insert(n)
      if (n % 3 === 0) await tidemark.flush()
    }
    expect(await segments(tidemark)).toBeGreaterThan(5)
    const made: string[] = []
    const before = new Set(readdirSync(tmpdir()))
    const ids: unknown[] = []
    for await (const { id } of tidemark.at('latest').list('notes')) {
      ids.push(id)
      made.push(...readdirSync(tmpdir()).filter((name) => name.startsWith('tidemark-') && !before.has(name)))
    }
    expect(ids).toEqual(Array.from({ length: 30 }, (_, n) => `n${n}`).sort())
    expect(made.length).toBeGreaterThan(0) // space for the passes
    await db.disconnect()
    expect(readdirSync(tmpdir())).not.toContain(made[0])
  })

  it('pluginStorage: what plugins store is captured only when asked for', async () => {
    for (const pluginStorage of [false, true]) {
      const { db, tidemark } = await open({ pluginStorage })
      await db.client.putObject({ key: 'plugin=other/settings', metadata: { a: '1' } })
      const kinds: string[] = []
      for await (const { kind, resource, id } of tidemark.at('latest').states())
        if (resource === '' && kind === 'object') kinds.push(id)
      expect(kinds.length, String(pluginStorage)).toBe(pluginStorage ? 1 : 0)
      await db.disconnect()
    }
  })

  it('logger: is told what goes wrong in the background', async () => {
    const lines: string[] = []
    const logger = pino({ level: 'error' }, { write: (line: string) => void lines.push(line) })
    const { db, tidemark, home, insert } = await open({ logger, seal: { events: 1, ageMs: 50 } })
    await tidemark.flush()
    rmSync(join(home, 'store'), { recursive: true })
    writeFileSync(join(home, 'store'), 'no directory any more')
    await insert(1)
    await until(async () => lines.length > 0)
    await db.disconnect().catch(() => undefined)
    expect(lines.join('')).toMatch(/store|timeline|seal/i)
  })
})
