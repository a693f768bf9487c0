import { text } from '../base/bytes.ts'
import { hasCode } from '../base/errors.ts'
import { type Image, type Item, unreadableImage } from '../model/event.ts'
import { isLocal } from './access.ts'
import type { Database, StorageClient, StoredResponse } from './client.ts'
import { imageOf } from './decode.ts'
import { isDamage, isDenied, isMissing, isRefusedKey, reasonOf } from './errors.ts'
import { storedFromResponse } from './image.ts'
import { type KeySpace, keyOfItem, SCHEMA_KEY } from './keys.ts'
import { Layouts } from './layouts.ts'
import { RecentReads } from './recent-reads.ts'
import { type SchemaImages, splitSchema } from './schema-items.ts'
import { encodeStored, type StoredObject } from './stored-object.ts'

/** An object that is there and cannot be read; `reason` for people. */
export class Damaged {
  readonly reason: string

  constructor(reason: string) {
    this.reason = reason
  }
}

/** Reads stored objects of a database through its client, as images. */
export class Reader {
  readonly space: KeySpace
  /** What the application has read. */
  readonly recent: RecentReads = new RecentReads()
  readonly #db: Database
  readonly #layouts: Layouts
  #schemaText: string | null = null
  #isReading = false
  #schemas: SchemaImages = new Map()

  constructor(db: Database, pluginStorage: boolean) {
    this.#db = db
    this.#layouts = new Layouts(db)
    this.space = { names: () => resourceNames(db), pluginStorage }
  }

  /** The present state of an item, or null; `unreadableImage` where it is damaged. */
  async image(item: Item): Promise<Image | null> {
    if (item.kind === 'schema') return (await this.schemas()).get(item.resource) ?? null
    const stored = await this.storedOrDamaged(keyOfItem(item))
    if (stored instanceof Damaged) return unreadableImage(item, stored.reason)
    return stored === null ? null : this.imageOf(item, stored)
  }

  /**
   * The state that a write finds; where `known` was given and the application has read just that a moment ago, without
   * reading it again. What this process may not read but replace is as unknown as what is damaged; for
   * anybody else it is an error, because it says nothing about the object.
   */
  async imageBefore(item: Item, known?: Image | null): Promise<Image | null> {
    if (known?.raw && this.recent.take(keyOfItem(item), known.raw) !== null) return known
    try {
      return await this.image(item)
    } catch (error) {
      if (isDenied(error, isLocal(this.client))) return unreadableImage(item, reasonOf(error))
      throw error
    }
  }

  /** The image of a stored object; `raw` is `encodeStored(stored)`, where the caller has it already. */
  imageOf(item: Item, stored: StoredObject, raw: Uint8Array = encodeStored(stored)): Image | Promise<Image> {
    return imageOf(item, stored, raw, this.#layouts)
  }

  /** A stored object, or null; on file:// a body without its metadata file is none, as for s3db.js itself. */
  async stored(key: string): Promise<StoredObject | null> {
    try {
      return await storedFromResponse(await this.#get(key), isLocal(this.client))
    } catch (error) {
      if (isMissing(error) || this.#cannotBe(key, error)) return null
      throw error
    }
  }

  #cannotBe(key: string, error: unknown): boolean {
    const { keyPrefix = '' } = this.client.config ?? {}
    return !isLocal(this.client) && isRefusedKey(error, `${keyPrefix}/${key}`)
  }

  /** Reads that are not the application's. */
  get isReading(): boolean {
    return this.#isReading
  }

  #get(key: string): Promise<StoredResponse> {
    this.#isReading = true
    try {
      return this.client.getObject(key)
    } finally {
      this.#isReading = false
    }
  }

  /** As `stored`; a `Damaged` where it is there and cannot be read. */
  async storedOrDamaged(key: string): Promise<StoredObject | Damaged | null> {
    try {
      return await this.stored(key)
    } catch (error) {
      if (isDamage(error, isLocal(this.client))) return new Damaged(reasonOf(error))
      throw error
    }
  }

  /** The schema items that there are now. */
  async schemas(): Promise<SchemaImages> {
    const json = await this.text(SCHEMA_KEY)
    if (json !== this.#schemaText) {
      this.#schemas = splitSchema(json)
      this.#schemaText = json
    }
    return this.#schemas
  }

  /** As `schemas`; null where `s3db.json` is damaged. */
  async schemasIfReadable(): Promise<SchemaImages | null> {
    try {
      return await this.schemas()
    } catch (error) {
      if (hasCode(error, 'SOURCE_UNSUPPORTED') || isDamage(error, isLocal(this.client))) return null
      throw error
    }
  }

  async text(key: string): Promise<string | null> {
    const stored = await this.stored(key)
    if (stored === null) return null
    return typeof stored.body === 'string' ? stored.body : text(stored.body)
  }

  get client(): StorageClient {
    return this.#db.client
  }
}

function resourceNames(db: Database): Set<string> {
  return new Set([...Object.keys(db.resources), ...Object.keys(db.savedMetadata?.resources ?? {})])
}
