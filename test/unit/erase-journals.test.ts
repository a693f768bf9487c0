import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Tidemark } from '../../src/engine/tidemark.ts'
import type { Image, Item } from '../../src/model/event.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

let home = ''
const database = { current: new ModelDatabase() }
const user = (id: string) => ({ kind: 'record', resource: 'users', id }) as const
const url = (): string => `file:${home}/store`

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'erase-journals-'))
  database.current = new ModelDatabase()
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const capture = (ack: 'journal' | 'store' = 'journal'): Promise<Tidemark> =>
  Tidemark.capture({ store: url(), journal: `${home}/journal`, source: database.current, ack })

/** A person who was there, and is deleted in the database. */
async function person(tidemark: Tidemark): Promise<void> {
  await database.current.write(user('jane'), recordImage({ name: 'JANE-DOE-PERSONAL' }))
  await database.current.write(user('other'), recordImage({ name: 'other' }))
  await tidemark.flush()
  await database.current.write(user('jane'), null)
  await tidemark.flush()
}

/** Files that hold the person: what the segments compress is looked for by `verify` and by reading. */
function holding(): string[] {
  return readdirSync(home, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .filter((path) => readFileSync(path).includes('JANE-DOE-PERSONAL'))
}

test('a record that is erased where it was captured is in no journal any more, and capture goes on', async () => {
  const tidemark = await capture()
  await person(tidemark)
  expect(holding().join()).toMatch(/\.journal/)
  const { journals } = await tidemark.erase('users', 'jane', { reason: 'asked' })
  expect(journals).toMatchObject({ rewritten: [expect.any(String)], left: [] })
  expect(holding()).toEqual([])
  await database.current.write(user('later'), recordImage({ n: 1 }))
  await tidemark.close()
  const again = await capture()
  expect(await again.at('latest').get('users', 'later')).toMatchObject({ n: 1 })
  expect((await again.verify()).damage).toEqual([])
  await again.close()
})

test('writes that go on meanwhile lose nothing, and keep nothing of the record', async () => {
  const tidemark = await capture()
  await person(tidemark)
  let isOver = false
  let count = 0
  const writing = (async () => {
    while (!isOver) {
      await Promise.all(
        Array.from({ length: 5 }, (_, i) => database.current.write(user(`w${i}`), recordImage({ n: count }))),
      )
      count++
    }
  })()
  const { journals } = await tidemark.erase('users', 'jane', { reason: 'asked' })
  isOver = true
  await writing
  expect(journals?.left).toEqual([])
  expect(holding()).toEqual([])
  await tidemark.flush()
  for (let i = 0; i < 5; i++) expect(await tidemark.at('latest').get('users', `w${i}`)).toMatchObject({ n: count - 1 })
  await tidemark.close()
})

test.each(['journal', 'store'] as const)(
  'ack %s: the journal of a stream that was closed is rewritten too',
  async (ack) => {
    const tidemark = await capture(ack)
    await person(tidemark)
    await tidemark.close()
    expect(holding()).not.toEqual([])
    const reader = await Tidemark.open({ store: url() })
    const { journals } = await reader.erase('users', 'jane', { reason: 'asked' })
    await reader.close()
    expect(journals).toMatchObject({ rewritten: [expect.any(String)], left: [] })
    expect(holding()).toEqual([])
    const again = await capture(ack)
    await database.current.write(user('later'), recordImage({ n: 1 }))
    await again.flush()
    expect(await again.at('latest').get('users', 'later')).toMatchObject({ n: 1 })
    expect((await again.verify()).damage).toEqual([])
    await again.close()
  },
)

/** A database that refuses writes of one record, after it was read. */
class RefusingDatabase extends ModelDatabase {
  override put(item: Item, image: Image | null): void {
    if (item.id === 'jane') throw new Error('refused')
    super.put(item, image)
  }
}

test('a write that came to nothing has its record in a journal of which no segment tells', async () => {
  const tidemark = await capture()
  await database.current.write(user('jane'), recordImage({ name: 'JANE-DOE-PERSONAL' }))
  await tidemark.flush()
  const refusing = new RefusingDatabase(database.current.identity, database.current.items_)
  const beside = await Tidemark.capture({ store: url(), journal: `${home}/journal`, source: refusing })
  await expect(refusing.write(user('jane'), recordImage({ name: 'JANE-DOE-PERSONAL, too' }))).rejects.toThrow('refused')
  await database.current.write(user('jane'), null)
  await tidemark.flush()
  await beside.close()
  const { journals } = await tidemark.erase('users', 'jane', { reason: 'asked' })
  expect(journals?.left).toEqual([])
  expect(holding()).toEqual([])
  await tidemark.close()
})

test('another process that captures is asked to forget it', async () => {
  const tidemark = await capture()
  await person(tidemark)
  const reader = await Tidemark.open({ store: url() })
  const { journals } = await reader.erase('users', 'jane', { reason: 'asked' })
  await reader.close()
  expect(journals?.left).toEqual([])
  expect(holding()).toEqual([])
  await tidemark.close()
})

test('a journal that cannot be reached is named', async () => {
  const tidemark = await capture()
  await person(tidemark)
  await tidemark.close()
  renameSync(`${home}/journal`, `${home}/elsewhere`)
  const reader = await Tidemark.open({ store: url() })
  const { journals, entry } = await reader.erase('users', 'jane', { reason: 'asked' })
  await reader.close()
  expect(entry?.events).toBe(2)
  expect(journals).toMatchObject({
    rewritten: [],
    left: [{ path: expect.stringContaining(`${home}/journal/`), why: expect.stringContaining('not here') }],
  })
})
