import type { Stats } from 'node:fs'
import { type FileHandle, lstat, mkdir, open, readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { compareUtf8 } from '../base/bytes.ts'
import { errnoOf, fileError, linkRefused } from './filesystem-errors.ts'
import { isPrefix } from './keys.ts'
import type { ObjectInfo } from './object-store.ts'

/** The directory of files that are being written; no key starts with it, and no listing shows it. */
export const TEMP_DIR = '.tmp'

const STAT_BATCH = 32

/** Every file under `root` whose key starts with `prefix` and lies after `startAfter`, in byte order of the keys. */
export async function* listTree(
  root: string,
  prefix: string,
  startAfter: string,
): AsyncGenerator<ObjectInfo, void, undefined> {
  if (!isPrefix(prefix) || prefix.startsWith(`${TEMP_DIR}/`)) return
  const deepest = prefix.slice(0, prefix.lastIndexOf('/') + 1)
  await refuseLinks(root, deepest)
  yield* walk(root, deepest, prefix, startAfter)
}

/** Throws `STORE_DENIED` where a directory on the way from the root to `key` is a link. */
export async function refuseLinks(root: string, key: string): Promise<void> {
  for (let end = key.indexOf('/'); end !== -1; end = key.indexOf('/', end + 1)) {
    const path = join(root, key.slice(0, end))
    const found = await lstatOrNull(path)
    if (found === null) return
    if (found.isSymbolicLink()) throw linkRefused(path)
  }
}

async function* walk(
  root: string,
  directory: string,
  prefix: string,
  startAfter: string,
): AsyncGenerator<ObjectInfo, void, undefined> {
  const entries = await entriesOf(root, directory)
  let files: string[] = []
  for (const key of entries) {
    const isDirectory = key.endsWith('/')
    if (!key.startsWith(prefix) && !(isDirectory && prefix.startsWith(key))) continue
    if (compareUtf8(key, startAfter) <= 0 && !(isDirectory && startAfter.startsWith(key))) continue
    if (!isDirectory) files.push(key)
    if (!isDirectory && files.length < STAT_BATCH) continue
    yield* sizes(root, files)
    files = []
    if (isDirectory) yield* walk(root, key, prefix, startAfter)
  }
  yield* sizes(root, files)
}

/**
 * Keys of the entries of a directory, a directory's with a '/' at its end: sorted so, the walk meets the files in the
 * order of their full keys (`a-b`, `a.b`, `a/b`), which is not the order of the names (`a`, `a-b`, `a.b`).
 */
async function entriesOf(root: string, directory: string): Promise<string[]> {
  const path = join(root, directory)
  const entries = await readdir(path, { withFileTypes: true }).catch(async (error: unknown) => {
    // A directory that went, or an object where a prefix looks for a directory: nothing is under it.
    if (isAbsence(error) && (directory === '' ? errnoOf(error) === 'ENOENT' : await isTree(root))) return []
    throw fileError(error, path, 'list')
  })
  const keys: string[] = []
  for (const entry of entries) {
    const key = directory + entry.name
    if (key === TEMP_DIR) continue
    if (entry.isSymbolicLink()) throw linkRefused(join(root, key))
    if (entry.isDirectory()) keys.push(`${key}/`)
    else if (entry.isFile()) keys.push(key)
  }
  return keys.sort(compareUtf8)
}

async function* sizes(root: string, keys: readonly string[]): AsyncGenerator<ObjectInfo, void, undefined> {
  const found = await Promise.all(keys.map((key) => lstatOrNull(join(root, key))))
  for (const [i, key] of keys.entries()) {
    const stats = found[i]
    // Deleted since the directory was read.
    if (stats?.isFile()) yield { key, bytes: stats.size }
  }
}

/** `lstat`, or null where nothing is there. */
export async function lstatOrNull(path: string): Promise<Stats | null> {
  try {
    return await lstat(path)
  } catch (error) {
    if (isAbsence(error)) return null
    throw fileError(error, path, 'look at')
  }
}

/** Whether the root is a directory, or nothing yet. */
async function isTree(root: string): Promise<boolean> {
  try {
    return (await stat(root)).isDirectory()
  } catch (error) {
    return errnoOf(error) === 'ENOENT'
  }
}

/** Whether a file call failed because nothing is at the path, or nothing can be. */
export function isAbsence(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(errnoOf(error))
}

/** Makes the entries of a directory durable: those that were made, renamed or linked in it before. */
export async function syncDirectory(path: string): Promise<void> {
  let handle: FileHandle | null = null
  try {
    handle = await open(path, 'r')
    await handle.sync()
  } finally {
    await handle?.close()
  }
}

/** Makes the directory and those above it, readable by their owner only, each durable in the one above it. */
export async function makeDirectory(path: string): Promise<void> {
  if (await isDirectory(path)) return
  if (dirname(path) !== path) await makeDirectory(dirname(path))
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error
    return
  }
  await syncDirectory(dirname(path))
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false
    throw error
  }
}
