import { randomUUID } from 'node:crypto'
import { dirname, join, resolve } from 'node:path'
import { utf8 } from '../base/bytes.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { hasCode } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { Files } from './files.ts'
import { errnoOf, fileError, linkRefused, linksUnsupported, NO_LINKS } from './filesystem-errors.ts'
import { isAbsence, listTree, lookAt, makeDirectory, refuseLinks, TEMP_DIR } from './filesystem-tree.ts'
import type { Keeping } from './keeping.ts'
import {
  checkBody,
  checkKey,
  checkRange,
  invalidKey,
  objectExists,
  objectNotFound,
  objectTooLarge,
  objectTooShort,
} from './keys.ts'
import { nodeFiles } from './node-files.ts'
import type { Body, ByteRange, ListOptions, ObjectInfo, ObjectStore, PutOptions } from './object-store.ts'
import { deletionRefused, type Undeleted } from './refusals.ts'

const SEGMENT_BYTES = 255
const LEFTOVER_AGE_MS = 86_400_000

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
  readonly #files: Files
  /** Directories that this process has made durable, by path. */
  #ready = new Map<string, Promise<void>>()
  #hasLinks = false

  /** `root` need not exist; the first put makes it. Nothing is touched before the first call. */
  constructor(root: string, clock: Clock = systemClock, files: Files = nodeFiles) {
    this.#root = resolve(root)
    this.#clock = clock
    this.#files = files
  }

  async put(key: string, body: Body, options?: PutOptions): Promise<void> {
    const path = this.#path(key)
    checkBody(body, options)
    try {
      const temp = await this.#writeTemp(body)
      try {
        if (options?.ifAbsent === true) await this.#requireLinks(temp)
        await this.#place(key, temp, path, options?.ifAbsent === true)
      } catch (error) {
        await this.#removeTemp(temp)
        throw error
      }
    } catch (error) {
      throw fileError(error, path, 'write')
    }
  }

  async get(key: string, range?: ByteRange): Promise<Uint8Array> {
    const path = this.#path(key)
    if (range !== undefined) checkRange(range)
    // Before anything is opened: what a link leads to may be no file, and opening it may do something.
    await refuseLinks(this.#files, this.#root, key)
    const found = await this.#read(key, path, range ?? null)
    if (found === null) throw objectNotFound(key)
    const { bytes, size } = found
    const { start, end } = range ?? { start: 0, end: size }
    if (range !== undefined && end > size) throw objectTooShort(key, range, size)
    if (bytes.length < end - start) throw objectTooShort(key, { start, end }, start + bytes.length)
    return bytes
  }

  async head(key: string): Promise<ObjectInfo | null> {
    const path = this.#path(key)
    await refuseLinks(this.#files, this.#root, key)
    const info = await lookAt(this.#files, path)
    if (info?.kind === 'link') throw linkRefused(path)
    if (info === null) await this.#checkRoot()
    return info?.kind === 'file' ? { key, bytes: info.bytes } : null
  }

  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    return listTree(this.#files, this.#root, prefix, options?.startAfter ?? '')
  }

  async delete(keys: readonly string[]): Promise<void> {
    const paths = new Map(keys.map((key) => [this.#path(key), key]))
    const directories = new Set<string>()
    const refused: Undeleted[] = []
    for (const [path, key] of paths) {
      await refuseLinks(this.#files, this.#root, key)
      const info = await lookAt(this.#files, path)
      if (info === null || info.kind === 'directory') continue
      try {
        await this.#files.remove(path)
      } catch (error) {
        if (!isAbsence(error)) {
          refused.push(refusalOf(key, fileError(error, path, 'delete')))
          continue
        }
      }
      directories.add(dirname(path))
    }
    for (const directory of directories) {
      await this.#files.syncDirectory(directory).catch((error: unknown) => {
        throw fileError(error, directory, 'sync')
      })
    }
    if (refused.length > 0) throw deletionRefused(refused)
  }

  /** Of what a file system keeps by itself, such as snapshots of its own, nobody here knows. */
  async keeping(): Promise<Keeping> {
    return { versions: 'none' }
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

  async #refuseLarge(key: string, path: string): Promise<void> {
    const info = await lookAt(this.#files, path)
    if (info?.kind === 'file' && info.bytes > LIMITS.objectBytes) throw objectTooLarge(key, info.bytes)
  }

  async #read(key: string, path: string, range: ByteRange | null): ReturnType<Files['read']> {
    if (range === null) await this.#refuseLarge(key, path)
    try {
      return await this.#files.read(path, range)
    } catch (error) {
      if (!isAbsence(error)) throw fileError(error, path, 'read')
      await this.#checkRoot()
      throw objectNotFound(key, error)
    }
  }

  /** Where a file stands in the root's place, nothing would ever be found: that is a wrong path, not an empty store. */
  async #checkRoot(): Promise<void> {
    await this.#files.list(join(this.#root, TEMP_DIR)).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw fileError(error, this.#root, 'read')
    })
  }

  /** Writes the body, durable but not yet in place; returns its path. */
  async #writeTemp(body: Body): Promise<string> {
    const temp = join(this.#root, TEMP_DIR, `${process.pid}-${randomUUID()}`)
    let begun = false
    const source = body instanceof Uint8Array ? body : whenRead(body, () => (begun = true))
    try {
      // What a stream has given it does not give again.
      await this.#inDirectory(
        dirname(temp),
        () => this.#files.create(temp, source),
        () => !begun,
      )
    } catch (error) {
      await this.#removeTemp(temp)
      throw error
    }
    return temp
  }

  /** Once: where a key exists, a file system without hard links says that, and refuses only the keys that are new. */
  async #requireLinks(temp: string): Promise<void> {
    if (this.#hasLinks) return
    const second = `${temp}-link`
    await this.#files.place(temp, second, 'link').catch((error: unknown) => {
      throw NO_LINKS.includes(errnoOf(error)) ? linksUnsupported(this.#root, error) : error
    })
    await this.#removeTemp(second)
    this.#hasLinks = true
  }

  async #place(key: string, temp: string, path: string, ifAbsent: boolean): Promise<void> {
    try {
      await this.#inDirectory(dirname(path), () => this.#files.place(temp, path, ifAbsent ? 'link' : 'rename'))
    } catch (error) {
      if ((await lookAt(this.#files, path))?.kind === 'directory')
        throw invalidKey(key, 'is the directory of other objects', error)
      if (errnoOf(error) === 'EEXIST') throw objectExists(key, error)
      throw error
    }
    await this.#files.syncDirectory(dirname(path))
    if (ifAbsent) await this.#files.remove(temp)
  }

  /** Runs `act` in a durable directory; once more where somebody removed the directory since this process made it. */
  async #inDirectory<T>(path: string, act: () => Promise<T>, again = (): boolean => true): Promise<T> {
    await this.#directory(path)
    try {
      return await act()
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' || !again()) throw error
      this.#ready = new Map()
      await this.#directory(path)
      return act()
    }
  }

  /** Makes `path` (the root, or below it) a durable directory. Once per process and directory. */
  #directory(path: string): Promise<void> {
    const known = this.#ready.get(path)
    if (known !== undefined) return known
    const made = path === this.#root ? makeDirectory(this.#files, path) : this.#makeBelow(path)
    this.#ready.set(path, made)
    made.catch(() => this.#ready.delete(path))
    return made
  }

  async #makeBelow(path: string): Promise<void> {
    await this.#directory(dirname(path))
    try {
      await this.#files.makeDirectory(path)
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error
      const info = await lookAt(this.#files, path)
      if (info?.kind === 'link') throw linkRefused(path)
      const key = path.slice(this.#root.length + 1)
      if (info?.kind === 'file') throw invalidKey(key, 'is an object, so no key can go on from it', error)
    }
    // Also where it existed: another process may have made it a moment ago and not have synced it yet.
    await this.#files.syncDirectory(dirname(path))
    if (path === join(this.#root, TEMP_DIR)) await this.#sweep()
  }

  /** Removes what killed processes left under `.tmp`: files that nothing has written to for a day. */
  async #sweep(): Promise<void> {
    const directory = join(this.#root, TEMP_DIR)
    for (const { name } of await this.#files.list(directory)) {
      const path = join(directory, name)
      const info = await lookAt(this.#files, path)
      if (info !== null && this.#clock.now() - info.modifiedMs > LEFTOVER_AGE_MS) await this.#removeTemp(path)
    }
  }

  async #removeTemp(temp: string): Promise<void> {
    await this.#files.remove(temp).catch((error: unknown) => {
      if (!isAbsence(error)) throw error
    })
  }
}

/** Of one file; what is wrong with the disk is of all. */
function refusalOf(key: string, failed: unknown): Undeleted {
  if (!hasCode(failed, 'STORE_DENIED')) throw failed
  return { key, message: failed.message, until: null }
}

async function* whenRead(body: AsyncIterable<Uint8Array>, noted: () => void): AsyncGenerator<Uint8Array> {
  noted()
  yield* body
}
