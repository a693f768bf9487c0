import type { Resource, S3db } from 's3db.js/lite'
import { compareUtf8 } from '../base/bytes.ts'
import { groupedBy, type NamedValue } from '../engine/groups.ts'
import { type Image, isUnreadable, sameImage } from '../model/event.ts'
import type { Difference, Selection } from '../restore/target.ts'
import { mapConcurrently } from './access.ts'
import { definitionOf } from './attributes.ts'
import type { ResourceEntry } from './client.ts'
import { decodeStored } from './image.ts'
import { keyPages, listItems } from './listing.ts'
import type { Reader } from './reader.ts'

const WIDTH = 16
/** The attribute of every object that says which version of its schema it was written with. */
const VERSION = '_v'

/**
 * Partition references of s3db.js are derived from records. In the end those of every restored resource are brought to
 * agree with the records that are there then, whoever wrote them: so it does not matter what was done by a restore that
 * was broken off, or by the application meanwhile. Where a resource had neither records nor references, they are made for
 * each record as it is put.
 */
export class Partitions {
  readonly #db: S3db
  readonly #reader: Reader
  /** Resources of which the target held a record. */
  readonly #held = new Set<string>()
  /** Whether a resource began without records and references, so that none can be stale or missing. */
  readonly #fresh = new Map<string, Promise<boolean>>()

  constructor(db: S3db, reader: Reader) {
    this.#db = db
    this.#reader = reader
  }

  /** What the target holds of a resource, as it is found before anything of it is written. */
  found(resource: string): void {
    this.#held.add(resource)
  }

  /** A record that was put or deleted. */
  async recordChanged({ resource, id, after }: Difference): Promise<void> {
    const live = this.#partitioned(resource)
    if (live === null || after === null || !(await this.#isFresh(resource))) return
    await this.#settle(live, id, after, [])
  }

  /** Brings the references of what was restored to agree with the records. Changes nothing where they do. */
  async finish({ resources, ids }: Selection): Promise<void> {
    for (const resource of resources ?? Object.keys(this.#db._resourcesMap)) {
      if ((await this.#fresh.get(resource)) === true) continue
      const live = this.#partitioned(resource)
      if (live === null) await this.remove(resource)
      else await this.#reconcile(live, ids)
    }
  }

  /** Removes every reference of a resource. */
  async remove(resource: string): Promise<void> {
    const { client } = this.#reader
    const { Contents = [] } = await client.listObjects({ prefix: prefixOf(resource), maxKeys: 1 })
    if (Contents.length > 0) await client.deleteAll({ prefix: prefixOf(resource) })
  }

  async #reconcile(live: Resource, ids: readonly string[] | undefined): Promise<void> {
    const { name } = live
    const records = ids === undefined ? recordsIn(this.#reader, name) : sortedOnce(ids)
    for await (const batch of groupedBy(records, referencesIn(this.#reader, name, ids))) {
      await mapConcurrently(batch, WIDTH, async ([id, keys]) => {
        const image = await this.#reader.image({ kind: 'record', resource: name, id })
        await this.#settle(live, id, image, keys)
      })
    }
  }

  /**
   * Makes the references of one record right; `present` are those that it has. A record that was written meanwhile is
   * looked at again: whoever writes it changes its references after it, so that what comes later is right by itself.
   */
  async #settle(live: Resource, id: string, first: Image | null, present: readonly string[]): Promise<void> {
    const { client } = this.#reader
    let image = first
    let known = present
    for (;;) {
      const right = await keysOf(live, id, image)
      const stale = right === null ? [] : known.filter((key) => !right.includes(key))
      const missing = right?.filter((key) => !known.includes(key)) ?? []
      if (right === null || stale.length + missing.length === 0) return
      const metadata = { [VERSION]: String(live.version) }
      for (const key of missing) await client.putObject({ key, metadata, body: '' })
      for (const key of stale) await client.deleteObject(key)
      const now = await this.#reader.image({ kind: 'record', resource: live.name, id })
      if (sameImage(now, image)) return
      image = now
      known = right
    }
  }

  #partitioned(resource: string): Resource | null {
    const live = this.#db._resourcesMap[resource]
    return live === undefined || Object.keys(live.config.partitions ?? {}).length === 0 ? null : live
  }

  #isFresh(resource: string): Promise<boolean> {
    const known = this.#fresh.get(resource)
    if (known !== undefined) return known
    const asked = this.#held.has(resource)
      ? Promise.resolve(false)
      : this.#reader.client
          .listObjects({ prefix: prefixOf(resource), maxKeys: 1 })
          .then(({ Contents = [] }) => Contents.length === 0)
    this.#fresh.set(resource, asked)
    return asked
  }
}

/** Whether a resource has partitions now and none any more with the schema that is put back. */
export function endsPartitions(db: S3db, { resource, after }: Difference): boolean {
  const live = db._resourcesMap[resource]
  if (live === undefined || after === null || Object.keys(live.config.partitions ?? {}).length === 0) return false
  const { currentVersion = 'v1', partitions, versions }: ResourceEntry = JSON.parse(Buffer.from(after.json).toString())
  const definition = versions?.[currentVersion]
  const declared = Object.keys(partitions ?? definition?.partitions ?? {}).length
  // s3db.js adds some by itself: by date, and by version.
  return declared === 0 && definition?.timestamps !== true && !db.versioningEnabled
}

/** The references of a resource, or of some of its records: as they are listed, by partition. */
async function* referencesIn(
  { client }: Reader,
  resource: string,
  ids: readonly string[] | undefined,
): AsyncGenerator<readonly NamedValue[]> {
  const chosen = ids === undefined ? null : new Set(ids)
  for await (const keys of keyPages(client, prefixOf(resource))) {
    const pairs = keys.map((key): NamedValue => [key.slice(key.lastIndexOf('/id=') + '/id='.length), key])
    yield pairs.filter(([id]) => chosen?.has(id) ?? true)
  }
}

async function* recordsIn(reader: Reader, resource: string): AsyncGenerator<readonly string[]> {
  for await (const items of listItems(reader, [resource])) {
    yield items.filter(({ kind }) => kind === 'record').map(({ id }) => id)
  }
}

async function* sortedOnce(ids: readonly string[]): AsyncGenerator<readonly string[]> {
  yield [...new Set(ids)].sort(compareUtf8)
}

function prefixOf(resource: string): string {
  return `resource=${resource}/partition=`
}

/** The references that a record must have; null where it is damaged, so that nobody can tell. */
async function keysOf(live: Resource, id: string, image: Image | null): Promise<readonly string[] | null> {
  if (image === null) return []
  if (isUnreadable(image)) return null
  const data = await valuesOf(live, id, image)
  return Object.keys(live.config.partitions)
    .map((partitionName) => live.getPartitionKey({ partitionName, id, data }))
    .filter((key) => key !== null)
}

/** The values that partitions are made of; only a partition by a secret needs s3db.js to read (and decrypt) the record. */
async function valuesOf(live: Resource, id: string, { json, raw }: Image): Promise<Record<string, unknown>> {
  const fields = Object.values(live.config.partitions).flatMap((partition) => Object.keys(partition.fields ?? {}))
  const secret = fields.some((field) => /^secret/.test(String(definitionOf(live.attributes, field))))
  const values = secret ? await live.get(id) : JSON.parse(Buffer.from(json).toString())
  if (raw === null || !fields.includes(VERSION)) return values
  // s3db.js makes the reference of an insert with the version as it is stored; reading it gives another form.
  const stored = decodeStored(raw).metadata.find(([name]) => name === VERSION)
  return stored === undefined ? values : { ...values, [VERSION]: stored[1] }
}
