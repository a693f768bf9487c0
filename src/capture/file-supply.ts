import { join } from 'node:path'
import { hasCode, messageOf, TidemarkError } from '../base/errors.ts'
import { journalFileName } from '../format/journal-file.ts'
import type { Disk, DiskFile } from './disk.ts'

const FIRST_FILE_BYTES = 1024 * 1024
const LARGEST_FILE_BYTES = 64 * 1024 * 1024
/** Where the disk has no room for a file, one of half the size is tried, down to this one. */
const LEAST_FILE_BYTES = 64 * 1024
/** A file made ahead is filled with zeros in pieces of this size, so that appends get their turn in between. */
const FILL_BYTES = 256 * 1024

/** A file being written, or made ahead. */
export interface OpenFile {
  readonly number: number
  readonly path: string
  readonly handle: DiskFile
  readonly bytes: number
}

/** Where files are made, and how large. */
export interface SupplySeams {
  readonly disk: Disk
  readonly directory: string
  /** Default 64 MiB. */
  readonly maxFileBytes?: number | undefined
}

/**
 * Makes the files of a journal, the next one while the present one is written. They are numbered without holes: a file
 * that could not be used gives its number to the one that is made in its place.
 */
export class FileSupply {
  readonly #seams: SupplySeams
  #number: number
  #next: Promise<OpenFile> | null = null
  /** What is to be removed before a file of this number is made again: nobody knows what stands in it. */
  #spoilt: string | null = null
  #shortage: TidemarkError | null = null

  /** `number`: of the next file. */
  constructor(seams: SupplySeams, number: number) {
    this.#seams = seams
    this.#number = number
  }

  /** Why the next file could not be made; null where it is there, is being made, or was not needed yet. */
  get shortage(): TidemarkError | null {
    return this.#shortage
  }

  /** Takes a file that is there already, all zero, as the next one. */
  async adopt(number: number, bytes: number): Promise<void> {
    const path = this.pathOf(number)
    this.#next = Promise.resolve({ number, path, bytes, handle: await this.#seams.disk.open(path) })
    this.#number = number
  }

  /** Begins to make the next file, unless it is there or being made. */
  begin(): void {
    // Who needs it takes it, and has the error; until then it is the shortage.
    if (this.#next === null) void this.take().catch(() => undefined)
  }

  /** The next file; it stays the next one until `used` or `discard`. */
  async take(): Promise<OpenFile> {
    const making = this.#next ?? this.#make()
    this.#next = making
    try {
      const file = await making
      this.#shortage = null
      return file
    } catch (error) {
      if (this.#next === making) this.#next = null
      this.#shortage = asShortage(error)
      throw error
    }
  }

  /** The next file holds a frame now: another one becomes the next. */
  used(): void {
    this.#next = null
    this.#number++
  }

  /** The next file could not be written: it goes, for good, since what stands in it may be a frame. */
  async discard(file: OpenFile): Promise<void> {
    this.#next = null
    this.#spoilt = file.path
    try {
      await file.handle.close()
      await this.#removeSpoilt()
    } catch (error) {
      // It is tried again before the next file is made.
      this.#shortage = asShortage(error)
    }
  }

  /** Tries again where there is a shortage. */
  async prepare(): Promise<void> {
    // What fails is the shortage.
    if (this.#shortage !== null) await this.take().catch(() => undefined)
  }

  async close(): Promise<void> {
    // What could not be made is the shortage's, and holds nothing.
    const next = await this.#next?.catch(() => null)
    await next?.handle.close()
  }

  pathOf(number: number): string {
    return join(this.#seams.directory, journalFileName(number))
  }

  async #make(): Promise<OpenFile> {
    await this.#removeSpoilt()
    const least = Math.min(LEAST_FILE_BYTES, this.#wanted)
    for (let bytes = this.#wanted; ; bytes = Math.max(least, Math.floor(bytes / 2))) {
      try {
        return await this.#filled(bytes)
      } catch (error) {
        if (!hasCode(error, 'JOURNAL_FULL') || bytes <= least) throw error
      }
    }
  }

  /** A file of zeros. Where it cannot be made nothing of it stays: others, and the end of the present one, need the room. */
  async #filled(bytes: number): Promise<OpenFile> {
    const { disk, directory } = this.#seams
    const number = this.#number
    const path = this.pathOf(number)
    const handle = await disk.open(path)
    try {
      const zeros = Buffer.alloc(Math.min(FILL_BYTES, bytes))
      for (let at = 0; at < bytes; at += zeros.length) {
        await handle.commit(zeros.subarray(0, Math.min(zeros.length, bytes - at)), at)
      }
      await disk.syncDirectory(directory)
      return { number, path, handle, bytes }
    } catch (error) {
      await handle.close()
      await disk.remove(path)
      throw error
    }
  }

  async #removeSpoilt(): Promise<void> {
    if (this.#spoilt === null) return
    const { disk, directory } = this.#seams
    await disk.remove(this.#spoilt)
    await disk.syncDirectory(directory)
    this.#spoilt = null
  }

  get #wanted(): number {
    const largest = this.#seams.maxFileBytes ?? LARGEST_FILE_BYTES
    return Math.min(largest, FIRST_FILE_BYTES * 2 ** Math.min(this.#number - 1, 20))
  }
}

function asShortage(error: unknown): TidemarkError {
  if (error instanceof TidemarkError) return error
  return new TidemarkError('JOURNAL_FAILED', `The next file of the journal could not be made (${messageOf(error)}).`, {
    hint: 'Check the disk of the journal directory. It is tried again by itself.',
    cause: error,
  })
}
