import { equalBytes } from '../base/bytes.ts'
import type { Write } from '../capture/source.ts'
import type { Image, Item } from '../model/event.ts'
import { isPrecondition, mapConcurrently } from './access.ts'
import type { CopyParams, DeleteReport, PutParams } from './client.ts'
import { type Dialect, type StoredObject, storedFromCopy, storedFromPut } from './image.ts'
import { keyOfItem } from './keys.ts'
import type { Reader } from './reader.ts'

type Images = readonly (Image | null)[]

/** How many objects are read at once. */
const READ_WIDTH = 16

/**
 * A put. Where it says that the object must not exist yet (`ifNoneMatch: '*'`, every insert of s3db.js), nothing is
 * read before: there was nothing if the put succeeds.
 */
export class PutWrite implements Write<object> {
  readonly #item: Item
  readonly #params: PutParams
  readonly #reader: Reader
  readonly #dialect: Dialect
  readonly #put: () => Promise<object>
  /** The state where it is known without reading. */
  #known: Image | null | undefined
  #after: Image | null = null

  constructor(item: Item, params: PutParams, reader: Reader, dialect: Dialect, put: () => Promise<object>) {
    this.#item = item
    this.#params = params
    this.#reader = reader
    this.#dialect = dialect
    this.#put = put
    this.#known = params.ifNoneMatch === '*' ? null : undefined
  }

  async read(): Promise<Images> {
    return [this.#known === undefined ? await this.#reader.image(this.#item) : this.#known]
  }

  async perform(): Promise<object> {
    try {
      const result = await this.#put()
      this.#after = await this.#written()
      return result
    } catch (error) {
      // `read` has the rejection: it reads where nothing is known.
      if (this.#known !== undefined) this.#known = await this.#settle(error).catch(() => undefined)
      throw error
    }
  }

  after(): Images {
    return [this.#after]
  }

  async #written(): Promise<Image | null> {
    const stored = storedFromPut(this.#params, this.#dialect) ?? (await this.#reader.stored(this.#params.key))
    return stored === null ? null : this.#reader.imageOf(this.#item, stored)
  }

  /**
   * After a failed insert: null where it changed nothing; where that cannot be read, `read` says so. Over a network a put that seems to fail may have been
   * done, even one that fails on its own condition when the SDK retries it; then what is there is what was meant.
   */
  async #settle(error: unknown): Promise<Image | null> {
    if (isPrecondition(error) && !this.#dialect.trimsMetadata) return null
    const stored = storedFromPut(this.#params, this.#dialect)
    const now = await this.#reader.image(this.#item)
    if (stored === null || now === null) return null
    const meant = await this.#reader.imageOf(this.#item, stored)
    return equalBytes(now.raw, meant.raw) ? now : null
  }
}

/** A copy onto a captured object. `items` are the target and, where it is another captured object, the origin. */
export class CopyWrite implements Write<object> {
  readonly items: readonly Item[]
  readonly #params: CopyParams
  readonly #reader: Reader
  readonly #dialect: Dialect
  readonly #copy: () => Promise<object>
  #origin: StoredObject | null = null
  #after: Image | null = null

  constructor(
    items: readonly Item[],
    params: CopyParams,
    reader: Reader,
    dialect: Dialect,
    copy: () => Promise<object>,
  ) {
    this.items = items
    this.#params = params
    this.#reader = reader
    this.#dialect = dialect
    this.#copy = copy
  }

  async read(): Promise<Images> {
    return mapConcurrently(this.items, READ_WIDTH, async (item) => {
      const key = keyOfItem(item)
      const stored = await this.#reader.stored(key)
      if (key === this.#params.from) this.#origin = stored
      return stored === null ? null : this.#reader.imageOf(item, stored)
    })
  }

  async perform(): Promise<object> {
    const result = await this.#copy()
    const derived = this.#origin === null ? null : storedFromCopy(this.#origin, this.#params, this.#dialect)
    const stored = derived ?? (await this.#reader.stored(this.#params.to))
    const [target] = this.items
    this.#after = stored === null || target === undefined ? null : await this.#reader.imageOf(target, stored)
    return result
  }

  after(before: Images): Images {
    return [this.#after, ...before.slice(1)]
  }
}

/** The deletion of some captured objects. */
export class DeleteWrite<T> implements Write<T> {
  readonly #items: readonly Item[]
  readonly #reader: Reader
  readonly #remove: () => Promise<T>
  readonly #isComplete: (result: T) => boolean
  #after: Images | null = null

  constructor(items: readonly Item[], reader: Reader, remove: () => Promise<T>, isComplete: (result: T) => boolean) {
    this.#items = items
    this.#reader = reader
    this.#remove = remove
    this.#isComplete = isComplete
  }

  async read(): Promise<Images> {
    return mapConcurrently(this.#items, READ_WIDTH, (item) => this.#reader.image(item))
  }

  async perform(): Promise<T> {
    const result = await this.#remove()
    if (!this.#isComplete(result)) this.#after = await this.read()
    return result
  }

  after(): Images {
    return this.#after ?? this.#items.map(() => null)
  }
}

/** Whether a report of `deleteObjects` says that every key is gone. */
export function isCompleteReport({ Errors = [], notFound = [], deleted = [] }: DeleteReport): boolean {
  return Errors.length === 0 && notFound.length === 0 && deleted.every(({ Errors: failed = [] }) => failed.length === 0)
}
