import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runInNewContext } from 'node:vm'
import { S3db } from 's3db.js/lite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Tidemark, TidemarkError } from '../../src/index.ts'
import { TidemarkPlugin, type TidemarkPluginOptions } from '../../src/s3db/plugin.ts'

const directory = mkdtempSync(join(tmpdir(), 'bad-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))
let count = 0

async function database(): Promise<S3db> {
  const db = new S3db({ connectionString: `memory://bad-${process.pid}-${++count}`, logLevel: 'silent' })
  await db.connect()
  return db
}

async function attach(db: S3db, options: TidemarkPluginOptions): Promise<TidemarkPlugin> {
  const tidemark = new TidemarkPlugin({ journal: join(directory, `journal-${++count}`), ...options })
  await db.usePlugin(tidemark)
  return tidemark
}

/** Fails with a TidemarkError that a person can act on, and returns it. */
async function refusal(work: () => unknown): Promise<TidemarkError> {
  try {
    await work()
  } catch (error) {
    expect(error).toBeInstanceOf(TidemarkError)
    if (!(error instanceof TidemarkError)) throw error
    expect(error.hint.length).toBeGreaterThan(10)
    expect(error.message.length).toBeGreaterThan(10)
    return error
  }
  throw new Error('it was not refused')
}

describe('options', () => {
  it('that do not exist, or have no such value, are refused by name', async () => {
    const store = `file:${directory}/never`
    const cases: [object, string][] = [
      [{ store, retention: 5 }, 'retention'],
      [{ store, ack: 'disk' }, 'ack'],
      [{ store, seal: { age: 5 } }, 'age'],
      [{ store, seal: { events: 0 } }, 'events'],
      [{ store, memory: -1 }, 'memory'],
      [{ store, journal: '' }, 'journal'],
      [{ store: { url: store, bucket: 'x' } }, 'bucket'],
      [{ store: 'ftp://x' }, 'ftp'],
      [{}, 'A store must be given'],
      [{ store, pluginStorage: 'yes' }, 'pluginStorage'],
    ]
    for (const [options, named] of cases) {
      // Where they are typed, and not only when the database connects.
      const typed = await refusal(async () => new TidemarkPlugin(options as TidemarkPluginOptions))
      expect(`${typed.code} ${typed.message} ${typed.hint}`).toContain(named)
      const db = await database()
      const error = await refusal(() => attach(db, options as TidemarkPluginOptions))
      expect(error.code).toBe('OPTION_INVALID')
      expect(`${error.message} ${error.hint}`).toContain(named)
      await db.disconnect()
    }
    expect(readdirSync(directory)).not.toContain('never')
  })

  it('of a restore that do not exist are refused, and nothing is written', async () => {
    const db = await database()
    const tidemark = await attach(db, { store: `file:${directory}/r` })
    const unknown = { target: `file:${directory}/out`, verify: true } as { target: string }
    expect((await refusal(() => tidemark.restoreAt('latest', unknown))).code).toBe('OPTION_INVALID')
    expect(
      (await refusal(() => tidemark.restoreAt('latest', { target: `file:${directory}/out`, ids: ['a'] }))).code,
    ).toBe('OPTION_INVALID')
    for (const options of [
      {},
      undefined,
      'file:./out',
      { target: 5 },
      { target: {} },
      { target: null },
      { target: `file:${directory}/out`, resources: 'notes' },
      { target: `file:${directory}/out`, resources: ['notes'], ids: [5] },
      { target: `file:${directory}/out`, resources: [] },
      { target: `file:${directory}/out`, resources: [''] },
      { target: `file:${directory}/out`, resources: ['notes'], ids: [] },
      { target: `file:${directory}/out`, overwrite: 'yes' },
      { target: `file:${directory}/out`, dryRun: 1 },
      { target: `file:${directory}/out`, onProgress: true },
    ]) {
      const given = options as { target: string }
      expect((await refusal(() => tidemark.restoreAt('latest', given))).code).toBe('OPTION_INVALID')
    }
    const none = await refusal(() => tidemark.restoreAt('latest', {} as { target: string }))
    expect(none.hint).toContain('live, a connected S3db, a connection string')
    expect((await refusal(() => tidemark.restoreAt('latest', { target: 'live' }))).code).toBe('CONFIRMATION_NEEDED')
    expect(
      (await refusal(() => tidemark.restoreAt('latest', { target: `file:${directory}/out`, resources: ['nope'] })))
        .code,
    ).toBe('RESOURCE_NOT_FOUND')
    expect(readdirSync(directory)).not.toContain('out')
    await db.disconnect()
  })
})

describe('names', () => {
  let db: S3db
  let tidemark: TidemarkPlugin
  beforeAll(async () => {
    db = await database()
    tidemark = await attach(db, { store: `file:${directory}/names` })
    const notes = await db.createResource({ name: 'notes', attributes: { id: 'string|optional', n: 'number' } })
    await notes.insert({ id: 'a', n: 1 })
    await tidemark.flush()
  })
  afterAll(() => db.disconnect())

  it('a resource that never was is not taken for a record that was not there', async () => {
    const error = await refusal(() => tidemark.at('latest').get('note', 'a'))
    expect(error).toMatchObject({ code: 'RESOURCE_NOT_FOUND', hint: expect.stringContaining('Did you mean notes?') })
    expect(await tidemark.at('latest').get('notes', 'b')).toBeNull()
  })

  it('a record of a resource that was made later is null', async () => {
    const before = Date.now()
    await new Promise((resolve) => setTimeout(resolve, 5))
    const later = await db.createResource({ name: 'later', attributes: { id: 'string|optional', n: 'number' } })
    await later.insert({ id: 'a', n: 1 })
    await tidemark.flush()
    expect(await tidemark.at(before).get('later', 'a')).toBeNull()
  })

  it('what is no text is refused, and no name of its own makes', async () => {
    const view = tidemark.at('latest')
    const none = undefined as unknown as string
    const all = async (found: AsyncIterable<unknown>): Promise<void> => {
      for await (const _ of found);
    }
    for (const work of [
      () => view.get(none, 'a'),
      () => view.get('notes', none),
      () => view.count(none),
      () => all(view.list(none)),
      () => all(tidemark.history(none, 'a')),
      () => all(tidemark.history('notes', none)),
    ]) {
      expect((await refusal(work)).code).toBe('OPTION_INVALID')
    }
  })

  it('an empty list of resources, or an empty name, is no all-clear of a comparison', async () => {
    for (const resources of [[], [''], ['notes', '']])
      expect((await refusal(() => tidemark.reconcile({ resources }))).code).toBe('OPTION_INVALID')
  })

  it('a database without a path is not the one that s3db.js would choose', async () => {
    for (const target of ['file://', 'file:///'])
      expect((await refusal(() => tidemark.restoreAt('latest', { target }))).code).toBe('TARGET_INVALID')
  })

  it('a database that cannot be opened is told with what is at the bottom of it', async () => {
    const target = 'http://key:secret@127.0.0.1:1/bucket/prefix'
    const error = await refusal(() => tidemark.restoreAt('latest', { target }))
    expect(error.code).toBe('TARGET_INVALID')
    expect(error.message).not.toContain('Unknown error')
  })

  it('a journal that cannot be, because something above it is a file, is told as that', async () => {
    writeFileSync(join(directory, 'a-file'), '')
    const other = await database()
    const options = { store: `file:${directory}/unmade`, journal: join(directory, 'a-file', 'journal') }
    expect((await refusal(() => attach(other, options))).code).toBe('JOURNAL_DENIED')
    await other.disconnect()
  })

  it('an attribution that cannot be kept is refused before the write', async () => {
    const circle: { self?: object } = {}
    circle.self = circle
    for (const attribution of [
      { actr: 'x' },
      { actor: 5 },
      { tx: '' },
      { actor: '\ud800' },
      { meta: circle },
      { meta: { n: 1n } },
      null,
    ]) {
      const write = (): unknown => tidemark.as(attribution as { actor: string }, () => db.resources.notes?.delete('a'))
      expect((await refusal(write)).code).toBe('OPTION_INVALID')
    }
    expect((await refusal(() => tidemark.as({ actor: 'x' }, undefined as unknown as () => void))).code).toBe(
      'OPTION_INVALID',
    )
    expect(await tidemark.at('latest').get('notes', 'a')).toMatchObject({ n: 1 })
  })
})

describe('secrets', () => {
  it('that a key service does not give are told as that', async () => {
    const db = await database()
    const passphrase = async (): Promise<string> => {
      throw new Error('the vault is sealed')
    }
    const error = await refusal(() =>
      attach(db, { store: { url: `file:${directory}/vault`, encryption: { passphrase } } }),
    )
    expect(error.code).toBe('ENCRYPTION_KEY_NEEDED')
    expect(error.message).toContain('the vault is sealed')
    await db.disconnect()
  })
})

describe('moments', () => {
  let db: S3db
  let tidemark: TidemarkPlugin
  beforeAll(async () => {
    db = await database()
    tidemark = await attach(db, { store: `file:${directory}/moments` })
    const notes = await db.createResource({ name: 'notes', attributes: { id: 'string|optional', n: 'number' } })
    await notes.insert({ id: 'a', n: 1 })
    await tidemark.flush()
    // What is reachable of a single millisecond has no times that could be named.
    await new Promise((resolve) => setTimeout(resolve, 5))
    await notes.insert({ id: 'b', n: 1 })
    await tidemark.flush()
  })
  afterAll(() => db.disconnect())

  it.each([
    'yesterday',
    '2026-11-19',
    '2026-11-19T02:46:59',
    '2026-13-45T02:46:59Z',
    '2026-11-19T02:46:59.123456Z',
    '',
    'before:x',
    // What is on no calendar would be another day.
    '2026-02-30T00:00:00Z',
    '2026-02-29T12:00:00Z',
    '2026-04-31T12:00:00Z',
    '2026-00-10T12:00:00Z',
    '2026-02-28T24:00:00Z',
    '2026-02-28T23:59:60Z',
    '2026-02-28T23:60:00Z',
    '2026-02-28T12:00:00+24:00',
    '2026-02-28T12:00:00+02:60',
    '1764338162123456',
  ])('%s is no moment', async (moment) => {
    expect((await refusal(() => tidemark.at(moment).get('notes', 'a'))).code).toBe('MOMENT_INVALID')
  })

  it.each<[string, unknown]>([
    ['an object without an event', { before: 'xyz' }],
    ['an object with more', { before: '01ARZ3NDEKTSV4RRFFQ69G5FAV', after: 1 }],
    ['an object that is none', { at: 5 }],
    ['a list', ['latest']],
    ['a symbol', Symbol('x')],
    ['a BigInt', 1764338162123n],
    ['nothing', undefined],
    ['null', null],
    ['no number', Number.NaN],
    ['a date that is none', new Date('x')],
  ])('%s is refused as no moment, and named', async (_, given) => {
    const moment = given as string
    for (const ask of [
      () => tidemark.at(moment).get('notes', 'a'),
      () => tidemark.reachable(moment),
      () => tidemark.restoreAt(moment, { target: `file:${directory}/none` }),
    ])
      expect((await refusal(ask)).code).toBe('MOMENT_INVALID')
  })

  it('the same in any realm, and digits as text are epoch milliseconds', async () => {
    const ms = Date.now()
    await new Promise((resolve) => setTimeout(resolve, 2))
    for (const moment of [ms, String(ms), runInNewContext(`new Date(${ms})`), new Date(ms)])
      expect((await tidemark.reachable(moment)).moment.time).toBe(new Date(ms).toISOString())
  })

  it('leap days exist in leap years', async () => {
    for (const year of [1996, 2000, 2024]) {
      const error = await refusal(() => tidemark.at(`${year}-02-29T12:00:00Z`).get('notes', 'a'))
      expect(error.code).toBe('MOMENT_UNREACHABLE')
    }
    expect((await refusal(() => tidemark.at('2100-02-29T12:00:00Z').get('notes', 'a'))).message).toContain('28 days')
  })

  it('one that is yet to come is said to be, whoever writes', async () => {
    const error = await refusal(() => tidemark.at(Date.now() + 3_600_000).get('notes', 'a'))
    expect(error.message).toContain('in the future')
    expect(error.hint).not.toContain('Close the writing process')
  })

  it('one in seconds is told as milliseconds', async () => {
    const seconds = Math.floor(Date.now() / 1000)
    for (const moment of [seconds, String(seconds)]) {
      const error = await refusal(() => tidemark.at(moment).get('notes', 'a'))
      expect(error.code).toBe('MOMENT_UNREACHABLE')
      expect(error.hint).toContain(`${seconds}000`)
    }
  })

  it.each([
    ['before the history begins', '2001-01-01T00:00:00Z'],
    ['in the future', new Date(Date.now() + 3_600_000)],
    ['an event that never was', '01ARZ3NDEKTSV4RRFFQ69G5FAV'],
  ])('%s cannot be reached; the error names what can', async (_, moment) => {
    const error = await refusal(() => tidemark.at(moment).get('notes', 'a'))
    expect(error.code).toBe('MOMENT_UNREACHABLE')
    expect(error.hint).toMatch(/Reachable: \d{4}-.* to \d{4}-/)
  })

  it('an event between two others that never was is named with its neighbours', async () => {
    const [event] = await collect(tidemark.history('notes', 'a'))
    const ulid = event?.stamp.ulid ?? ''
    const other = ulid.slice(0, -1) + (ulid.endsWith('Z') ? 'Y' : 'Z')
    await new Promise((resolve) => setTimeout(resolve, 5))
    const error = await refusal(() => tidemark.at({ before: other }).get('notes', 'a'))
    expect(error.code).toBe('MOMENT_UNREACHABLE')
    expect(error.message).toContain(other)
  })
})

describe('stores', () => {
  it('of another database, or of something else, are left alone', async () => {
    const first = await database()
    await attach(first, { store: `file:${directory}/mine` })
    await first.disconnect()
    const second = await database()
    expect((await refusal(() => attach(second, { store: `file:${directory}/mine` }))).code).toBe('STORE_FOREIGN')
    mkdirSync(join(directory, 'photos'))
    writeFileSync(join(directory, 'photos/cat.jpg'), 'meow')
    expect((await refusal(() => attach(second, { store: `file:${directory}/photos` }))).code).toBe('STORE_FOREIGN')
    expect(readdirSync(join(directory, 'photos'))).toEqual(['cat.jpg'])
    await second.disconnect()
  })

  it('that are not there, or under a file, or not to be written, are named', async () => {
    expect((await refusal(() => Tidemark.open({ store: `file:${directory}/nowhere` }))).code).toBe('STORE_NOT_FOUND')
    writeFileSync(join(directory, 'file'), '')
    const db = await database()
    expect((await refusal(() => attach(db, { store: `file:${directory}/file/store` }))).code).toBe('STORE_NOT_FOUND')
    // The kernel's own tree refuses everybody, root too.
    expect(['STORE_DENIED', 'STORE_NOT_FOUND']).toContain(
      (await refusal(() => attach(db, { store: 'file:/proc/1/store' }))).code,
    )
    await db.disconnect()
  })

  it.skipIf(process.getuid?.() === 0)(
    'without permission are named (not as root, whom nothing is refused)',
    async () => {
      mkdirSync(join(directory, 'locked'), { mode: 0o500 })
      const db = await database()
      expect((await refusal(() => attach(db, { store: `file:${directory}/locked/store` }))).code).toBe('STORE_DENIED')
      expect(
        (await refusal(() => attach(db, { store: `file:${directory}/ok`, journal: `${directory}/locked/j` }))).code,
      ).toBe('JOURNAL_DENIED')
      await db.disconnect()
    },
  )
})

describe('damage', () => {
  it('one flipped byte in any file of the store: verify names that file, and a restore never gives a wrong record', async () => {
    const db = await database()
    const tidemark = await attach(db, { store: `file:${directory}/damaged`, seal: { events: 10 } })
    const notes = await db.createResource({ name: 'notes', attributes: { id: 'string|optional', n: 'number' } })
    for (let n = 0; n < 25; n++) await notes.insert({ id: `n${n % 10}-${n}`, n })
    await tidemark.snapshot()
    await notes.update('n1-1', { n: 100 })
    await db.disconnect()
    const root = join(directory, 'damaged')
    const files = readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
    expect(files.length).toBeGreaterThan(8)
    const good = await records(root)
    for (const path of files) {
      const bytes = readFileSync(path)
      if (statSync(path).size === 0) continue
      const key = path.slice(root.length + 1)
      for (const at of [0, Math.floor(bytes.length / 2), bytes.length - 3]) {
        const bad = Buffer.from(bytes)
        bad[at] = (bad[at] ?? 0) ^ 0x10
        writeFileSync(path, bad)
        const opened = await Tidemark.open({ store: `file:${root}` }).catch((error: TidemarkError) => error)
        if (opened instanceof Tidemark) {
          const { damage } = await opened.verify()
          expect(
            damage.map((one) => one.key),
            `${key} at ${at}`,
          ).toContain(key)
          await opened.close()
        } else expect(opened.details.key, `${key} at ${at}`).toBe(key)
        const read = await records(root).catch((error: TidemarkError) => error.category)
        if (typeof read !== 'string') expect(read).toEqual(good)
        else expect(read).toBe('corrupt')
        writeFileSync(path, bytes)
      }
    }
  })
})

async function records(root: string): Promise<unknown[]> {
  const tidemark = await Tidemark.open({ store: `file:${root}` })
  try {
    return await collect(tidemark.at('latest').list('notes'))
  } finally {
    await tidemark.close()
  }
}

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = []
  for await (const value of values) collected.push(value)
  return collected
}
