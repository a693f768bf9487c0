import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import type { TidemarkOptions } from '../../src/engine/tidemark-options.ts'
import { decodeKnownStore } from '../../src/format/known-store.ts'
import type { Event } from '../../src/model/event.ts'
import { ulidTime } from '../../src/model/ulid.ts'
import { memoryLogger } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

let home = ''
let open: Tidemark[] = []
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'start-away-'))
  mkdirSync(join(home, 'disk'))
})
afterEach(async () => {
  for (const tidemark of open) await tidemark.close().catch(() => {})
  open = []
  rmSync(home, { recursive: true, force: true })
})

/** The store is on a disk that several places lead to: where one does not, whoever goes by it has no store. */
function mount(place: string): void {
  symlinkSync(join(home, 'disk'), join(home, place))
}

function unmount(place: string): void {
  unlinkSync(join(home, place))
}

/** A start of a process on a machine, which reaches the store by a place of its own, with a journal directory of its own. */
async function start(
  machine: string,
  database: ModelDatabase,
  options: Partial<TidemarkOptions> = {},
  logged: string[] = [],
): Promise<Tidemark> {
  const store = join(home, machine)
  const journal = join(home, `journal of ${machine}`)
  const seal = { ageMs: 600_000 }
  const given = { store, journal, source: database, seal, logger: memoryLogger(logged), ...options }
  const tidemark = await Tidemark.capture(given)
  open.push(tidemark)
  return tidemark
}

function write(database: ModelDatabase, id: string, n: number): Promise<void> {
  return database.write({ kind: 'record', resource: 'r', id }, recordImage({ n }))
}

async function historyOf(tidemark: Tidemark, id: string): Promise<Event[]> {
  const events: Event[] = []
  for await (const event of tidemark.history('r', id)) events.push(event)
  return events
}

function numbers(events: readonly Event[]): number[] {
  return events.map(({ after }) => JSON.parse(Buffer.from(after?.json ?? []).toString()).n)
}

const codeOf = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: { code: string }) => error.code,
  )

test('a stream that is begun without the store comes into it by itself, and flush says that it is not there', async () => {
  mount('a')
  const database = new ModelDatabase()
  await (await start('a', database)).close()
  await write(database, 'x', 0)
  unmount('a')
  const logged: string[] = []
  const tidemark = await start('a', database, {}, logged)
  await write(database, 'x', 1)
  await write(database, 'y', 2)
  await expect(tidemark.flush()).rejects.toMatchObject({
    code: 'STORE_UNAVAILABLE',
    message: expect.stringContaining('safe in the journal'),
  })
  expect(await codeOf(tidemark.baseline())).toBe('STORE_UNAVAILABLE')
  mount('a')
  await tidemark.entered // nobody asks for it
  expect(numbers(await historyOf(tidemark, 'x'))).toEqual([1])
  expect(numbers(await historyOf(tidemark, 'y'))).toEqual([2])
  const { streams, verdict } = await tidemark.status()
  expect([streams.map(({ state }) => state), verdict.verdict]).toEqual([['closed', 'open'], 'yes'])
  expect(logged.join()).toContain('capture begins in the journal')
})

test('what is written as soon as the store is back is not told a second time by who reads what was written before', async () => {
  mount('a')
  const database = new ModelDatabase()
  mount('beside')
  await (await start('a', database)).close()
  // Beside another process whatever is read again and differs from what was stamped is an event.
  const other = new ModelDatabase('model://test', database.items_)
  await start('beside', other, { journal: join(home, 'journal of a') })
  unmount('a')
  const tidemark = await start('a', database)
  const ids = Array.from({ length: 300 }, (_, n) => `x${n}`)
  for (const id of ids) await write(database, id, 1)
  mount('a')
  await tidemark.entered
  await Promise.all(ids.toReversed().map((id) => write(database, id, 2)))
  await tidemark.flush()
  for (const id of [...ids.slice(0, 3), ...ids.slice(-3)]) {
    expect([id, numbers(await historyOf(tidemark, id))]).toEqual([id, [1, 2]])
  }
})

test('moments that others were told of while a process had no store stay as they were, and its events come behind them', async () => {
  mount('a')
  mount('elsewhere')
  const database = new ModelDatabase()
  const first = await start('a', database)
  await write(database, 'x', 0)
  await first.close()
  unmount('a')
  const away = await start('a', database)
  await write(database, 'x', 1)
  await write(database, 'z', 1)
  const logged: string[] = []
  const reader = await Tidemark.open({ store: join(home, 'elsewhere'), logger: memoryLogger(logged) })
  // Another machine knows nothing of it: all streams are closed there, and the present is promised. A second writer goes on.
  const promised = await outOfSight('journal of a', async () => {
    const now = new Date().toISOString()
    expect(await reader.at(now).get('r', 'x')).toMatchObject({ n: 0 })
    const other = await start('elsewhere', new ModelDatabase('model://test', database.items_))
    await other.flush()
    await other.close()
    return now
  })
  await write(database, 'x', 2)
  mount('a')
  await away.flush()
  await write(database, 'x', 3)
  await away.flush()
  const events = await historyOf(away, 'x')
  expect(numbers(events)).toEqual([0, 1, 2, 3])
  expect((await away.status()).streams.flatMap(({ late }) => late ?? []).length).toBe(1)
  expect(ulidTime(events[1]?.stamp.ulid ?? '')).toBeGreaterThanOrEqual(Date.parse(promised))
  expect(await reader.at(promised).get('r', 'x')).toMatchObject({ n: 0 })
  expect(await reader.at(promised).get('r', 'z')).toBe(null)
  expect(await reader.at('latest').get('r', 'x')).toMatchObject({ n: 3 })
  // The journal goes on, although it holds other stamps than the store.
  await away.close()
  const again = await start('a', database)
  await write(database, 'x', 4)
  await again.flush()
  expect(numbers(await historyOf(again, 'x'))).toEqual([0, 1, 2, 3, 4])
  expect((await again.verify()).damage).toEqual([])
  await reader.close()
})

test('what was left by a process that never reached the store comes behind what others were told of, too', async () => {
  mount('a')
  mount('elsewhere')
  const database = new ModelDatabase()
  await (await start('a', database)).close()
  unmount('a')
  const away = await start('a', database)
  for (const n of [1, 2]) await write(database, 'x', n)
  await away.close().catch(() => {}) // the store is away
  const reader = await Tidemark.open({ store: join(home, 'elsewhere'), logger: memoryLogger([]) })
  const promised = await outOfSight('journal of a', async () => {
    const now = new Date().toISOString()
    expect(await reader.at(now).get('r', 'x')).toBe(null)
    return now
  })
  mount('a')
  const again = await start('a', database)
  await write(database, 'x', 3)
  await again.flush()
  const events = await historyOf(again, 'x')
  expect(numbers(events)).toEqual([1, 2, 3])
  expect(ulidTime(events[0]?.stamp.ulid ?? '')).toBeGreaterThanOrEqual(Date.parse(promised))
  expect(await reader.at(promised).get('r', 'x')).toBe(null)
  expect((await again.verify()).damage).toEqual([])
  await reader.close()
})

test('nothing is promised on a machine past what a process beside has captured without the store', async () => {
  mount('a')
  mount('beside')
  const database = new ModelDatabase()
  await (await start('a', database)).close()
  const other = new ModelDatabase('model://test', database.items_)
  // It has the same journal directory, and reaches the store by another way.
  const journal = join(home, 'journal of a')
  const live = await start('beside', other, { journal })
  await live.flush()
  unmount('a')
  await passed()
  const beforeIt = new Date().toISOString()
  await passed()
  const away = await start('a', database)
  await write(database, 'x', 1)
  await write(other, 'x', 2)
  await live.flush()
  const reader = await Tidemark.open({ store: join(home, 'beside'), logger: memoryLogger([]) })
  const asked = new Date().toISOString()
  expect(await reader.reachable(beforeIt)).toMatchObject({ verdict: 'yes' })
  expect(await reader.reachable('latest')).toMatchObject({ verdict: 'no', reason: { code: 'STORE_UNAVAILABLE' } })
  expect(await reader.reachable(asked)).toMatchObject({ verdict: 'no' })
  expect((await reader.status()).streams.map(({ condition }) => condition.state)).toEqual(['idle', 'failing'])
  await write(database, 'x', 3)
  mount('a')
  await away.flush()
  await live.flush()
  expect(await reader.reachable(asked)).toMatchObject({ verdict: 'yes' })
  expect(await reader.at(asked).get('r', 'x')).toMatchObject({ n: 2 })
  const stamps = (await historyOf(reader, 'x')).filter(({ context }) => context.metadata === null)
  expect(numbers(stamps)).toEqual([1, 2, 3])
  expect((await reader.status()).streams.flatMap(({ late }) => late ?? [])).toEqual([])
  await reader.close()
})

test('who brings in what one process left promises nothing past what another beside it still has', async () => {
  mount('a')
  mount('beside')
  const database = new ModelDatabase()
  await (await start('a', database)).close()
  unmount('a')
  const left = await start('a', database)
  await write(database, 'x', 1)
  await left.close().catch(() => {}) // the store is away
  await passed()
  const between = new Date().toISOString()
  await passed()
  const away = await start('a', database)
  await write(database, 'x', 2)
  const reader = await Tidemark.open({ store: join(home, 'beside'), logger: memoryLogger([]) })
  expect(await reader.at(between).get('r', 'x')).toEqual({ n: 1 })
  mount('a')
  await away.flush()
  expect(numbers(await historyOf(away, 'x'))).toEqual([1, 2])
  expect((await away.status()).streams.flatMap(({ late }) => late ?? [])).toEqual([])
  await away.close()
  expect((await reader.status()).streams.map(({ state }) => state)).toEqual(['closed', 'closed', 'closed'])
  await reader.close()
})

test('another store in the place of the known one is never written to: capture stops, and the journal is kept', async () => {
  mount('a')
  const database = new ModelDatabase()
  await (await start('a', database)).close()
  unmount('a')
  const away = await start('a', database)
  await write(database, 'x', 1)
  const foreign = await Tidemark.capture({
    store: join(home, 'foreign'),
    journal: join(home, 'journal of another'),
    source: new ModelDatabase(),
    logger: memoryLogger([]),
  })
  await foreign.close()
  const before = filesUnder(join(home, 'foreign'))
  symlinkSync(join(home, 'foreign'), join(home, 'a'))
  await expect(away.flush()).rejects.toMatchObject({
    code: 'STORE_FOREIGN',
    message: expect.stringContaining('Nothing was written to it'),
  })
  expect(await codeOf(write(database, 'x', 2))).toBe('STORE_FOREIGN')
  expect(await codeOf(away.status())).toBe('STORE_FOREIGN')
  await expect(away.close()).rejects.toMatchObject({ code: 'STORE_FOREIGN' })
  expect(filesUnder(join(home, 'foreign'))).toEqual(before)
  // Where the right one is back, the journal comes in.
  unmount('a')
  mount('a')
  const again = await start('a', database)
  await again.flush()
  expect(numbers(await historyOf(again, 'x'))).toEqual([1])
})

test('an empty place where a store was is no place for a new one', async () => {
  mount('a')
  const database = new ModelDatabase()
  await (await start('a', database)).close()
  unmount('a')
  mkdirSync(join(home, 'a'))
  const away = await start('a', database)
  await write(database, 'x', 1)
  await expect(away.flush()).rejects.toMatchObject({ message: expect.stringContaining('There is no store at') })
  expect(readdirSync(join(home, 'a'))).toEqual([])
  rmSync(join(home, 'a'), { recursive: true })
  mount('a')
  await away.flush()
  expect(numbers(await historyOf(away, 'x'))).toEqual([1])
})

test('without the store an encrypted one is begun with its key alone, in clear by nobody', async () => {
  mount('a')
  const database = new ModelDatabase()
  const store = { url: join(home, 'a'), encryption: { key: new Uint8Array(32).fill(1) } }
  const journal = { directory: join(home, 'journal of a'), encrypt: true }
  await (await start('a', database, { store, journal })).close()
  unmount('a')
  for (const [encryption, code] of [
    [undefined, 'ENCRYPTION_KEY_NEEDED'],
    [{ key: new Uint8Array(32).fill(2) }, 'ENCRYPTION_KEY_WRONG'],
  ] as const) {
    const other = encryption === undefined ? { url: store.url } : { url: store.url, encryption }
    expect(await codeOf(start('a', database, { store: other, journal }))).toBe(code)
  }
  const away = await start('a', database, { store, journal })
  const secret = 'nobody is to read this'
  await database.write({ kind: 'record', resource: 'r', id: 'x' }, recordImage({ secret }))
  for (const file of filesUnder(journal.directory)) expect(readFileSync(file).includes(secret), file).toBe(false)
  mount('a')
  await away.flush()
  expect(await away.at('latest').get('r', 'x')).toEqual({ secret })
})

test('without the store an image is sealed with the key of its record all the same, when it comes', async () => {
  mount('a')
  const database = new ModelDatabase()
  const store = { url: join(home, 'a'), recordKeys: join(home, 'keys') }
  await (await start('a', database, { store })).close()
  unmount('a')
  const away = await start('a', database, { store })
  await write(database, 'x', 1)
  await write(database, 'y', 1)
  await database.write({ kind: 'record', resource: 'r', id: 'y' }, null)
  mount('a')
  await away.flush()
  expect((await historyOf(away, 'y')).length).toBe(2)
  expect(await away.erase('r', 'y', { reason: 'asked for' })).toMatchObject({ mode: 'keys' })
  expect(await away.at('latest').get('r', 'x')).toEqual({ n: 1 })
  expect(await historyOf(away, 'y')).toEqual([])
})

test('a start that would need the store says so where it has no journal to begin in', async () => {
  const { server, endpoint } = await nobodyAt()
  const credentials = { accessKeyId: 'a', secretAccessKey: 'b' }
  const store = { url: 's3://bucket/store', endpoint, region: 'us-east-1', credentials }
  for (const ack of ['store', 'memory'] as const) {
    await expect(start('a', new ModelDatabase(), { store, ack })).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: expect.stringContaining(`with ack: '${ack}' there is no journal on a disk to begin in`),
    })
  }
  server.close()
})

test('a stream that never reached the store, whose journal cannot be read, ends as a loss', async () => {
  mount('a')
  const database = new ModelDatabase()
  await (await start('a', database)).close()
  unmount('a')
  const away = await start('a', database)
  await write(database, 'x', 1)
  await away.close().catch(() => {}) // the store is away
  mount('a')
  const directory = join(home, 'journal of a')
  const entry = filesUnder(directory).find((file) => file.endsWith('entry.json')) ?? ''
  const journal = join(dirname(entry), '00000001.journal')
  const bytes = readFileSync(journal)
  bytes.fill(0xff, 0, 600)
  writeFileSync(journal, bytes)
  const reader = await Tidemark.open({ store: join(home, 'a'), logger: memoryLogger([]) })
  await expect(reader.reachable('latest')).rejects.toMatchObject({ code: 'JOURNAL_CORRUPT' })
  const loss = await reader.endStream({ stream: basename(dirname(entry)), reason: 'its disk broke', name: 'anna' })
  expect(loss).toMatchObject({ cause: 'ended', firstSequence: 1 })
  const { streams, gaps } = await reader.status()
  expect([streams.map(({ state }) => state), gaps.length]).toEqual([['closed', 'closed'], 1])
  await reader.close()
})

test('what is noted of a store is for one place and one database, and as good as nothing where it is damaged', async () => {
  mount('a')
  const database = new ModelDatabase()
  await (await start('a', database)).close()
  const [id = ''] = readdirSync(join(home, 'journal of a'))
  unmount('a')
  const here = join(home, 'journal of a')
  expect(await codeOf(start('a', new ModelDatabase('model://other')))).toBe('STORE_FOREIGN')
  const known = join(here, id, 'store.json')
  const bytes = readFileSync(known)
  writeFileSync(known, bytes.subarray(0, 100))
  mkdirSync(join(home, 'a'))
  // Nothing is known: it is a first start, which makes a store.
  await (await start('a', database)).close()
  expect(readdirSync(join(home, 'a'))).toContain('tidemark.json')
  // That is what is known from now on.
  writeFileSync(known, bytes)
  await (await start('a', database)).close()
  const notes = filesUnder(here).filter((file) => file.endsWith('store.json'))
  const places = notes.map((file) => decodeKnownStore(readFileSync(file))?.locations)
  expect(places.filter((some) => some?.length !== 0)).toEqual([[`file:${join(home, 'a')}`]])
})

/** A millisecond is over. */
const passed = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 2))

/** Does something while nobody can see a directory, as on another machine. */
async function outOfSight<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const path = join(home, directory)
  renameSync(path, `${path} elsewhere`)
  try {
    return await work()
  } finally {
    renameSync(`${path} elsewhere`, path)
  }
}

function filesUnder(directory: string): string[] {
  const found = readdirSync(directory, { recursive: true, withFileTypes: true })
  return found
    .filter((one) => one.isFile())
    .map((one) => join(one.parentPath, one.name))
    .sort()
}

/** An address at which nobody answers. */
async function nobodyAt(): Promise<{ server: Server; endpoint: string }> {
  const server = createServer((socket) => socket.destroy())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { server, endpoint: `http://127.0.0.1:${address.port}` }
}
