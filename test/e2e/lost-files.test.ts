import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { S3db } from 's3db.js/lite'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { Tidemark } from '../../src/index.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'

const home = mkdtempSync(join(tmpdir(), 'lost-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

let count = 0
let path = ''

/** A history of two records, written by a process that has ended. */
beforeEach(async () => {
  path = join(home, `${++count}`)
  const db = new S3db({ connectionString: `file://${path}/db`, logLevel: 'silent' })
  await db.connect()
  const tidemark = new TidemarkPlugin({ store: `file:${path}/store`, journal: join(path, 'journal') })
  await db.usePlugin(tidemark)
  const notes = await db.createResource({ name: 'notes', attributes: { id: 'string|optional', n: 'number' } })
  await notes.insert({ id: 'a', n: 1 })
  await tidemark.flush()
  await notes.insert({ id: 'b', n: 2 })
  await db.disconnect()
})

const read = (): Promise<Tidemark> => Tidemark.open({ store: `file:${path}/store` })

/** The files of a part of the store, in the order of their names. */
function filesOf(part: string): string[] {
  const names = readdirSync(join(path, 'store', part), { recursive: true, encoding: 'utf8', withFileTypes: true })
  return names
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .sort()
}

describe('a file that the timeline names and that is missing', () => {
  it.each([
    ['segment', 'SEGMENT_CORRUPT'],
    ['snapshot', 'SNAPSHOT_CORRUPT'],
  ])('%s: is damage, and leads to the repair', async (part, code) => {
    for (const file of filesOf(part)) rmSync(file)
    const missing = { code, category: 'corrupt', hint: expect.stringContaining('tidemark repair') }
    const store = await read()
    await expect(store.restoreAt('latest', { target: join(path, 'out') })).rejects.toMatchObject(missing)
    expect((await store.verify()).damage).toContainEqual(expect.objectContaining({ code }))
  })
})

describe('the store file', () => {
  it.each<[string, (file: string) => void, string]>([
    ['lost', (file) => rmSync(file), 'is lost'],
    ['damaged', (file) => writeFileSync(file, ''), 'is not a store file'],
  ])(
    '%s: the store is not taken for none, and the file is put back from beside the journals',
    async (_, harm, told) => {
      const file = join(path, 'store', 'tidemark.json')
      const bytes = readFileSync(file, 'utf8')
      harm(file)
      await expect(read()).rejects.toMatchObject({
        code: 'TIMELINE_CORRUPT',
        message: expect.stringContaining(told),
        hint: expect.stringContaining('jq -j .store'),
      })
      const [id = ''] = readdirSync(join(path, 'journal'))
      const known = JSON.parse(readFileSync(join(path, 'journal', id, 'store.json'), 'utf8'))
      expect(known.store).toBe(bytes)
      writeFileSync(file, known.store)
      expect(await (await read()).at('latest').get('notes', 'b')).toMatchObject({ n: 2 })
    },
  )
})

describe('a store that was set back', () => {
  it('a reader beside the journal tells what was in it: latest is no older state', async () => {
    // What it was before the last commit, as from a copy, or because that file is lost.
    rmSync(filesOf('timeline').at(-1) ?? '')
    const store = await read()
    await expect(store.at('latest').get('notes', 'b')).rejects.toMatchObject({ code: 'HISTORY_GAP' })
    expect(await store.reachable('latest')).toMatchObject({ verdict: 'except' })
    expect((await store.gaps())[0]).toMatchObject({ acknowledged: null })
  })

  it('and where no journal is at hand nothing is told for certain either', async () => {
    cpSync(join(path, 'journal'), join(path, 'elsewhere'), { recursive: true })
    rmSync(join(path, 'journal'), { recursive: true })
    rmSync(filesOf('timeline').at(-1) ?? '')
    await expect((await read()).at('latest').get('notes', 'b')).rejects.toMatchObject({ code: 'MOMENT_UNREACHABLE' })
  })
})
