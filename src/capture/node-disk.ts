import { close, constants, fdatasync, fdatasyncSync, fstatSync, open as openCallback, write, writeSync } from 'node:fs'
import { open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { CommitTimes, LARGEST_BLOCKING_BYTES } from './commit-times.ts'
import type { Disk, DiskEntry, DiskFile } from './disk.ts'

const openFd = promisify(openCallback)
const writeFd = promisify(write)
const syncFd = promisify(fdatasync)
const closeFd = promisify(close)

/**
 * `O_DSYNC` saves one trip through the thread pool per commit. Only where it is known to reach the medium: on macOS
 * it stops at the drive's cache, where `fdatasync` (libuv makes it F_FULLFSYNC) does not.
 */
const DSYNC = process.platform === 'linux' ? constants.O_DSYNC : 0
const FILE_MODE = 0o600

/** The files of this machine. `times` is shared by the files that one journal opens in turn. */
export class NodeDisk implements Disk {
  readonly #times: CommitTimes

  constructor(times: CommitTimes = new CommitTimes()) {
    this.#times = times
  }

  async list(directory: string): Promise<readonly DiskEntry[]> {
    return translated(directory, async () => {
      const names = await readdir(directory)
      const found = await Promise.all(names.map(async (name) => ({ name, bytes: await sizeOf(join(directory, name)) })))
      return found.flatMap(({ name, bytes }) => (bytes === null ? [] : [{ name, bytes }]))
    })
  }

  async read(path: string, start: number, end: number): Promise<Uint8Array> {
    return translated(path, async () => {
      const file = await open(path, 'r')
      try {
        const buffer = Buffer.allocUnsafe(Math.max(0, Math.min(end, (await file.stat()).size) - start))
        let filled = 0
        while (filled < buffer.length) {
          const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, start + filled)
          if (bytesRead === 0) break
          filled += bytesRead
        }
        return buffer.subarray(0, filled)
      } finally {
        await file.close()
      }
    })
  }

  async open(path: string): Promise<DiskFile> {
    return translated(path, async () => {
      const plain = await openFd(path, constants.O_RDWR | constants.O_CREAT, FILE_MODE)
      try {
        return new NodeFile(path, plain, await openFd(path, constants.O_RDWR | DSYNC, FILE_MODE), this.#times)
      } catch (error) {
        await closeFd(plain)
        throw error
      }
    })
  }

  async remove(path: string): Promise<void> {
    await translated(path, () => rm(path, { force: true }))
  }

  async syncDirectory(directory: string): Promise<void> {
    await translated(directory, async () => {
      const handle = await open(directory, 'r')
      try {
        await handle.sync()
      } finally {
        await handle.close()
      }
    })
  }
}

class NodeFile implements DiskFile {
  readonly #path: string
  readonly #plain: number
  readonly #durable: number
  readonly #times: CommitTimes

  constructor(path: string, plain: number, durable: number, times: CommitTimes) {
    this.#path = path
    this.#plain = plain
    this.#durable = durable
    this.#times = times
  }

  async commit(bytes: Uint8Array, at: number, written?: () => void): Promise<void> {
    try {
      if (written !== undefined) await this.#commitInSteps(bytes, at, written)
      else {
        await this.#times.run(
          bytes.length,
          () => this.#commitBlocking(bytes, at),
          () => this.#commitInPool(bytes, at),
        )
        this.#requireName()
      }
    } catch (error) {
      throw journalError(error, this.#path)
    }
  }

  #commitBlocking(bytes: Uint8Array, at: number): void {
    this.#writeBlocking(bytes, at)
    fdatasyncSync(this.#plain)
  }

  #writeBlocking(bytes: Uint8Array, at: number): void {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(this.#plain, bytes, done, bytes.length - done, at + done)
    }
  }

  /** Into the memory of the system at once, as far as that takes no longer than a trip through the pool; then the sync. */
  async #commitInSteps(bytes: Uint8Array, at: number, written: () => void): Promise<void> {
    if (bytes.length <= LARGEST_BLOCKING_BYTES) this.#writeBlocking(bytes, at)
    else await writeAll(this.#plain, bytes, at)
    this.#requireName()
    written()
    await syncFd(this.#plain)
  }

  async #commitInPool(bytes: Uint8Array, at: number): Promise<void> {
    await writeAll(this.#durable, bytes, at)
    if (DSYNC === 0) await syncFd(this.#durable)
  }

  /** A file that was removed takes everything, and nobody finds it again once this process has ended. */
  #requireName(): void {
    if (fstatSync(this.#plain).nlink === 0) throw removed(this.#path)
  }

  async close(): Promise<void> {
    await translated(this.#path, async () => {
      await closeFd(this.#plain)
      await closeFd(this.#durable)
    })
  }
}

async function writeAll(fd: number, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await writeFd(fd, bytes, done, bytes.length - done, at + done)).bytesWritten
  }
}

/** Null where there is nothing any more: locks and doors of other processes come and go. */
async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw error
  }
}

async function translated<T>(path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw journalError(error, path)
  }
}

function removed(path: string): TidemarkError {
  return new TidemarkError(
    'JOURNAL_FAILED',
    `The journal file ${path} was removed while it was written: what it had that is not in the store is lost with it.`,
    {
      hint: 'Bring the journal directory back, or start the application again: it goes on with a baseline, and `tidemark gap list` tells what is missing.',
      details: { path },
    },
  )
}

/** The journal's error for what a file call threw. */
export function journalError(error: unknown, path: string): TidemarkError {
  if (error instanceof TidemarkError) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const details = { path, code }
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new TidemarkError('JOURNAL_FULL', `There is no room left on the disk for the journal at ${path}.`, {
      hint: 'Free space on the disk of the journal directory: writes then work again by themselves.',
      cause: error,
      details,
    })
  }
  if (code === 'ENOTDIR') {
    return new TidemarkError(
      'JOURNAL_DENIED',
      `There can be no journal at ${path}: something above it is no directory.`,
      {
        hint: 'Set another directory with the option `journal` (--journal).',
        cause: error,
        details,
      },
    )
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new TidemarkError(
      'JOURNAL_DENIED',
      `The journal at ${path} may not be read or written by this user (${code}).`,
      {
        hint: 'Give the user of the application the directory, or set another one with the option `journal`.',
        cause: error,
        details,
      },
    )
  }
  return new TidemarkError('JOURNAL_FAILED', `A call on the journal at ${path} failed (${messageOf(error)}).`, {
    hint: 'Check the disk (`dmesg`). The journal goes on in another file, as soon as the disk takes one.',
    cause: error,
    details,
  })
}
