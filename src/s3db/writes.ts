import { equalBytes, sha256Bytes } from '../base/bytes.ts'
import type { Images, KnownImages, Write } from '../capture/source.ts'
import { type Image, type Item, unreadableImage } from '../model/event.ts'
import { mapConcurrently } from './access.ts'
import type { CopyParams, PutParams } from './client.ts'
import { isPrecondition, isRefusal } from './errors.ts'
import { type Dialect, storedFromCopy, storedFromPut } from './image.ts'
import { keyOfItem } from './keys.ts'
import { Damaged, type Reader } from './reader.ts'
import { encodeStored, type StoredObject } from './stored-object.ts'

/** How many objects are read at once. */
const READ_WIDTH = 16

/**
 * A put. Where it says that the object must not exist yet (`ifNoneMatch: '*'`, every insert of s3db.js), nothing is
 * read before: there was nothing if the put succeeds.
 */
export class PutWrite implements Write<object> {
  /** Whether nothing was read, because the put says that there is nothing. */
  readonly isAssumed: boolean
  readonly #item: Item
  readonly #params: PutParams
  readonly #reader: Reader
  readonly #dialect: Dialect
  readonly #put: () => Promise<object>
  /** The state where it is known without reading. */
  #known: Image | null | undefined
  #after: Image | null = null
  #derived: Derived | null | undefined

  constructor(item: Item, params: PutParams, reader: Reader, dialect: Dialect, put: () => Promise<object>) {
    this.#item = item
    this.#params = params
    this.#reader = reader
    this.#dialect = dialect
    this.#put = put
    this.isAssumed = params.ifNoneMatch === '*'
    this.#known = this.isAssumed ? null : undefined
  }

  async read([known]: KnownImages = []): Promise<Images> {
    return [this.#known === undefined ? await this.#reader.imageBefore(this.#item, known) : this.#known]
  }

  meant(): Uint8Array | null {
    const derived = this.#derive()
    return derived === null ? null : sha256Bytes(derived.raw)
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
    } finally {
      this.#reader.recent.written(this.#params.key)
    }
  }

  after(): Images {
    return [this.#after]
  }

  refused(error: unknown): boolean {
    // An insert of which a later attempt was refused, because an earlier one had been done, has changed something.
    return !this.#known && isRefusal(error, this.#dialect.local)
  }

  /** What the put will store, derived once: it is asked for before the put and after it. */
  #derive(): Derived | null {
    if (this.#derived === undefined) {
      const stored = storedFromPut(this.#params, this.#dialect)
      this.#derived = stored === null ? null : { stored, raw: encodeStored(stored) }
    }
    return this.#derived
  }

  async #written(): Promise<Image | null> {
    const derived = this.#derive()
    if (derived !== null) return this.#reader.imageOf(this.#item, derived.stored, derived.raw)
    return this.#reader.image(this.#item)
  }

  /**
   * After a failed insert: null where it changed nothing; where that cannot be read, `read` says so. Over a network a put that seems to fail may have been
   * done, even one that fails on its own condition when the SDK retries it; then what is there is what was meant.
   */
  async #settle(error: unknown): Promise<Image | null> {
    if (this.#dialect.local && isPrecondition(error)) return null
    const derived = this.#derive()
    const now = await this.#reader.image(this.#item)
    return derived !== null && now !== null && equalBytes(now.raw, derived.raw) ? now : null
  }
}

/** What a put or a copy will leave, and `Image.raw` of it. */
interface Derived {
  readonly stored: StoredObject
  readonly raw: Uint8Array
}

/** A copy onto a captured object. `items` are the target and, where it is another captured object, the origin. */
export class CopyWrite implements Write<object> {
  readonly items: readonly Item[]
  readonly #params: CopyParams
  readonly #reader: Reader
  readonly #dialect: Dialect
  readonly #copy: () => Promise<object>
  #origin: StoredObject | null = null
  #derived: Derived | null | undefined
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

  async read(known: KnownImages = []): Promise<Images> {
    return mapConcurrently(this.items, READ_WIDTH, async (item, i) => {
      const key = keyOfItem(item)
      const last = known[i]
      if (key !== this.#params.from) return this.#reader.imageBefore(item, last)
      this.#origin = last?.raw ? this.#reader.recent.take(key, last.raw) : null
      if (this.#origin !== null && last !== undefined) return last
      const stored = await this.#reader.storedOrDamaged(key)
      if (stored instanceof Damaged) return unreadableImage(item, stored.reason)
      this.#origin = stored
      return stored === null ? null : this.#reader.imageOf(item, stored)
    })
  }

  meant(): Uint8Array | null {
    const derived = this.#derive()
    return derived === null ? null : sha256Bytes(derived.raw)
  }

  async perform(): Promise<object> {
    const result = await this.#copy().finally(() => this.#reader.recent.written(this.#params.to))
    const [target] = this.items
    const derived = this.#derive()
    if (target !== undefined)
      this.#after = await (derived === null
        ? this.#reader.image(target)
        : this.#reader.imageOf(target, derived.stored, derived.raw))
    return result
  }

  after(before: Images): Images {
    return [this.#after, ...before.slice(1)]
  }

  refused(error: unknown): boolean {
    return isRefusal(error, this.#dialect.local)
  }

  /** What the copy will leave, from its origin, which has been read. */
  #derive(): Derived | null {
    if (this.#derived === undefined) {
      const stored = this.#origin === null ? null : storedFromCopy(this.#origin, this.#params, this.#dialect)
      this.#derived = stored === null ? null : { stored, raw: encodeStored(stored) }
    }
    return this.#derived
  }
}
