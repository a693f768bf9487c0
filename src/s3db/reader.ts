import { text } from '../base/bytes.ts'
import type { Image, Item } from '../model/event.ts'
import { isLocal } from './access.ts'
import type { Database, StorageClient } from './client.ts'
import { imageOf } from './decode.ts'
import { isMissing } from './errors.ts'
import { encodeStored, type StoredObject, storedFromResponse } from './image.ts'
import { type KeySpace, keyOfItem, SCHEMA_KEY } from './keys.ts'
import { Layouts } from './layouts.ts'
import { type SchemaImages, splitSchema } from './schema-items.ts'

/** Reads stored objects of a database through its client, as images. */
export class Reader {
  readonly space: KeySpace
  readonly #db: Database
  readonly #layouts: Layouts
  #schemaText: string | null = null
  #schemas: SchemaImages = new Map()

  constructor(db: Database, pluginStorage: boolean) {
    this.#db = db
    this.#layouts = new Layouts(db)
    this.space = { names: () => resourceNames(db), pluginStorage }
  }

  /** The present state of an item, or null. */
  async image(item: Item): Promise<Image | null> {
    if (item.kind === 'schema') return (await this.schemas()).get(item.resource) ?? null
    const stored = await this.stored(keyOfItem(item))
    return stored === null ? null : this.imageOf(item, stored)
  }

  /** The image of a stored object; `raw` is `encodeStored(stored)`, where the caller has it already. */
  imageOf(item: Item, stored: StoredObject, raw: Uint8Array = encodeStored(stored)): Image | Promise<Image> {
    return imageOf(item, stored, raw, this.#layouts)
  }

  /** A stored object, or null; on file:// a body without its metadata file is none, as for s3db.js itself. */
  async stored(key: string): Promise<StoredObject | null> {
    try {
      return await storedFromResponse(await this.client.getObject(key), isLocal(this.client))
    } catch (error) {
      if (isMissing(error)) return null
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
