import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { deflateSync } from 'node:zlib'
import { DuckDBInstance } from '@duckdb/node-api'
import { S3db } from 's3db.js/lite'
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Tidemark } from '../../src/index.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { openStore, type StoreSpec } from '../../src/store/open.ts'
import { jsonLines } from '../support/cli.ts'
import { tidemarkHere as cli } from '../support/in-process.ts'
import { s3ForTests } from '../support/s3.ts'
import { readSealedStore } from '../support/sealed-reader.ts'

const home = mkdtempSync(join(tmpdir(), 'encryption-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))
afterEach(() => vi.unstubAllEnvs())

const SQL = fileURLToPath(new URL('../../tools/restore-by-hand.sql', import.meta.url))
/** What must be nowhere: in names of resources, ids, fields, values, and who did it. */
const CANARY = 'canary'
const KEY = Uint8Array.from({ length: 32 }, (_, i) => 255 - i)
const HEX = Buffer.from(KEY).toString('hex')
const LONG = `${CANARY}-${'é'.repeat(120)}`
const server = s3ForTests()
let place = ''
let count = 0
beforeEach(() => {
  place = join(home, String(++count))
})

/** Captures a real database that is full of canaries into `store`, with two snapshots. Returns what it ended with. */
async function capture(store: StoreSpec, ack: 'journal' | 'store', encrypt: boolean): Promise<string[]> {
  const db = new S3db({ connectionString: `memory://encryption-${process.pid}-${count}`, logLevel: 'silent' })
  await db.connect()
  const journal = { directory: join(place, 'journal'), encrypt }
  const tidemark = new TidemarkPlugin({ store, journal, ack, seal: { ageMs: 3_600_000 } })
  await db.usePlugin(tidemark)
  const attributes = { id: 'string|optional', canaryField: 'string', n: 'number|optional' }
  const found: string[] = []
  for (const name of [`${CANARY}s`, LONG, '1']) {
    const resource = await db.createResource({ name, attributes, behavior: 'body-only' })
    await tidemark.as({ actor: `${CANARY}-actor`, tx: `${CANARY}-tx`, meta: { canary: 1 } }, async () => {
      for (let n = 0; n < 40; n++) await resource.insert({ id: `${CANARY}-id-${n}`, canaryField: `${CANARY} ${n}`, n })
    })
  }
  await tidemark.flush()
  const canaries = await db.getResource(`${CANARY}s`)
  await canaries.update(`${CANARY}-id-3`, { canaryField: `${CANARY} changed` })
  await canaries.delete(`${CANARY}-id-4`)
  await tidemark.flush()
  await tidemark.snapshot()
  await canaries.insert({ id: `${CANARY}-late`, canaryField: CANARY })
  // The journal as it is while events wait in it.
  found.push(
    ...(ack === 'journal' ? filesUnder(join(place, 'journal')).map((path) => readFileSync(path, 'latin1')) : []),
  )
  await tidemark.flush()
  await tidemark.drill({ at: 'latest' })
  const { preview } = await tidemark.restoreAt('latest', { target: 'live', dryRun: true })
  expect(preview).toMatchObject({ added: 0, changed: 0, removed: 0 })
  expect((await tidemark.verify()).damage).toEqual([])
  await db.disconnect()
  return found
}

function filesUnder(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

/** Every object of a store as it is stored. */
async function storedIn(spec: StoreSpec): Promise<Map<string, Uint8Array>> {
  const { encryption: _, ...plain } = spec
  const store = await openStore(plain)
  const objects = new Map<string, Uint8Array>()
  for await (const { key } of store.list('')) objects.set(key, await store.get(key))
  return objects
}

/** Compressed canaries would not be found by looking for them: whatever is encrypted does not become any smaller. */
function expectUnreadable(key: string, bytes: Uint8Array): void {
  expect(Buffer.from(bytes.subarray(0, 4)).toString(), key).toBe('TME1')
  if (bytes.length > 300) expect(deflateSync(bytes.subarray(36)).length, key).toBeGreaterThanOrEqual(bytes.length - 36)
}

describe('an encrypted store', () => {
  const places = [
    ['file', 'journal'],
    ['file', 'store'],
    ['s3', 'journal'],
  ] as const
  test.skipIf(server === null).each(places)(
    'on %s with ack %s holds no canary and gives everything back',
    async (kind, ack) => {
      if (server === null) return
      const { options, dispose } = await server.fresh()
      const s3 = {
        url: `s3://${options.bucket}/${options.prefix}`,
        endpoint: server.endpoint,
        region: 'us-east-1',
        credentials: server.credentials,
      }
      const where = kind === 's3' ? s3 : { url: `file:${place}/store` }
      const spec = { ...where, encryption: { key: KEY } }
      const journals = await capture(spec, ack, true)
      const objects = await storedIn(spec)
      expect(objects.size).toBeGreaterThan(8)
      for (const [key, bytes] of objects) {
        expect(key.toLowerCase()).not.toContain(CANARY)
        expect(Buffer.from(bytes).toString('latin1').toLowerCase(), key).not.toContain(CANARY)
        if (key !== 'tidemark.json' && !key.startsWith('key/')) expectUnreadable(key, bytes)
      }
      for (const content of journals) expect(content.toLowerCase()).not.toContain(CANARY)

      const reader = await Tidemark.open({ store: spec })
      const status = await reader.status()
      expect(status.encryption?.keys.map(({ kind }) => kind)).toEqual(['key'])
      const canaries = reader.at('latest')
      expect(await canaries.count(`${CANARY}s`)).toBe(40)
      expect(await canaries.get(`${CANARY}s`, `${CANARY}-id-3`)).toMatchObject({ canaryField: `${CANARY} changed` })
      expect(await canaries.get(LONG, `${CANARY}-id-7`)).toMatchObject({ n: 7 })
      // What is restored has the names of the resources, but for one that is too long for a file.
      await reader.restoreAt('latest', { target: `file:${place}/restored` })
      const names = readdirSync(join(place, 'restored')).filter((name) => name.endsWith('.gz'))
      expect(names).toEqual(expect.arrayContaining([`${CANARY}s.jsonl.gz`, '1.jsonl.gz']))
      expect(names.filter((name) => /^%long-[0-9a-f]{64}\.jsonl\.gz$/.test(name)).length).toBe(1)
      await reader.close()
      await dispose()
    },
  )

  test('the canaries are found where nothing is encrypted: this test can fail', async () => {
    const spec = { url: `file:${place}/store` }
    const journals = await capture(spec, 'journal', false)
    expect(journals.join('').includes(CANARY)).toBe(true)
    const objects = await storedIn(spec)
    expect([...objects.keys()].some((key) => key.includes(CANARY))).toBe(true)
    const segment = [...objects].find(([key]) => key.startsWith('segment/'))
    expect(() => expectUnreadable('segment', segment?.[1] ?? new Uint8Array())).toThrow()
  })

  test('erases a record without naming its resource in a key', async () => {
    const spec = { url: `file:${place}/store`, encryption: { key: KEY } }
    await capture(spec, 'journal', true)
    const tidemark = await Tidemark.open({ store: spec })
    await tidemark.erase(`${CANARY}s`, `${CANARY}-id-4`, { reason: 'asked for' })
    expect((await tidemark.verify()).damage).toEqual([])
    await tidemark.close()
    for (const key of (await storedIn(spec)).keys()) expect(key).not.toContain(CANARY)
  })
})

describe('decryption', () => {
  test('gives the files that a second implementation reads, and the state that SQL finds', async () => {
    vi.stubEnv('TIDEMARK_PASSPHRASE', 'correct horse pässword')
    await capture({ url: `file:${place}/store` }, 'store', false)
    const expected = readSealedStore(join(place, 'store'), { passphrase: 'correct horse pa\u0308ssword' })
    const run = await cli(place, ['decrypt', '--store', 'store', '--target', 'plain', '--json'])
    expect(run.err).toBe('')
    expect(jsonLines(run.out)).toMatchObject([{ files: expected.size + 1 }])
    for (const [key, bytes] of expected) {
      expect(Buffer.compare(readFileSync(join(place, 'plain', key)), bytes), key).toBe(0)
    }
    expect(filesUnder(join(place, 'plain')).length).toBe(expected.size + 1)
    vi.unstubAllEnvs()
    const plain = await Tidemark.open({ store: `file:${place}/plain` })
    expect((await plain.status()).encryption).toBe(null)
    expect((await plain.verify()).damage).toEqual([])
    expect(await plain.at('latest').count(LONG)).toBe(40)
    await plain.close()

    const connection = await (await DuckDBInstance.create()).connect()
    await connection.run(`SET VARIABLE store = '${place}/plain'`)
    await connection.run(readFileSync(SQL, 'utf8'))
    const rows = await connection.runAndReadAll(
      `SELECT count(*)::INT FROM state WHERE kind = 'record' AND resource = '${LONG}'`,
    )
    expect(rows.getRows()).toEqual([[40]])
    const again = await cli(place, ['decrypt', '--store', 'store', '--target', 'plain'], {
      TIDEMARK_PASSPHRASE: 'correct horse pässword',
    })
    expect(again).toMatchObject({ code: 5, err: expect.stringContaining('TARGET_NOT_EMPTY') })
  })
})

describe('the command line', () => {
  test('tells a missing key from a wrong one, rotates, and names every damaged file', async () => {
    await capture({ url: `file:${place}/store`, encryption: { key: KEY } }, 'journal', true)
    const run = (args: string[], env: Record<string, string>): ReturnType<typeof cli> =>
      cli(place, [...args, '--store', 'store', '--json'], env)
    const [key] = jsonLines((await run(['key', 'list'], {})).out)
    const id = String(key?.id)
    const missing = await run(['status'], {})
    expect(missing.code).toBe(12)
    expect(jsonLines(missing.err)).toMatchObject([{ error: { code: 'ENCRYPTION_KEY_NEEDED', details: { keys: id } } }])
    const wrong = await run(['status'], { TIDEMARK_PASSPHRASE: 'canary-secret' })
    expect(wrong.code).toBe(12)
    expect(jsonLines(wrong.err)).toMatchObject([{ error: { code: 'ENCRYPTION_KEY_WRONG', details: { keys: id } } }])
    expect(wrong.err).not.toContain('canary-secret')
    expect((await run(['status'], { TIDEMARK_KEY_FILE: join(place, 'no-such-file') })).code).toBe(2)

    const before = await storedIn({ url: `file:${place}/store` })
    const rotated = await run(['key', 'rotate'], { TIDEMARK_KEY: HEX, TIDEMARK_NEW_PASSPHRASE: 'new words' })
    const [{ added, removed } = {}] = jsonLines(rotated.out)
    expect(removed).toEqual([id])
    const after = await storedIn({ url: `file:${place}/store` })
    for (const [name, bytes] of before) {
      if (!name.startsWith('key/')) expect(Buffer.compare(after.get(name) ?? new Uint8Array(), bytes), name).toBe(0)
    }
    expect((await run(['status'], { TIDEMARK_KEY: HEX })).code).toBe(12)
    const status = await run(['status'], { TIDEMARK_PASSPHRASE: 'new words' })
    expect(jsonLines(status.out)).toMatchObject([
      { encryption: { keys: [{ id: String(added).toString(), kind: 'passphrase' }] } },
    ])
    expect((await run(['key', 'remove', String(added)], { TIDEMARK_PASSPHRASE: 'new words' })).code).toBe(5)
    expect((await run(['key', 'add'], { TIDEMARK_PASSPHRASE: 'new words', TIDEMARK_NEW_KEY: HEX })).code).toBe(0)

    // A flipped byte in any file is told by its name. The other key keeps the store open where it is in a slot.
    for (const [name, bytes] of await storedIn({ url: `file:${place}/store` })) {
      const path = join(place, 'store', name)
      const at = (bytes.length * 7) % (bytes.length - 1)
      writeFileSync(
        path,
        bytes.map((byte, i) => (i === at ? byte ^ 4 : byte)),
      )
      const checked = await verified(HEX)
      const other = name.startsWith('key/') && !checked.includes(name) ? await verified(null) : checked
      expect(other, name).toContain(name)
      writeFileSync(path, bytes)
    }
    expect(await verified(HEX)).toEqual([])
  })

  /** The files that `verify` names, or the error that stops it. */
  async function verified(hex: string | null): Promise<string[]> {
    const encryption = hex === null ? { passphrase: 'new words' } : { key: hex }
    try {
      const tidemark = await Tidemark.open({ store: { url: `file:${place}/store`, encryption } })
      const { damage } = await tidemark.verify()
      await tidemark.close()
      return damage.map(({ key }) => key)
    } catch (error) {
      return [String((error as { details?: { key?: string } }).details?.key)]
    }
  }
})

describe('journal.encrypt', () => {
  test('is refused where the store is not encrypted', async () => {
    const db = new S3db({ connectionString: `memory://encryption-${process.pid}-${count}`, logLevel: 'silent' })
    await db.connect()
    const journal = { directory: join(place, 'journal'), encrypt: true }
    const plugin = new TidemarkPlugin({ store: `file:${place}/store`, journal })
    await expect(db.usePlugin(plugin)).rejects.toMatchObject({ code: 'STORE_NOT_ENCRYPTED' })
    await db.disconnect()
  })
})
