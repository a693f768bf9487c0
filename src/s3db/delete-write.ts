import { EMPTY } from '../base/bytes.ts'
import type { Images, KnownImages, Write } from '../capture/source.ts'
import type { Image, Item } from '../model/event.ts'
import { isOfFiles, mapConcurrently } from './access.ts'
import type { DeleteReport, StorageClient } from './client.ts'
import { isRefusal } from './errors.ts'
import type { Dialect } from './image.ts'
import { keyOfItem } from './keys.ts'
import type { Reader } from './reader.ts'

/** How many objects are read at once. */
const READ_WIDTH = 16

/** Why a deletion was not begun: only so many of its first images may be in memory together. */
export class TooLarge extends Error {
  /** At least one. */
  readonly fitting: number

  constructor(fitting: number) {
    super(`only ${fitting} of the images fit`)
    this.fitting = fitting
  }
}

/** How some captured objects are deleted. */
export interface DeleteParts<T> {
  readonly remove: () => Promise<T>
  /** Whether its result says that all of them are gone. */
  readonly isComplete: (result: T) => boolean
  /** Where the images before have more bytes than this, and are not one, `read` rejects with `TooLarge`. */
  readonly mostBytes: number
}

/** The deletion of some captured objects. */
export class DeleteWrite<T> implements Write<T> {
  readonly #items: readonly Item[]
  readonly #reader: Reader
  readonly #dialect: Dialect
  readonly #parts: DeleteParts<T>
  #bytesRead = 0
  #isBegun = false
  #after: Images | null = null

  constructor(items: readonly Item[], reader: Reader, dialect: Dialect, parts: DeleteParts<T>) {
    this.#items = items
    this.#reader = reader
    this.#dialect = dialect
    this.#parts = parts
  }

  /** Of the images that were read. */
  get bytesRead(): number {
    return this.#bytesRead
  }

  async read(known: KnownImages = []): Promise<Images> {
    const images: (Image | null)[] = []
    let largest = 0
    this.#bytesRead = 0
    while (images.length < this.#items.length) {
      // One first: what the others are like is not known before.
      const room = (this.#parts.mostBytes - this.#bytesRead) / Math.max(1, largest)
      const width = images.length === 0 ? 1 : Math.max(1, Math.min(READ_WIDTH, Math.floor(room)))
      const next = this.#items.slice(images.length, images.length + width)
      const from = images.length
      const read = (item: Item, i: number): Promise<Image | null> => this.#reader.imageBefore(item, known[from + i])
      for (const image of await mapConcurrently(next, width, read)) {
        const bytes = bytesOf(image)
        const isTooMuch = images.length > 0 && this.#bytesRead + bytes > this.#parts.mostBytes
        if (isTooMuch && !this.#isBegun) throw new TooLarge(images.length)
        images.push(image)
        this.#bytesRead += bytes
        largest = Math.max(largest, bytes)
      }
    }
    return images
  }

  meant(): Uint8Array {
    return EMPTY
  }

  async perform(): Promise<T> {
    this.#isBegun = true
    const result = await this.#parts.remove().finally(() => {
      for (const item of this.#items) this.#reader.recent.written(keyOfItem(item))
    })
    if (!this.#parts.isComplete(result)) this.#after = await this.read()
    return result
  }

  after(): Images {
    return this.#after ?? this.#items.map(() => null)
  }

  refused(error: unknown): boolean {
    // Of several deletions, some may have been done before one was refused.
    return this.#items.length === 1 && isRefusal(error, this.#dialect.local)
  }
}

function bytesOf(image: Image | null): number {
  return image === null ? 0 : image.json.length + (image.raw?.length ?? 0)
}

/** Whether a report of `deleteObjects` says that every key is gone. */
export function isCompleteReport({ Errors = [], notFound = [], deleted = [] }: DeleteReport): boolean {
  return Errors.length === 0 && notFound.length === 0 && deleted.every(({ Errors: failed = [] }) => failed.length === 0)
}

/**
 * Sees whether what was deleted is gone. s3db.js answers that a file is deleted whatever the file system said to it, such as
 * that it is mounted for reading only.
 */
export class Removed {
  readonly #client: StorageClient
  #areAll = true

  constructor(client: StorageClient) {
    this.#client = client
  }

  /** Of the last removal. */
  get areAll(): boolean {
    return this.#areAll
  }

  async by<T>(remove: () => Promise<T>, keys: readonly string[]): Promise<T> {
    const result = await remove()
    if (!isOfFiles(this.#client)) return result
    const stay = await Promise.all(keys.map((key) => this.#client.exists?.(key)))
    this.#areAll = !stay.includes(true)
    return result
  }
}
