import { execFileSync } from 'node:child_process'
import {
  chmod,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { FilesystemStore } from '../../../src/store/filesystem.ts'
import { fileError } from '../../../src/store/filesystem-errors.ts'
import { nodeFiles } from '../../../src/store/node-files.ts'
import { fails, keysOf, pattern, streamOf } from '../../../src/testing/objects.ts'

const bytes = utf8('bytes')
let top: string
let root: string
let store: FilesystemStore

beforeEach(async () => {
  top = await mkdtemp(join(tmpdir(), 'tidemark-fs-'))
  root = join(top, 'root')
  store = new FilesystemStore(root)
})

afterEach(() => rm(top, { recursive: true }))

test('touches nothing before the first put', async () => {
  expect(await keysOf(store.list(''))).toEqual([])
  expect(await store.head('a')).toBeNull()
  await store.delete(['a'])
  expect(await readdir(top)).toEqual([])
})

test('keeps files and directories to their owner', async () => {
  await store.put('a/b/c', bytes)
  for (const directory of ['', '.tmp', 'a', 'a/b']) expect((await stat(join(root, directory))).mode & 0o777).toBe(0o700)
  expect((await stat(join(root, 'a/b/c'))).mode & 0o777).toBe(0o600)
})

test('leaves no temporary file behind, whatever becomes of the put', async () => {
  await store.put('a', bytes)
  await store.put('a', bytes)
  await store.put('b', bytes, { ifAbsent: true })
  expect(await fails(store.put('b', bytes, { ifAbsent: true }))).toBe('OBJECT_EXISTS')
  expect(await fails(store.put('a/b', bytes))).toBe('KEY_INVALID')
  await expect(store.put('c', streamOf([bytes], new Error('source')))).rejects.toThrow('source')
  expect(await readdir(join(root, '.tmp'))).toEqual([])
  expect((await stat(join(root, 'b'))).nlink).toBe(1)
})

test('removes temporary files that nobody has written to for a day, and no younger ones', async () => {
  await mkdir(join(root, '.tmp'), { recursive: true })
  for (const name of ['old', 'young']) await writeFile(join(root, '.tmp', name), 'left over')
  const hours = (n: number): Date => new Date(Date.now() - n * 3_600_000)
  await utimes(join(root, '.tmp/old'), hours(25), hours(25))
  await utimes(join(root, '.tmp/young'), hours(23), hours(23))
  expect(await keysOf(store.list(''))).toEqual([])
  await store.put('a', bytes)
  expect(await readdir(join(root, '.tmp'))).toEqual(['young'])
  expect(await keysOf(store.list(''))).toEqual(['a'])
})

test('refuses keys that no file can have', async () => {
  for (const key of ['s'.repeat(256), 'é'.repeat(128), '.tmp/x', '.tmp'])
    expect(await fails(store.put(key, bytes)), key).toBe('KEY_INVALID')
  await store.put('.tmpx/a', bytes)
  expect(await keysOf(store.list('.tmp'))).toEqual(['.tmpx/a'])
})

test('refuses a key that goes on from an object, or that others go on from', async () => {
  await store.put('a/b/c', bytes)
  for (const key of ['a', 'a/b', 'a/b/c/d', 'a/b/c/d/e']) {
    expect(await fails(store.put(key, bytes)), key).toBe('KEY_INVALID')
    expect(await fails(store.put(key, bytes, { ifAbsent: true })), key).toBe('KEY_INVALID')
  }
  expect(await keysOf(store.list(''))).toEqual(['a/b/c'])
})

test('follows no link inside the root, and says so', async () => {
  await store.put('in/object', bytes)
  await mkdir(join(top, 'outside'))
  await writeFile(join(top, 'outside/secret'), 'secret')
  await symlink(join(top, 'outside'), join(root, 'out'))
  await symlink(join(top, 'outside/secret'), join(root, 'in/linked'))
  for (const key of ['out/secret', 'in/linked']) {
    expect(await fails(store.get(key)), key).toBe('STORE_DENIED')
    expect(await fails(store.head(key)), key).toBe('STORE_DENIED')
  }
  expect(await fails(store.put('out/new', bytes))).toBe('STORE_DENIED')
  expect(await fails(store.delete(['out/secret']))).toBe('STORE_DENIED')
  for (const prefix of ['', 'out/', 'in/']) expect(await fails(keysOf(store.list(prefix))), prefix).toBe('STORE_DENIED')
  expect(await readdir(join(top, 'outside'))).toEqual(['secret'])
  expect(await readFile(join(top, 'outside/secret'), 'utf8')).toBe('secret')
})

test('a directory on the way is looked at only where its path is not the one that it has', async () => {
  await mkdir(root)
  await symlink(root, join(top, 'alias'))
  const calls: string[] = []
  const noting = new FilesystemStore(join(top, 'alias'), undefined, {
    ...nodeFiles,
    look: (path) => {
      calls.push(`look ${basename(path)}`)
      return nodeFiles.look(path)
    },
    read: (path, range) => {
      calls.push(`read ${basename(path)}`)
      return nodeFiles.read(path, range)
    },
  })
  await noting.put('a/b/c', bytes)
  calls.length = 0
  expect([...(await noting.get('a/b/c', { start: 1, end: 2 }))]).toEqual([...bytes.subarray(1, 2)])
  expect(calls.splice(0)).toEqual(['read c'])
  // As a file system does that ignores case, and gives the name that the directory was made with.
  await symlink(join(root, 'a'), join(root, 'A'))
  expect(await fails(noting.get('A/b/c', { start: 1, end: 2 }))).toBe('STORE_DENIED')
  expect(calls).toEqual(['look A'])
})

test('a range is read that ends where the file does, behind it, or begins there; of a directory nothing', async () => {
  await store.put('a/b', bytes)
  const { length } = bytes
  expect([...(await store.get('a/b', { start: 0, end: length }))]).toEqual([...bytes])
  expect(await store.get('a/b', { start: length, end: length })).toHaveLength(0)
  for (const [start, end] of [
    [0, length + 1],
    [length, length + 1],
    [length + 1, length + 1],
    [0, 8 * 1024 * 1024],
  ] as const)
    expect(await fails(store.get('a/b', { start, end })), `${start} to ${end}`).toBe('OBJECT_CORRUPT')
  for (const range of [undefined, { start: 0, end: 1 }, { start: 0, end: 0 }])
    expect(await fails(store.get('a', range))).toBe('OBJECT_NOT_FOUND')
})

test('waits for nobody to write into a pipe that stands in the place of an object', async () => {
  await store.put('a/b', bytes)
  execFileSync('mkfifo', [join(root, 'a/pipe')])
  for (const range of [undefined, { start: 0, end: 1 }])
    expect(await fails(store.get('a/pipe', range))).toBe('OBJECT_NOT_FOUND')
  expect(await store.head('a/pipe')).toBeNull()
})

test('replaces a link instead of writing through it', async () => {
  await writeFile(join(top, 'outside'), 'untouched')
  await store.put('a', bytes)
  await symlink(join(top, 'outside'), join(root, 'b'))
  await store.put('b', bytes)
  expect(await readFile(join(top, 'outside'), 'utf8')).toBe('untouched')
  expect((await lstat(join(root, 'b'))).isFile()).toBe(true)
})

test('takes a link as the root itself', async () => {
  await mkdir(root)
  await symlink(root, join(top, 'alias'))
  const alias = new FilesystemStore(join(top, 'alias'))
  await alias.put('a/b', bytes)
  expect(await keysOf(alias.list(''))).toEqual(['a/b'])
  expect(await keysOf(store.list('a/'))).toEqual(['a/b'])
})

test('says that the path is wrong where a file stands in the place of the directory', async () => {
  await writeFile(root, 'a file')
  for (const at of [store, new FilesystemStore(join(root, 'below'))]) {
    expect(await fails(at.put('a', bytes))).toBe('STORE_NOT_FOUND')
    expect(await fails(at.get('a'))).toBe('STORE_NOT_FOUND')
    expect(await fails(at.head('a'))).toBe('STORE_NOT_FOUND')
    expect(await fails(keysOf(at.list('')))).toBe('STORE_NOT_FOUND')
    expect(await fails(keysOf(at.list('a/')))).toBe('STORE_NOT_FOUND')
  }
})

test('goes on where somebody has removed the directory', async () => {
  await store.put('a/b', bytes)
  await rm(root, { recursive: true })
  await store.put('a/b', bytes, { ifAbsent: true })
  await rm(join(root, 'a'), { recursive: true })
  await store.put('a/c', bytes)
  expect(await keysOf(store.list(''))).toEqual(['a/c'])
})

test('does not begin a stream again that fails for want of a file of its own', async () => {
  const missing = Object.assign(new Error('source'), { code: 'ENOENT' })
  await store.put('a', bytes)
  expect(await fails(store.put('c', streamOf([bytes], missing)))).toBe('STORE_NOT_FOUND')
  expect(await keysOf(store.list(''))).toEqual(['a'])
})

test('does not change what a reader of the replaced object holds', async () => {
  await store.put('a', pattern(1000, 1))
  await link(join(root, 'a'), join(top, 'held'))
  await store.put('a', pattern(1000, 2))
  expect(Buffer.compare(await readFile(join(top, 'held')), pattern(1000, 1))).toBe(0)
})

test('a file system without hard links is refused by name, also where the key exists', async () => {
  await store.put('k', utf8('x'))
  const errors = ['EPERM', 'EOPNOTSUPP', 'ENOSYS'].map((code) => Object.assign(new Error(code), { code }))
  for (const error of errors) {
    const place = (from: string, to: string, how: 'link' | 'rename'): Promise<void> =>
      how === 'link' ? Promise.reject(error) : nodeFiles.place(from, to, how)
    const without = new FilesystemStore(root, systemClock, { ...nodeFiles, place })
    for (const key of ['k', 'new']) {
      const refused = { code: 'STORE_UNSUPPORTED', message: expect.stringContaining('hard links') }
      await expect(without.put(key, utf8('y'), { ifAbsent: true })).rejects.toMatchObject(refused)
    }
    await without.put('k', utf8('x'))
    expect(await readdir(join(root, '.tmp'))).toEqual([])
  }
})

test('says what a failed file call means', () => {
  const expected = {
    ENOSPC: 'STORE_FULL',
    EDQUOT: 'STORE_FULL',
    EACCES: 'STORE_DENIED',
    EPERM: 'STORE_DENIED',
    EROFS: 'STORE_DENIED',
    ELOOP: 'STORE_DENIED',
    ENOENT: 'STORE_NOT_FOUND',
    ENOTDIR: 'STORE_NOT_FOUND',
    EIO: 'STORE_UNAVAILABLE',
    EMFILE: 'STORE_UNAVAILABLE',
  }
  for (const [errno, code] of Object.entries(expected)) {
    expect(fileError(Object.assign(new Error(errno), { code: errno }), '/p', 'write'), errno).toMatchObject({ code })
  }
  const quota = Object.assign(new Error('quota'), { errno: -122, code: 'Unknown system error -122' })
  expect(fileError(quota, '/p', 'write')).toMatchObject({ code: 'STORE_FULL' })
  const own = new Error('no file call')
  expect(fileError(own, '/p', 'write')).toBe(own)
})

test.skipIf(process.getuid?.() === 0)('says that permission is denied', async () => {
  await store.put('a', bytes)
  await chmod(root, 0o500)
  expect(await fails(new FilesystemStore(root).put('new/b', bytes))).toBe('STORE_DENIED')
  await chmod(root, 0o700)
})

test.skipIf(process.platform !== 'linux' || process.getuid?.() !== 0)(
  'says it to root too, where nobody may write',
  async () => {
    expect(await fails(new FilesystemStore('/sys/tidemark').put('a', bytes))).toBe('STORE_DENIED')
  },
)
