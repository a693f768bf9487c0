import type { Resource, S3db } from 's3db.js/lite'
import { type Image, isUnreadable } from '../model/event.ts'
import type { Difference } from '../restore/target.ts'
import { mapConcurrently } from './access.ts'
import { definitionOf } from './attributes.ts'
import { listItems } from './listing.ts'
import type { Reader } from './reader.ts'

const WIDTH = 16
/** Changed records of one resource that are remembered; beyond, the references of the resource are all made anew. */
const MAX_REMEMBERED = 50_000

interface State {
  /** There were no references at all, so none can be stale. */
  readonly fresh: boolean
  /** The references that each changed record must have. */
  readonly wanted: Map<string, readonly string[]>
  rebuild: boolean
}

/**
 * Partition references of s3db.js are derived from records: made for what is put, and in the end those of changed
 * records that are not right any more are removed (also those that s3db.js itself leaves behind, as `replace` does).
 */
export class Partitions {
  readonly #db: S3db
  readonly #reader: Reader
  readonly #states = new Map<string, Promise<State>>()

  constructor(db: S3db, reader: Reader) {
    this.#db = db
    this.#reader = reader
  }

  /** A schema that changed: every reference of the resource may be another one now, or none. */
  schemaChanged({ resource, before }: Difference): void {
    if (before !== null) this.#states.set(resource, Promise.resolve({ fresh: false, wanted: new Map(), rebuild: true }))
  }

  /** A record that was put or deleted. */
  async recordChanged({ resource, id, after }: Difference): Promise<void> {
    const live = this.#partitioned(resource)
    if (live === null) return
    const state = await this.#state(resource)
    if (state.rebuild) return
    const keys = after === null ? [] : await this.#put(live, id, after)
    if (state.fresh) return
    state.wanted.set(id, keys)
    if (state.wanted.size > MAX_REMEMBERED) {
      state.rebuild = true
      state.wanted.clear()
    }
  }

  async finish(): Promise<void> {
    for (const [resource, pending] of this.#states) {
      const state = await pending
      if (state.rebuild) await this.#rebuild(resource)
      else if (!state.fresh) await this.#removeStale(resource, state.wanted)
    }
  }

  async #removeStale(resource: string, wanted: ReadonlyMap<string, readonly string[]>): Promise<void> {
    const keys = await this.#reader.client.getAllKeys({ prefix: prefixOf(resource) })
    const stale = keys.filter((key) => {
      const right = wanted.get(key.slice(key.lastIndexOf('/id=') + '/id='.length))
      return right !== undefined && !right.includes(key)
    })
    await mapConcurrently(stale, WIDTH, (key) => this.#reader.client.deleteObject(key))
  }

  async #rebuild(resource: string): Promise<void> {
    await this.#reader.client.deleteAll({ prefix: prefixOf(resource) })
    const live = this.#partitioned(resource)
    if (live === null) return
    for await (const items of listItems(this.#reader, [resource])) {
      await mapConcurrently(items, WIDTH, async (item) => {
        if (item.kind !== 'record') return
        const image = await this.#reader.image(item)
        // What is damaged has no values that a reference could be made of.
        if (image !== null && !isUnreadable(image)) await this.#put(live, item.id, image)
      })
    }
  }

  async #put(live: Resource, id: string, image: Image): Promise<readonly string[]> {
    const names = Object.keys(live.config.partitions)
    const data = await valuesOf(live, id, image)
    const keys = names
      .map((partitionName) => live.getPartitionKey({ partitionName, id, data }))
      .filter((key) => key !== null)
    const metadata = { _v: String(live.version) }
    for (const key of keys) await this.#reader.client.putObject({ key, metadata, body: '' })
    return keys
  }

  #partitioned(resource: string): Resource | null {
    const live = this.#db._resourcesMap[resource]
    return live === undefined || Object.keys(live.config.partitions ?? {}).length === 0 ? null : live
  }

  #state(resource: string): Promise<State> {
    const known = this.#states.get(resource)
    if (known !== undefined) return known
    const made = this.#reader.client
      .listObjects({ prefix: prefixOf(resource), maxKeys: 1 })
      .then(({ Contents = [] }): State => ({ fresh: Contents.length === 0, wanted: new Map(), rebuild: false }))
    this.#states.set(resource, made)
    return made
  }
}

function prefixOf(resource: string): string {
  return `resource=${resource}/partition=`
}

/** The values that partitions are made of; only a partition by a secret needs s3db.js to read (and decrypt) the record. */
async function valuesOf(live: Resource, id: string, { json }: Image): Promise<Record<string, unknown>> {
  const fields = Object.values(live.config.partitions).flatMap((partition) => Object.keys(partition.fields ?? {}))
  const secret = fields.some((field) => /^secret/.test(String(definitionOf(live.attributes, field))))
  return secret ? live.get(id) : JSON.parse(Buffer.from(json).toString())
}
