import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { TidemarkError } from '../../src/base/errors.ts'
import { repairStore, verifyDamaged } from '../../src/engine/repair.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { planRepair } from '../../src/upkeep/repair.ts'
import type { Damage } from '../../src/upkeep/verify/inspection.ts'
import { NOBODY } from '../../src/upkeep/verify.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

let home = ''
const database = { current: new ModelDatabase() }
const item = (id: string) => ({ kind: 'record', resource: 'users', id }) as const

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'repair-'))
  database.current = new ModelDatabase()
  for (let i = 0; i < 5; i++) database.current.put(item(`old${i}`), recordImage({ i }))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const url = (): string => `file:${home}/store`
const capture = (): Promise<Tidemark> =>
  Tidemark.capture({ store: url(), journal: `${home}/journal`, source: database.current })

/** Each with a segment of its own. */
async function write(tidemark: Tidemark, ...ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    await database.current.write(item(id), recordImage({ id }))
    await tidemark.flush()
  }
}

async function history(...ids: readonly string[]): Promise<void> {
  const tidemark = await capture()
  await write(tidemark, ...ids)
  await tidemark.close()
}

const filesIn = (directory: string): string[] =>
  readdirSync(`${home}/store/${directory}`, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .sort()

async function idsAt(moment: 'latest' | string = 'latest'): Promise<string[]> {
  const tidemark = await Tidemark.open({ store: url() })
  try {
    const ids: string[] = []
    for await (const batch of tidemark.at(moment).states()) ids.push(...[batch].flat().map(({ id }) => id))
    return ids.sort()
  } finally {
    await tidemark.close()
  }
}

async function damageOf(): Promise<string[]> {
  const tidemark = await Tidemark.open({ store: url() })
  try {
    return (await tidemark.verify()).damage.map(({ code, key }) => `${code} ${key}`)
  } finally {
    await tidemark.close()
  }
}

const get = FilesystemStore.prototype.get
const OLD = ['old0', 'old1', 'old2', 'old3', 'old4']

test('a last generation that is damaged: nothing that the segments have is lost, and its number stays taken', async () => {
  const tidemark = await capture()
  await write(tidemark, 'a', 'b', 'c')
  const [file = ''] = filesIn('timeline').slice(-1)
  await tidemark.close()
  // The commit of `c` was the last before the stream was closed: both are damaged.
  const spoilt = filesIn('timeline').filter((name) => name >= file)
  for (const name of spoilt) truncateSync(name, 0)
  await expect(idsAt()).rejects.toMatchObject({
    code: 'TIMELINE_CORRUPT',
    hint: expect.stringContaining('tidemark repair'),
  })
  const before = filesIn('')
  const shown = await repairStore(url())
  expect(shown).toMatchObject({ isNeeded: true, generation: null, takenOut: [] })
  expect(shown.damaged).toHaveLength(spoilt.length)
  expect(shown.entered).toHaveLength(1)
  expect(filesIn('')).toEqual(before)
  const done = await repairStore(url(), { apply: true })
  expect(done.generation).toBe(Number(spoilt.at(-1)?.match(/(\d+)\.json/)?.[1]) + 1)
  expect(spoilt.map((name) => readFileSync(name).length)).toEqual(spoilt.map(() => 0))
  expect(await damageOf()).toEqual([])
  expect(await idsAt()).toEqual(['a', 'b', 'c', ...OLD])
  await history('d')
  expect(await idsAt()).toEqual(['a', 'b', 'c', 'd', ...OLD])
  expect(await damageOf()).toEqual([])
  expect(await repairStore(url())).toMatchObject({ isNeeded: false })
})

test('a checkpoint that is damaged behind intact changes: they are kept, and what only it had is found in the segments', async () => {
  await history('a', 'b', 'c')
  const [first = ''] = filesIn('timeline')
  writeFileSync(first, readFileSync(first).fill(0x58, 100, 101))
  await repairStore(url(), { apply: true })
  expect(await damageOf()).toEqual([])
  await history('d')
  expect(await idsAt()).toEqual(['a', 'b', 'c', 'd', ...OLD])
})

test('a generation of long ago that is damaged, or missing, is known from then on, and what follows it is verified', async () => {
  for (let n = 0; n < 3; n++) await history(...Array.from({ length: 23 }, (_, i) => `r${n}-${i}`))
  const files = filesIn('timeline')
  expect(files.length).toBeGreaterThan(70) // beyond the second checkpoint
  truncateSync(files[0] ?? '', 0)
  truncateSync(files[20] ?? '', 0)
  rmSync(files[30] ?? '')
  expect(await damageOf()).not.toEqual([])
  const done = await repairStore(url(), { apply: true })
  expect(done).toMatchObject({ isNeeded: true, lost: [], entered: [], takenOut: [] })
  expect(done.damaged.map((key) => `${home}/store/${key}`)).toEqual([files[0], files[20], files[30]])
  expect(await damageOf()).toEqual([])
  expect(await idsAt()).toHaveLength(3 * 23 + OLD.length)
  expect(await repairStore(url())).toMatchObject({ isNeeded: false })
  writeFileSync(files[40] ?? '', 'x')
  expect((await damageOf()).join()).toContain(files[40]?.split('/store/')[1])
})

test('a lost catalogue: it is no empty store, and is made again from the files alone', async () => {
  await history('a', 'b')
  await history('c')
  rmSync(`${home}/store/timeline`, { recursive: true })
  await expect(idsAt()).rejects.toMatchObject({ code: 'TIMELINE_CORRUPT' })
  const done = await repairStore(url(), { apply: true })
  expect(done.generation).toBe(1_000_000_000)
  expect(done.streams).toHaveLength(1)
  expect(await damageOf()).toEqual([])
  // Nobody knows whether the stream goes on: its journal tells, or a person.
  await expect(idsAt()).rejects.toMatchObject({
    code: 'MOMENT_UNREACHABLE',
    hint: expect.stringContaining('stream end'),
  })
  await history('d')
  expect(await idsAt()).toEqual(['a', 'b', 'c', 'd', ...OLD])
})

test('segments that only a lost catalogue named are read several at a time', async () => {
  await history('a', 'b', 'c', 'd', 'e', 'f')
  rmSync(`${home}/store/timeline`, { recursive: true })
  const store = new FilesystemStore(`${home}/store`)
  const get = store.get.bind(store)
  let [now, most] = [0, 0]
  vi.spyOn(store, 'get').mockImplementation(async (key, range) => {
    if (!key.startsWith('segment/')) return get(key, range)
    most = Math.max(most, ++now)
    const bytes = await get(key, range)
    now--
    return bytes
  })
  const plan = await planRepair(store, () => {})
  expect(plan.entered.filter((key) => key.startsWith('segment/'))).toHaveLength(6)
  expect([most > 1, most <= 4]).toEqual([true, true])
})

test('a segment that is missing for good becomes a gap; put back, it is in the history again', async () => {
  await history('a', 'b', 'c')
  const missing = filesIn('segment')[1] ?? ''
  renameSync(missing, `${home}/kept`)
  expect((await damageOf()).join()).toContain(missing.split('/store/')[1])
  const done = await repairStore(url(), { apply: true })
  expect(done.takenOut.map(({ key }) => `${home}/store/${key}`)).toEqual([missing])
  await expect(idsAt()).rejects.toMatchObject({ code: 'HISTORY_GAP' })
  const tidemark = await Tidemark.open({ store: url() })
  const [gap] = await tidemark.gaps()
  expect(gap).toMatchObject({ firstSequence: 2, lastSequence: 2 })
  await tidemark.close()
  renameSync(`${home}/kept`, missing)
  expect(await repairStore(url(), { apply: true })).toMatchObject({ entered: [missing.split('/store/')[1]] })
  expect(await idsAt()).toEqual(['a', 'b', 'c', ...OLD])
  expect(await damageOf()).toEqual([])
})

test('a snapshot that is damaged is taken out, and its moments are restored from the one before', async () => {
  const tidemark = await capture()
  await write(tidemark, 'a')
  await tidemark.snapshot()
  await write(tidemark, 'b')
  await tidemark.close()
  const file = filesIn('snapshot').findLast((name) => name.endsWith('.jsonl.gz')) ?? ''
  const whole = readFileSync(file)
  writeFileSync(file, Buffer.from(whole).fill(0, 40, 41))
  await expect(idsAt()).rejects.toMatchObject({ code: 'SNAPSHOT_CORRUPT' })
  const told: string[] = []
  const onTakenOut = ({ key }: Damage): void => void told.push(key)
  const { takenOut, taken } = await repairStore(url(), { apply: true, onTakenOut })
  expect(takenOut.map(({ key }) => `${home}/store/${key}`)).toEqual([file])
  expect([told, taken]).toEqual([takenOut.map(({ key }) => key), 1])
  expect(await idsAt()).toEqual(['a', 'b', ...OLD])
  // What was taken out is named by nothing any more.
  const damage: string[] = []
  const unreferenced: string[] = []
  const again = await Tidemark.open({ store: url() })
  const found = await again.verify({
    onDamage: ({ key }) => void damage.push(key),
    onUnreferenced: async (key) => void unreferenced.push(key),
  })
  await again.close()
  expect([found.damaged, damage]).toEqual([0, []])
  expect([found.unnamed, found.unreferenced]).toEqual([unreferenced.length, unreferenced])
  expect(unreferenced).toContain(file.slice(`${home}/store/`.length))
})

test('what the store does not let us read is no damage', async () => {
  await history('a', 'b')
  const [file = ''] = filesIn('segment')
  const open = vi.spyOn(FilesystemStore.prototype, 'get').mockImplementation(async function (
    this: FilesystemStore,
    key,
    range,
  ) {
    if (file.endsWith(key)) throw new TidemarkError('STORE_DENIED', 'no', { hint: 'no' })
    return get.call(this, key, range)
  })
  await expect(repairStore(url(), { apply: true })).rejects.toMatchObject({ code: 'STORE_DENIED' })
  open.mockRestore()
})

test('beside a process that captures nothing is committed: it has the catalogue in memory, and commits it by itself', async () => {
  const tidemark = await capture()
  await write(tidemark, 'a')
  const [last = ''] = filesIn('timeline').slice(-1)
  truncateSync(last, 10)
  const before = filesIn('timeline')
  expect(await repairStore(url())).toMatchObject({ isNeeded: true })
  await expect(repairStore(url(), { apply: true })).rejects.toMatchObject({ code: 'STREAM_LIVE' })
  expect(filesIn('timeline')).toEqual(before)
  await write(tidemark, 'b')
  expect(await idsAt()).toEqual(['a', 'b', ...OLD])
  // All that is left to do is to note the damaged file, beside the process.
  expect(await repairStore(url(), { apply: true })).toMatchObject({ lost: [], entered: [], takenOut: [] })
  await write(tidemark, 'c')
  expect(await damageOf()).toEqual([])
  await tidemark.close()
  expect(await idsAt()).toEqual(['a', 'b', 'c', ...OLD])
})

test('of two that repair at once one commits, and the other finds the same, or nothing to do', async () => {
  await history('a', 'b')
  const { length } = filesIn('timeline')
  truncateSync(filesIn('timeline').at(-1) ?? '', 7)
  const both = await Promise.all([repairStore(url(), { apply: true }), repairStore(url(), { apply: true })])
  expect(both.some(({ generation }) => generation !== null)).toBe(true)
  expect(filesIn('timeline')).toHaveLength(length + 1)
  expect(await damageOf()).toEqual([])
})

test('an encrypted store is repaired too, and verify reads on and names what else is damaged', async () => {
  const store = { url: url(), encryption: { key: new Uint8Array(32).fill(7) } }
  const tidemark = await Tidemark.capture({ store, journal: `${home}/journal`, source: database.current })
  await write(tidemark, 'a', 'b')
  await tidemark.close()
  const [last = ''] = filesIn('timeline').slice(-1)
  const [segment = ''] = filesIn('segment')
  for (const file of [last, segment]) {
    const bytes = readFileSync(file)
    bytes[150] = (bytes[150] ?? 0) ^ 1
    writeFileSync(file, bytes)
  }
  const { damage } = await verifyDamaged(store, { memory: 2 ** 27, listeners: NOBODY, noted: null })
  const named = damage.map(({ key }) => `${home}/store/${key}`)
  expect(named).toContain(last)
  expect(named).toContain(segment)
  const done = await repairStore(store, { apply: true })
  expect(done.takenOut.map(({ key }) => `${home}/store/${key}`)).toEqual([segment])
})
