import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, link, mkdir, open, readdir, rename, unlink } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { utf8 } from '../base/bytes.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { errnoOf, fileError, linkRefused } from './filesystem-errors.ts'
import {
  isAbsence,
  listTree,
  lstatOrNull,
  makeDirectory,
  refuseLinks,
  syncDirectory,
  TEMP_DIR,
} from './filesystem-tree.ts'
import { checkBody, checkKey, checkRange, invalidKey, objectExists, objectNotFound, objectTooShort } from './keys.ts'
import type { Body, ByteRange, ListOptions, ObjectInfo, ObjectStore, PutOptions } from './object-store.ts'

const SEGMENT_BYTES = 255
const LEFTOVER_AGE_MS = 86_400_000
const READ_FILE = constants.O_RDONLY | constants.O_NOFOLLOW

/**
 * Objects as files under one directory: the key is the path. Files are 0600, directories 0700.
 *
 * An object appears whole or not at all, and durably: it is written and synced under `.tmp`, then linked (ifAbsent,
 * which exactly one of several racing processes wins) or renamed into place, then its directory is synced. As on any
 * file system, `a` and `a/b` cannot both be: the later is refused with `KEY_INVALID`. Symbolic links inside the root
 * are not followed; the root itself may be one.
 */
export class FilesystemStore implements ObjectStore {
  readonly #root: string
  readonly #clock: Clock
  /** Directories that this process has made durable, by path. */
  #ready = new Map<string, Promise<void>>()

  /** `root` need not exist; the first put makes it. Nothing is touched before the first call. */
  constructor(root: string, clock: Clock = systemClock) {
    this.#root = resolve(root)
    this.#clock = clock
  }

  async put(key: string, body: Body, options?: PutOptions): Promise<void> {
    const path = this.#path(key)
    checkBody(body, options)
    try {
      const temp = await this.#writeTemp(body)
      try {
        await this.#place(key, temp, path, options?.ifAbsent === true)
      } catch (error) {
        await unlink(temp).catch(ignoreAbsence)
        throw error
      }
    } catch (error) {
      throw fileError(error, path, 'write')
    }
  }

  async get(key: string, range?: ByteRange): Promise<Uint8Array> {
    const path = this.#path(key)
    if (range !== undefined) checkRange(range)
    const handle = await this.#open(key, path)
    try {
      const stats = await handle.stat()
      if (!stats.isFile()) throw objectNotFound(key)
      const { start, end } = range ?? { start: 0, end: stats.size }
      if (range !== undefined && end > stats.size) throw objectTooShort(key, range, stats.size)
      const bytes = await readAt(handle, start, end - start)
      if (bytes.length < end - start) throw objectTooShort(key, { start, end }, start + bytes.length)
      return bytes
    } catch (error) {
      throw fileError(error, path, 'read')
    } finally {
      await handle.close()
    }
  }

  async head(key: string): Promise<ObjectInfo | null> {
    const path = this.#path(key)
    await refuseLinks(this.#root, key)
    const stats = await lstatOrNull(path)
    if (stats?.isSymbolicLink()) throw linkRefused(path)
    if (stats === null) await this.#checkRoot()
    return stats?.isFile() ? { key, bytes: stats.size } : null
  }

  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    return listTree(this.#root, prefix, options?.startAfter ?? '')
  }

  async delete(keys: readonly string[]): Promise<void> {
    const paths = new Map(keys.map((key) => [this.#path(key), key]))
    const directories = new Set<string>()
    for (const [path, key] of paths) {
      await refuseLinks(this.#root, key)
      const stats = await lstatOrNull(path)
      if (stats === null || stats.isDirectory()) continue
      try {
        await unlink(path)
      } catch (error) {
        if (!isAbsence(error)) throw fileError(error, path, 'delete')
      }
      directories.add(dirname(path))
    }
    for (const directory of directories) {
      await syncDirectory(directory).catch((error: unknown) => {
        throw fileError(error, directory, 'sync')
      })
    }
  }

  #path(key: string): string {
    checkKey(key)
    const segments = key.split('/')
    if (segments[0] === TEMP_DIR) throw invalidKey(key, `begins with '${TEMP_DIR}', where files are being written`)
    if (segments.some((segment) => utf8(segment).length > SEGMENT_BYTES)) {
      throw invalidKey(key, `has a segment of more than ${SEGMENT_BYTES} bytes, longer than a file name can be`)
    }
    return join(this.#root, key)
  }

  async #open(key: string, path: string): Promise<FileHandle> {
    await refuseLinks(this.#root, key)
    try {
      return await open(path, READ_FILE)
    } catch (error) {
      if (!isAbsence(error)) throw fileError(error, path, 'read')
      await this.#checkRoot()
      throw objectNotFound(key, error)
    }
  }

  /** Where a file stands in the root's place, nothing would ever be found: that is a wrong path, not an empty store. */
  async #checkRoot(): Promise<void> {
    await readdir(join(this.#root, TEMP_DIR)).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw fileError(error, this.#root, 'read')
    })
  }

  /** Writes the body, durable but not yet in place; returns its path. */
  async #writeTemp(body: Body): Promise<string> {
    const temp = join(this.#root, TEMP_DIR, `${process.pid}-${randomUUID()}`)
    const handle = await this.#openTemp(temp)
    try {
      try {
        if (body instanceof Uint8Array) await handle.writeFile(body)
        else for await (const chunk of body) await handle.writeFile(chunk)
        await handle.sync()
      } finally {
        await handle.close()
      }
    } catch (error) {
      await unlink(temp).catch(ignoreAbsence)
      throw error
    }
    return temp
  }

  async #openTemp(temp: string): Promise<FileHandle> {
    return this.#inDirectory(dirname(temp), () => open(temp, 'wx', 0o600))
  }

  async #place(key: string, temp: string, path: string, ifAbsent: boolean): Promise<void> {
    try {
      await this.#inDirectory(dirname(path), () => (ifAbsent ? link(temp, path) : rename(temp, path)))
    } catch (error) {
      if ((await lstatOrNull(path))?.isDirectory()) throw invalidKey(key, 'is the directory of other objects', error)
      if (errnoOf(error) === 'EEXIST') throw objectExists(key, error)
      throw error
    }
    await syncDirectory(dirname(path))
    if (ifAbsent) await unlink(temp)
  }

  /** Runs `act` in a durable directory; once more where somebody removed the directory since this process made it. */
  async #inDirectory<T>(path: string, act: () => Promise<T>): Promise<T> {
    await this.#directory(path)
    try {
      return await act()
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error
      this.#ready = new Map()
      await this.#directory(path)
      return act()
    }
  }

  /** Makes `path` (the root, or below it) a durable directory. Once per process and directory. */
  #directory(path: string): Promise<void> {
    const known = this.#ready.get(path)
    if (known !== undefined) return known
    const made = path === this.#root ? makeDirectory(path) : this.#makeBelow(path)
    this.#ready.set(path, made)
    made.catch(() => this.#ready.delete(path))
    return made
  }

  async #makeBelow(path: string): Promise<void> {
    await this.#directory(dirname(path))
    try {
      await mkdir(path, { mode: 0o700 })
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error
      const stats = await lstatOrNull(path)
      if (stats?.isSymbolicLink()) throw linkRefused(path)
      const key = path.slice(this.#root.length + 1)
      if (stats?.isFile()) throw invalidKey(key, 'is an object, so no key can go on from it', error)
    }
    // Also where it existed: another process may have made it a moment ago and not have synced it yet.
    await syncDirectory(dirname(path))
    if (path === join(this.#root, TEMP_DIR)) await this.#sweep()
  }

  /** Removes what killed processes left under `.tmp`: files that nothing has written to for a day. */
  async #sweep(): Promise<void> {
    const directory = join(this.#root, TEMP_DIR)
    for (const name of await readdir(directory)) {
      const path = join(directory, name)
      const stats = await lstatOrNull(path)
      if (stats !== null && this.#clock.now() - stats.mtimeMs > LEFTOVER_AGE_MS) await unlink(path).catch(ignoreAbsence)
    }
  }
}

async function readAt(handle: FileHandle, start: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  let filled = 0
  while (filled < length) {
    const { bytesRead } = await handle.read(bytes, filled, length - filled, start + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return filled === length ? bytes : bytes.subarray(0, filled)
}

function ignoreAbsence(error: unknown): void {
  if (!isAbsence(error)) throw error
}
