import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'fencing-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

function capture(source: ModelDatabase, journal: string): Promise<Tidemark> {
  return Tidemark.capture({ store: `file:${directory}/store`, source, journal: `${directory}/${journal}` })
}

async function write(database: ModelDatabase, id: string, value: number): Promise<void> {
  await database.write({ kind: 'record', resource: 'r', id }, recordImage({ id, value }))
}

/** Copies the journals as an image of a container is copied: with the locks of processes that are not there any more. */
function copyJournals(from: string, to: string): void {
  const filter = (name: string): boolean => !basename(name).startsWith('door.')
  cpSync(join(directory, from), join(directory, to), { recursive: true, filter })
  for (const name of readdirSync(join(directory, to), { recursive: true, encoding: 'utf8' })) {
    const path = join(directory, to, name)
    if (!/(^|\/)lock\.\d+$/.test(name)) continue
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), pid: 2 ** 22 + 1, started: 1 }))
  }
}

/** Every file of the store with its bytes: what nobody may overwrite. */
function files(): Map<string, string> {
  const root = join(directory, 'store')
  const names = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return new Map(
    names.map((entry) => [join(entry.parentPath, entry.name), readFileSync(join(entry.parentPath, entry.name), 'hex')]),
  )
}

async function values(tidemark: Tidemark): Promise<string[]> {
  const found: string[] = []
  for await (const { id, image } of tidemark.at('latest').states())
    found.push(`${id} ${Buffer.from(image.json).toString()}`)
  return found
}

test('of a process and one with a copy of its journal, the one that slept is refused, and nothing is overwritten', async () => {
  const [one, two] = [new ModelDatabase(), new ModelDatabase()]
  const first = await capture(one, 'journal')
  await write(one, 'a', 1)
  await first.flush()
  copyJournals('journal', 'copy')
  const second = await capture(two, 'copy')
  await write(two, 'a', 2)
  await second.flush()
  const before = files()
  await write(one, 'a', 3)
  await expect(first.flush()).rejects.toMatchObject({ code: 'STREAM_FENCED' })
  await expect(first.flush()).rejects.toMatchObject({ code: 'STREAM_FENCED' })
  for (const [name, bytes] of before) expect(files().get(name)).toBe(bytes)
  await write(two, 'b', 4)
  await second.flush()
  const verdict = await second.verify()
  expect(verdict.damage).toEqual([])
  expect(await values(second)).toEqual(['a {"id":"a","value":2}', 'b {"id":"b","value":4}'])
  await first.close().catch((error: unknown) => expect(error).toMatchObject({ code: 'STREAM_FENCED' }))
  await second.close()
})

test('a fenced process refuses writes before they touch the database, once its own sealing has found it out', async () => {
  const [one, two] = [new ModelDatabase(), new ModelDatabase()]
  const store = `file:${directory}/store`
  const first = await Tidemark.capture({ store, source: one, journal: `${directory}/journal`, seal: { ageMs: 20 } })
  await write(one, 'a', 1)
  await first.flush()
  copyJournals('journal', 'copy')
  const second = await capture(two, 'copy')
  await write(two, 'a', 2)
  await second.flush()
  await write(one, 'a', 3)
  const item = { kind: 'record', resource: 'r', id: 'late' } as const
  await expect
    .poll(() => database(() => one.write(item, recordImage({ id: 'late' }))), { timeout: 10_000, interval: 50 })
    .toBe('STREAM_FENCED')
  const late = await one.read(item)
  await expect(one.write(item, recordImage({ id: 'late', again: true }))).rejects.toMatchObject({
    code: 'STREAM_FENCED',
  })
  expect(await one.read(item)).toEqual(late)
  await first.close().catch((error: unknown) => expect(error).toMatchObject({ code: 'STREAM_FENCED' }))
  await second.close()
})

async function database(act: () => Promise<void>): Promise<string> {
  try {
    await act()
    return 'written'
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error)
  }
}

test('a journal whose copy was written to elsewhere is refused at its next start, whichever is ahead', async () => {
  for (const mine of [1, 3]) {
    const [one, two] = [new ModelDatabase(), new ModelDatabase()]
    const first = await capture(one, 'journal')
    await write(one, 'a', 1)
    await first.flush()
    copyJournals('journal', 'copy')
    for (let i = 0; i < mine; i++) await write(one, 'mine', i)
    copyJournals('journal', 'crashed')
    const second = await capture(two, 'copy')
    await write(two, 'theirs', 1)
    await write(two, 'theirs', 2)
    await second.close()
    const before = files()
    const again = capture(one, 'crashed')
    await expect(again).rejects.toMatchObject({ category: expect.stringMatching(/conflict|corrupt/) })
    expect(files()).toEqual(before)
    await first.close().catch((error: unknown) => expect(error).toMatchObject({ code: 'STREAM_FENCED' }))
    rmSync(directory, { recursive: true, force: true })
  }
})
