import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

/** A rule of the fold that a test can break: which of two versions stands. */
const broken = vi.hoisted(() => ({ firstWins: false }))
vi.mock('../../src/model/fold.ts', async (original) => {
  const real = await original<typeof import('../../src/model/fold.ts')>()
  return { ...real, currentStands: (order: number) => (broken.firstWins ? order < 0 : real.currentStands(order)) }
})

let directory = ''
let tidemark: Tidemark
const database = { current: new ModelDatabase() }

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'drill-'))
  database.current = new ModelDatabase()
  for (let i = 0; i < 30; i++) await write(`old${i}`, { i })
  tidemark = await Tidemark.capture({
    store: `file:${directory}/store`,
    journal: `${directory}/journal`,
    source: database.current,
    seal: { events: 7 },
    memory: 16_000,
  })
  await tidemark.flush()
})
afterEach(async () => {
  broken.firstWins = false
  await tidemark.close()
  rmSync(directory, { recursive: true, force: true })
})

function write(id: string, value: object | null): Promise<void> {
  return database.current.write({ kind: 'record', resource: 'r:ü', id }, value === null ? null : recordImage(value))
}

/** Inserts, updates, deletes and inserts again, with a snapshot in between. */
async function work(): Promise<void> {
  for (let i = 0; i < 60; i++) {
    await write(`${i % 2 === 0 ? 'old' : 'new'}${i % 11}`, i % 4 === 3 ? null : { i })
    if (i === 30) await tidemark.snapshot()
    if (i % 9 === 0) await new Promise((resolve) => setTimeout(resolve, 3))
  }
  await tidemark.flush()
}

const proofs = (): string[] => readdirSync(`${directory}/store/drill`)

test('drills at random moments pass, in passes, from another snapshot than the restore, and leave nothing behind', async () => {
  await work()
  mkdirSync(`${directory}/scratch`)
  vi.stubEnv('TMPDIR', `${directory}/scratch`)
  const done = await tidemark.drill({ count: 4, seed: 7 })
  expect(done.map(({ passed, failure, differing }) => [passed, failure, differing])).toEqual(
    done.map(() => [true, null, 0]),
  )
  expect(new Set(done.map(({ moment }) => moment)).size).toBeGreaterThan(1)
  const [last] = await tidemark.drill({ at: 'latest' })
  expect(last?.seed).toBeNull()
  expect(last?.plan.reckonedFrom).not.toBe(last?.plan.snapshot)
  const live = [...database.current.items_.values()].length
  expect(last?.resources).toMatchObject([{ resource: 'r:ü', items: live }])
  expect(proofs()).toHaveLength(5)
  // The space in which a store that is open merges in passes is kept.
  expect(readdirSync(`${directory}/scratch`).length).toBeLessThanOrEqual(1)
  vi.unstubAllEnvs()
  expect((await tidemark.status()).drill).toMatchObject({ passed: true, moment: expect.stringMatching(/Z$/) })
  const again = await tidemark.drill({ count: 1, seed: 7 })
  // The end of what can be restored has moved on meanwhile, and with it the moment at the same share of it.
  expect(again[0]?.seed).toBe(7)
  expect((await tidemark.verify()).damage).toEqual([])
})

test('the hash of a resource does not depend on the snapshot that it was reckoned from', async () => {
  await work()
  const moment = new Date()
  await new Promise((resolve) => setTimeout(resolve, 5))
  const [before] = await tidemark.drill({ at: moment })
  await tidemark.snapshot()
  await write('old1', { changed: true })
  const [after] = await tidemark.drill({ at: moment })
  const [changed] = await tidemark.drill({ at: 'latest' })
  expect(after?.resources).toEqual(before?.resources)
  expect(changed?.resources[0]?.hash).not.toBe(before?.resources[0]?.hash)
})

test('a flipped byte of a proof is named, and a damaged last proof is told', async () => {
  await work()
  await tidemark.drill()
  const [name] = proofs()
  const path = `${directory}/store/drill/${name}`
  const bytes = readFileSync(path)
  for (const at of [20, 100, bytes.length - 3]) {
    const flipped = Buffer.from(bytes)
    flipped[at] = (flipped[at] ?? 0) ^ 1
    writeFileSync(path, flipped)
    expect((await tidemark.verify()).damage).toMatchObject([{ key: `drill/${name}` }])
    expect((await tidemark.status()).drill).toMatchObject({ passed: null })
  }
})

test('a fold that keeps the wrong version is caught, and the record is named', async () => {
  await work()
  broken.firstWins = true
  const [proof] = await tidemark.drill({ at: 'latest' })
  expect(proof?.passed).toBe(false)
  expect(proof?.differing).toBeGreaterThan(3)
  expect(proof?.differences[0]).toMatchObject({
    resource: 'r:ü',
    kind: 'record',
    id: expect.stringMatching(/^old|^new/),
  })
  // The proof stays when a record is erased: the store has no id of any.
  const stored = readFileSync(`${directory}/store/drill/${proofs().at(-1)}`, 'utf8')
  expect(stored).toContain('"differences":[{"kind":"record"')
  expect(stored).not.toMatch(/old\d|new\d/)
  expect(new Set(proof?.differences.map(({ what }) => what)).size).toBeGreaterThan(1)
  broken.firstWins = false
  expect((await tidemark.status()).drill).toMatchObject({ passed: false })
  expect((await tidemark.drill({ at: 'latest' }))[0]?.passed).toBe(true)
})

test('damage of a segment is a failed drill, and says which file it is', async () => {
  await work()
  const { at } = await tidemark.drill({ at: 'latest' }).then(() => ({ at: new Date() }))
  const root = `${directory}/store/segment`
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.parquet'))
  const path = join(root, files.sort().at(-1) ?? '')
  const bytes = readFileSync(path)
  bytes[Math.floor(bytes.length / 3)] = (bytes[Math.floor(bytes.length / 3)] ?? 0) ^ 4
  writeFileSync(path, bytes)
  const reader = await Tidemark.open({ store: `file:${directory}/store` })
  const [proof] = await reader.drill({ at })
  await reader.close()
  expect(proof).toMatchObject({ passed: false, failure: { code: 'SEGMENT_CORRUPT' } })
  expect(proof?.failure?.message).toContain('segment/')
})

test('drills are done again and again, and one that fails is logged', async () => {
  await work()
  await tidemark.schedule({ drillMs: 5 })
  await vi.waitFor(() => expect(proofs().length).toBeGreaterThan(1), { timeout: 10_000 })
  await tidemark.schedule({})
  const done = proofs().length
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(proofs()).toHaveLength(done)
  expect((await tidemark.status()).drill).toMatchObject({ passed: true })
  const { wrong, lines } = await failingSchedule()
  expect(wrong).toMatch(/items differ, the first is r:ü\//)
  expect(lines.length).toBeGreaterThan(0)
})

/** What a schedule logs while the fold is broken. */
async function failingSchedule(): Promise<{ wrong: string; lines: string[] }> {
  const lines: string[] = []
  const logger = pino({ level: 'error' }, { write: (line: string) => void lines.push(line) })
  const reader = await Tidemark.open({ store: `file:${directory}/store`, logger })
  broken.firstWins = true
  await reader.schedule({ drillMs: 5 })
  await vi.waitFor(() => expect(lines.join('')).toContain('items differ'), { timeout: 10_000 })
  await reader.close()
  broken.firstWins = false
  return { wrong: String(JSON.parse(lines.find((line) => line.includes('differ')) ?? '{}').error), lines }
}

test('options that are none are refused', async () => {
  await expect(tidemark.drill({ count: 0 })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  await expect(tidemark.drill({ seed: -1 })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  await expect(tidemark.drill({ at: 'yesterday' })).rejects.toMatchObject({ code: 'MOMENT_INVALID' })
  await expect(tidemark.drill(JSON.parse('{"dir":"/"}'))).rejects.toMatchObject({ code: 'OPTION_INVALID' })
})

test('a drill reads the history once, however little memory it has', async () => {
  await work()
  await tidemark.close()
  const gets = async (memory: number): Promise<number> => {
    const reader = await Tidemark.open({ store: `file:${directory}/store`, memory })
    const before = (await reader.status()).requests.get
    const [proof] = await reader.drill({ at: 'latest' })
    expect(proof).toMatchObject({ passed: true, differing: 0 })
    const after = (await reader.status()).requests.get
    await reader.close()
    return after - before
  }
  // 400 bytes an item: some forty parts of two rows.
  const [ample, scarce] = [await gets(1e9), await gets(1_000)]
  expect(scarce).toBeLessThanOrEqual(ample + 2)
})
