import { rm, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Files } from './files.ts'
import { FilesystemStore } from './filesystem.ts'
import { errnoOf, NO_LINKS } from './filesystem-errors.ts'
import { isAbsence, lookAt, TEMP_DIR } from './filesystem-tree.ts'
import { nodeFiles } from './node-files.ts'
import type { ObjectStore } from './object-store.ts'
import { targetError, targetStore } from './target-store.ts'

/** What a file system keeps in its own top directory. */
const OF_THE_FILE_SYSTEM = 'lost+found'
const COPY_BYTES = 8 * 1024 * 1024

/**
 * A directory that is filled where it stands: it may be a mount point, the present directory, behind a link, or in one
 * in which this user may make nothing. It need not exist. Errors: `TARGET_*`.
 */
export class FilledDirectory {
  readonly store: ObjectStore
  readonly #path: string
  readonly #files: Files
  /** Directories that are not there before the first file, the deepest first. */
  #missing: readonly string[] | null = null

  constructor(path: string, files: Files = nodeFiles) {
    this.#path = path
    this.#files = files
    this.store = targetStore(new FilesystemStore(path, undefined, files), path)
  }

  /** The names in the directory, those of directories with a slash behind them; none where it does not exist. */
  async names(): Promise<readonly string[]> {
    return this.#told(async () => {
      const entries = await this.#files.list(this.#path).catch((error: unknown) => {
        if (errnoOf(error) === 'ENOENT') return []
        throw error
      })
      return entries
        .map(({ name, kind }) => (kind === 'directory' ? `${name}/` : name))
        .filter((name) => name !== `${TEMP_DIR}/` && name !== `${OF_THE_FILE_SYSTEM}/`)
        .sort()
    })
  }

  /** Gives each file a second name, in the place of whatever has it; durable when it resolves. */
  async alias(names: ReadonlyMap<string, string>): Promise<void> {
    await this.#told(async () => {
      for (const [from, to] of names) await this.#aliasOne(join(this.#path, from), join(this.#path, to))
      await this.#files.syncDirectory(this.#path)
    })
  }

  /** Notes which directories are to go again where nothing comes of it: before the first file. */
  async begin(): Promise<void> {
    const missing: string[] = []
    await this.#told(async () => {
      for (let path = this.#path; path !== dirname(path); path = dirname(path)) {
        if ((await lookAt(this.#files, path)) !== null) break
        missing.push(path)
      }
    })
    this.#missing = missing
  }

  /** Removes what writing needed; the directory itself too where it is new and holds nothing. */
  async end(): Promise<void> {
    const missing = this.#missing
    this.#missing = null
    if (missing === null) return
    await this.#told(async () => {
      await rm(join(this.#path, TEMP_DIR), { recursive: true, force: true })
      for (const path of missing) if (!(await removeEmpty(path))) break
    })
  }

  async #aliasOne(from: string, to: string): Promise<void> {
    await this.#files.remove(to).catch((error: unknown) => {
      if (!isAbsence(error)) throw error
    })
    try {
      await this.#files.place(from, to, 'link')
    } catch (error) {
      if (!NO_LINKS.includes(errnoOf(error))) throw error
      await this.#files.create(to, this.#contentOf(from))
    }
  }

  async *#contentOf(path: string): AsyncGenerator<Uint8Array> {
    for (let start = 0; ; start += COPY_BYTES) {
      const piece = await this.#files.read(path, { start, end: start + COPY_BYTES })
      if (piece === null || piece.bytes.length === 0) return
      yield piece.bytes
    }
  }

  async #told<T>(act: () => Promise<T>): Promise<T> {
    try {
      return await act()
    } catch (error) {
      throw targetError(error, this.#path)
    }
  }
}

/** False where something is in the directory. */
async function removeEmpty(path: string): Promise<boolean> {
  try {
    await rmdir(path)
    return true
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(errnoOf(error))) throw error
    return false
  }
}
