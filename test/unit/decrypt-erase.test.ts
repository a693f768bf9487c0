import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { decryptStore } from '../../src/engine/decrypt.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

let home = ''
// A key: to work one out of a passphrase takes half a second, each time that a store is opened.
const store = (): { url: string; encryption: { key: Uint8Array } } => ({
  url: `file:${home}/store`,
  encryption: { key: new Uint8Array(32).fill(7) },
})
const user = (id: string) => ({ kind: 'record', resource: 'users', id }) as const

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'decrypt-'))
  const database = new ModelDatabase()
  const tidemark = await Tidemark.capture({ store: store(), source: database, journal: `${home}/journal` })
  for (const id of ['u0', 'u1', 'u2']) {
    await database.write(user(id), recordImage({ name: `Jane ${id}` }))
    await tidemark.flush()
  }
  await tidemark.snapshot()
  await database.write(user('u1'), null)
  await tidemark.close()
})
afterEach(() => {
  vi.restoreAllMocks()
  rmSync(home, { recursive: true, force: true })
})

async function erase(): Promise<void> {
  const tidemark = await Tidemark.open({ store: store() })
  await tidemark.erase('users', 'u1', { reason: 'asked' })
  await tidemark.close()
}

/** Erases once, when the file of which this says true is first asked for, or the store is first listed. */
function eraseWhen(isTime: (asked: string) => boolean): void {
  const { get, list } = FilesystemStore.prototype
  let isDone = false
  const meanwhile = async (asked: string): Promise<void> => {
    if (isDone || !isTime(asked)) return
    isDone = true
    await erase()
  }
  vi.spyOn(FilesystemStore.prototype, 'get').mockImplementation(async function (this: FilesystemStore, key, range) {
    await meanwhile(key)
    return get.call(this, key, range)
  })
  vi.spyOn(FilesystemStore.prototype, 'list').mockImplementation(async function* (
    this: FilesystemStore,
    prefix,
    options,
  ) {
    if (prefix === '') await meanwhile('list')
    yield* list.call(this, prefix, options)
  })
}

test.each([
  [
    'before the files are listed',
    ((): ((asked: string) => boolean) => {
      let lists = 0
      return (asked) => asked === 'list' && ++lists > 1 // the first one is of the target
    })(),
  ],
  ['while the segments are copied', (asked: string) => asked.startsWith('segment/')],
  ['while the snapshots are copied', (asked: string) => asked.startsWith('snapshot/')],
])('a record that is erased %s is in no file of the copy, which is whole', async (_, isTime) => {
  eraseWhen(isTime)
  await decryptStore(store(), `file:${home}/plain`, {})
  vi.restoreAllMocks()
  const plain = await Tidemark.open({ store: `file:${home}/plain` })
  const { damage, unreferenced } = await plain.verify()
  expect({ damage, unreferenced }).toEqual({ damage: [], unreferenced: [] })
  expect(await plain.at('latest').get('users', 'u0')).toMatchObject({ name: 'Jane u0' })
  await expect(plain.erase('users', 'u1', { reason: 'again' })).rejects.toMatchObject({ code: 'RECORD_NOT_FOUND' })
  await plain.close()
})

test('a copy that misses a file of the timeline is an error, and no store', async () => {
  const [segment = ''] = readdirSync(`${home}/store/segment`, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.parquet'),
  )
  rmSync(`${home}/store/segment/${segment}`)
  await expect(decryptStore(store(), `file:${home}/plain`, {})).rejects.toMatchObject({
    code: 'OBJECT_CORRUPT',
    message: expect.stringContaining(segment),
  })
  expect(() => readFileSync(`${home}/plain/tidemark.json`)).toThrow('ENOENT')
})

test('a decryption that was broken off anywhere is made by the same command, and what is of somebody else is left', async () => {
  const { put } = FilesystemStore.prototype
  let files = 0
  const counted = vi.spyOn(FilesystemStore.prototype, 'put').mockImplementation(function (
    this: FilesystemStore,
    ...args
  ) {
    files++
    return put.apply(this, args)
  })
  await decryptStore(store(), `file:${home}/whole`, {})
  const puts = files
  expect(puts).toBeGreaterThan(5)
  for (let nth = 1; nth <= puts; nth += 3) {
    const target = `file:${home}/plain ${nth}`
    let at = 0
    counted.mockImplementation(function (this: FilesystemStore, ...args) {
      if (++at === nth) throw new Error('killed')
      return put.apply(this, args)
    })
    await expect(decryptStore(store(), target, {})).rejects.toThrow('killed')
    counted.mockImplementation(put)
    await decryptStore(store(), target, {})
    const left = readdirSync(join(home, `plain ${nth}`), { recursive: true }).sort()
    expect(left).toEqual(readdirSync(join(home, 'whole'), { recursive: true }).sort())
    const copy = await Tidemark.open({ store: target })
    expect((await copy.verify()).damage).toEqual([])
    await copy.close()
  }
  // The last one is whole now, and no place to begin anew; nor is one where a file of somebody else came.
  await expect(decryptStore(store(), `file:${home}/plain 1`, {})).rejects.toMatchObject({ code: 'TARGET_NOT_EMPTY' })
  counted.mockImplementation(function (this: FilesystemStore, ...args) {
    if (args[0].startsWith('segment/')) throw new Error('killed')
    return put.apply(this, args)
  })
  await expect(decryptStore(store(), `file:${home}/mixed`, {})).rejects.toThrow('killed')
  counted.mockImplementation(put)
  writeFileSync(join(home, 'mixed/notes.txt'), 'mine')
  await expect(decryptStore(store(), `file:${home}/mixed`, {})).rejects.toMatchObject({ code: 'TARGET_NOT_EMPTY' })
  expect(readFileSync(join(home, 'mixed/notes.txt'), 'utf8')).toBe('mine')
})
