import { dirname, join } from 'node:path'
import { compareUtf8 } from '../base/bytes.ts'
import type { FileInfo, FileReader, Files } from './files.ts'
import { errnoOf, fileError, linkRefused } from './filesystem-errors.ts'
import { isPrefix } from './keys.ts'
import type { ObjectInfo } from './object-store.ts'

/** The directory of files that are being written; no key starts with it, and no listing shows it. */
export const TEMP_DIR = '.tmp'

const STAT_BATCH = 32

/** Every file under `root` whose key starts with `prefix` and lies after `startAfter`, in byte order of the keys. */
export async function* listTree(
  files: FileReader,
  root: string,
  prefix: string,
  startAfter: string,
): AsyncGenerator<ObjectInfo, void, undefined> {
  if (!isPrefix(prefix) || prefix.startsWith(`${TEMP_DIR}/`)) return
  const deepest = prefix.slice(0, prefix.lastIndexOf('/') + 1)
  await refuseLinks(files, root, deepest)
  yield* walk(files, root, deepest, prefix, startAfter)
}

/** Throws `STORE_DENIED` where a directory on the way from the root to `key` is a link. */
export async function refuseLinks(files: FileReader, root: string, key: string): Promise<void> {
  const deepest = key.lastIndexOf('/')
  if (deepest === -1 || (await isStraight(files, root, key.slice(0, deepest)))) return
  for (let end = key.indexOf('/'); end !== -1; end = key.indexOf('/', end + 1)) {
    const path = join(root, key.slice(0, end))
    const found = await lookAt(files, path)
    if (found === null) return
    if (found.kind === 'link') throw linkRefused(path)
  }
}

/** Whether the way from the root to a directory is certainly without links. Asked at once, for each read pays for it. */
async function isStraight(files: FileReader, root: string, directory: string): Promise<boolean> {
  const real = async (path: string): Promise<string | null> => files.realPath(path).catch(() => null)
  const [realRoot, realDirectory] = await Promise.all([real(root), real(join(root, directory))])
  // What is spelt otherwise on a file system that ignores case is looked at step by step.
  return realRoot !== null && realDirectory === join(realRoot, directory)
}

async function* walk(
  files: FileReader,
  root: string,
  directory: string,
  prefix: string,
  startAfter: string,
): AsyncGenerator<ObjectInfo, void, undefined> {
  const entries = await entriesOf(files, root, directory)
  let keys: string[] = []
  for (const key of entries) {
    const isDirectory = key.endsWith('/')
    if (!key.startsWith(prefix) && !(isDirectory && prefix.startsWith(key))) continue
    if (compareUtf8(key, startAfter) <= 0 && !(isDirectory && startAfter.startsWith(key))) continue
    if (!isDirectory) keys.push(key)
    if (!isDirectory && keys.length < STAT_BATCH) continue
    yield* sizes(files, root, keys)
    keys = []
    if (isDirectory) yield* walk(files, root, key, prefix, startAfter)
  }
  yield* sizes(files, root, keys)
}

/**
 * Keys of the entries of a directory, a directory's with a '/' at its end: sorted so, the walk meets the files in the
 * order of their full keys (`a-b`, `a.b`, `a/b`), which is not the order of the names (`a`, `a-b`, `a.b`).
 */
async function entriesOf(files: FileReader, root: string, directory: string): Promise<string[]> {
  const path = join(root, directory)
  const entries = await files.list(path).catch(async (error: unknown) => {
    // A directory that went, or an object where a prefix looks for a directory: nothing is under it.
    if (isAbsence(error) && (directory === '' ? errnoOf(error) === 'ENOENT' : await isTree(files, root))) return []
    throw fileError(error, path, 'list')
  })
  const keys: string[] = []
  for (const { name, kind } of entries) {
    const key = directory + name
    if (key === TEMP_DIR) continue
    if (kind === 'link') throw linkRefused(join(root, key))
    if (kind === 'directory') keys.push(`${key}/`)
    else if (kind === 'file') keys.push(key)
  }
  return keys.sort(compareUtf8)
}

async function* sizes(
  files: FileReader,
  root: string,
  keys: readonly string[],
): AsyncGenerator<ObjectInfo, void, undefined> {
  const found = await Promise.all(keys.map((key) => lookAt(files, join(root, key))))
  for (const [i, key] of keys.entries()) {
    const info = found[i]
    // Deleted since the directory was read.
    if (info?.kind === 'file') yield { key, bytes: info.bytes }
  }
}

/** What is at a path, or null where nothing is. */
export async function lookAt(files: FileReader, path: string): Promise<FileInfo | null> {
  try {
    return await files.look(path)
  } catch (error) {
    if (isAbsence(error)) return null
    throw fileError(error, path, 'look at')
  }
}

/** Whether the root is a directory, or nothing yet. */
async function isTree(files: FileReader, root: string): Promise<boolean> {
  try {
    await files.list(root)
    return true
  } catch (error) {
    return errnoOf(error) === 'ENOENT'
  }
}

/** Whether a file call failed because nothing is at the path, or nothing can be. */
export function isAbsence(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(errnoOf(error))
}

/**
 * Makes the directory and those above it that are missing, readable by their owner only, each durable in the one above
 * it. One that exists is made durable too: who made it may have died before it was.
 */
export async function makeDirectory(files: Files, path: string): Promise<void> {
  const above = dirname(path)
  try {
    // Above exists after the first try: where the second one says the same, no directory can be made (as under /proc).
    await files.makeDirectory(path).catch(async (error: unknown) => {
      if (errnoOf(error) !== 'ENOENT' || above === path) throw error
      await makeDirectory(files, above)
      await files.makeDirectory(path)
    })
  } catch (error) {
    if (!['EEXIST', 'EISDIR'].includes(errnoOf(error))) throw error
    return syncOthers(files, above)
  }
  await files.syncDirectory(above)
}

/** Makes names durable that others made; where this user may not open the directory, it is not for him to do. */
async function syncOthers(files: Files, path: string): Promise<void> {
  try {
    await files.syncDirectory(path)
  } catch (error) {
    if (!['EACCES', 'EPERM', 'EROFS', 'EINVAL'].includes(errnoOf(error))) throw error
  }
}
