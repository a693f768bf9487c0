import type { Resource, S3db } from 's3db.js/lite'

/*
 * Random concurrent writes over all write paths and behaviors of s3db.js, from a seed, with a model of its own. Imports
 * nothing that is tested. Every record is written by one writer at a time (the others wait), so that the model can say
 * what each must be; different records are written concurrently.
 */

/** The behaviors of s3db.js: how a resource divides a record between metadata and body. */
export const BEHAVIORS = ['body-overflow', 'body-only', 'user-managed', 'enforce-limits', 'truncate-data'] as const

/** What a record must say, by the attributes that the workload writes; `content` where it was the last thing set. */
export interface ModelRecord {
  readonly values: Readonly<Record<string, unknown>>
  readonly content: Uint8Array | null
}

/** Resource name, then id. */
export type Model = Map<string, Map<string, ModelRecord>>

export interface WorkloadOptions {
  readonly seed: number
  /** Records per resource that the writers meet on. Default: 12. */
  readonly ids?: number
  /** Writers at once. Default: 20. */
  readonly width?: number
  /**
   * For S3: ids of letters and digits only, because s3db.js copies from an unescaped key there; and a conditional
   * update may be refused although nobody interfered (it was done, and its answer lost), so what it did is read.
   */
  readonly remote?: boolean
}

const ATTRIBUTES = {
  name: 'string',
  n: 'number',
  ok: 'boolean|optional',
  tags: 'array|items:string|optional',
  st: 'string|optional',
  big: 'string|optional',
}

/** mulberry32: a small generator of numbers in [0, 1), the same everywhere for the same seed. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

export class Workload {
  /** What every record must say now: resource name, then id. Right whenever no `run` is under way. */
  readonly model: Model = new Map()
  readonly #db: S3db
  readonly #random: () => number
  readonly #ids: readonly string[]
  readonly #width: number
  readonly #remote: boolean
  readonly #locks = new Map<string, Promise<void>>()
  #counter = 0

  constructor(db: S3db, { seed, ids = 12, width = 20, remote = false }: WorkloadOptions) {
    this.#db = db
    this.#random = randomFrom(seed)
    this.#width = width
    this.#remote = remote
    this.#ids = Array.from(
      { length: ids },
      (_, i) => (remote ? 'id' : ['id', 'ключ', 'a:b', '漢', 'x y'][i % 5]) + String(i),
    )
  }

  /** Creates one resource per behavior. */
  async prepare(): Promise<void> {
    for (const behavior of BEHAVIORS) {
      await this.#db.createResource({
        name: `w-${behavior}`,
        attributes: { ...ATTRIBUTES }, // s3db.js adds its own to what it is given
        behavior,
        timestamps: behavior !== 'user-managed',
        paranoid: false,
        partitions: { bySt: { fields: { st: 'string' } } },
      })
      this.model.set(`w-${behavior}`, new Map())
    }
  }

  /** Does `operations` random writes, some at once; fails where one fails that the model says must succeed. */
  async run(operations: number): Promise<void> {
    let left = operations
    const lane = async (): Promise<void> => {
      while (left-- > 0) await this.#operation()
    }
    await Promise.all(Array.from({ length: this.#width }, lane))
  }

  /** What s3db.js says of every record, to be compared with `expected`, the present one or one of an earlier moment. */
  async read(expected: Model = this.expected(), db: S3db = this.#db): Promise<Model> {
    const found = new Map<string, Map<string, ModelRecord>>()
    for (const [name, modelled] of expected) {
      const records = new Map<string, ModelRecord>()
      const resource = await db.getResource(name)
      for (const id of (await resource.listIds({ limit: 100_000 })).sort()) {
        const values = pick(await resource.get(id))
        const expectsContent = modelled.get(id)?.content !== null && modelled.get(id)?.content !== undefined
        const content = expectsContent ? (await resource.content(id)).buffer : null
        records.set(id, { values, content: content === null ? null : new Uint8Array(content) })
      }
      found.set(name, records)
    }
    return found
  }

  /** The model with ids sorted as `read` gives them. */
  expected(): Model {
    return new Map(
      [...this.model].map(([name, records]) => [name, new Map([...records].sort(([a], [b]) => (a < b ? -1 : 1)))]),
    )
  }

  async #operation(): Promise<void> {
    const name = `w-${this.#choose(BEHAVIORS)}`
    const resource = await this.#db.getResource(name)
    const records = this.model.get(name) ?? new Map<string, ModelRecord>()
    const kind = this.#random()
    if (kind < 0.01) return this.#locked(name, this.#ids, () => this.#deleteAll(resource, records))
    const ids =
      kind < 0.06 ? [...new Set([this.#choose(this.#ids), this.#choose(this.#ids)])] : [this.#choose(this.#ids)]
    if (kind < 0.03) return this.#locked(name, ids, () => this.#deleteMany(resource, records, ids))
    if (kind < 0.06) return this.#locked(name, ids, () => this.#insertMany(resource, records, ids))
    const id = ids[0] ?? ''
    await this.#locked(name, [id], () => this.#single(resource, records, id))
  }

  async #single(resource: Resource, records: Map<string, ModelRecord>, id: string): Promise<void> {
    const known = records.get(id)
    const values = this.#values(resource)
    if (known === undefined) {
      await (this.#random() < 0.7 ? resource.insert({ id, ...values }) : resource.upsert({ id, ...values }))
      records.set(id, { values, content: null })
      return
    }
    const merged = { values: { ...known.values, ...values }, content: null }
    const choice = this.#random()
    if (choice < 0.15) {
      await resource.delete(id)
      records.delete(id)
    } else if (choice < 0.25 && known.values.big === 'short') {
      // Of a record that overflows, s3db.js loses the attributes in the body when content takes its place.
      await resource.setContent({ id, buffer: this.#bytes(), contentType: 'image/png' }).then(async () => {
        records.set(id, { values: known.values, content: new Uint8Array((await resource.content(id)).buffer ?? []) })
      })
    } else if (choice < 0.3 && known.content !== null) {
      await resource.deleteContent(id)
      records.set(id, { values: known.values, content: null })
    } else if (choice < 0.45) {
      await resource.replace(id, values)
      records.set(id, { values, content: null })
    } else {
      let done = true
      if (choice < 0.65) await resource.patch(id, values)
      else if (choice < 0.75) await resource.upsert({ id, ...values })
      else if (choice < 0.85) done = await this.#updateConditional(resource, id, values)
      else await resource.update(id, values)
      records.set(id, done ? merged : { values: pick(await resource.get(id)), content: null })
    }
  }

  async #updateConditional(resource: Resource, id: string, values: Record<string, unknown>): Promise<boolean> {
    const { _etag } = await resource.get(id)
    const { success, error } = await resource.updateConditional(id, values, { ifMatch: String(_etag) })
    if (!success && !this.#remote) throw new Error(`updateConditional failed: ${error}`)
    return success
  }

  async #insertMany(resource: Resource, records: Map<string, ModelRecord>, ids: readonly string[]): Promise<void> {
    const rows = ids.filter((id) => !records.has(id)).map((id) => ({ id, ...this.#values(resource) }))
    await resource.insertMany(rows)
    for (const { id, ...values } of rows) records.set(id, { values, content: null })
  }

  async #deleteMany(resource: Resource, records: Map<string, ModelRecord>, ids: readonly string[]): Promise<void> {
    await resource.deleteMany(ids.filter((id) => records.has(id)))
    for (const id of ids) records.delete(id)
  }

  async #deleteAll(resource: Resource, records: Map<string, ModelRecord>): Promise<void> {
    await resource.deleteAll()
    records.clear()
  }

  /** Values that every behavior keeps; long ones only where they are not refused or cut. */
  #values({ behavior }: Resource): Record<string, unknown> {
    const n = ++this.#counter
    // Not `body-overflow`: s3db.js 21.6.2 writes what overflows but does not find it again.
    const long = ['body-only', 'user-managed'].includes(behavior) && this.#random() < 0.1
    return {
      name: this.#choose(['plain', 'ünïcode', '漢字', 'd:j', 'u:%41', 'b:QQ==', 'https://x/y', 'a|b\\c', 'active']) + n,
      n: this.#random() < 0.5 ? n : n + 0.25,
      ok: this.#random() < 0.5,
      tags: [`t${n}`, 'a|b', '漢'].slice(0, 1 + Math.floor(this.#random() * 3)),
      st: this.#choose(['x', 'y', 'z']),
      big: long ? 'long '.repeat(600).trim() : 'short',
    }
  }

  #bytes(): Buffer {
    return Buffer.from(
      Array.from({ length: 1 + Math.floor(this.#random() * 40) }, () => 128 + Math.floor(this.#random() * 128)),
    )
  }

  #choose<T>(values: readonly T[]): T {
    const value = values[Math.floor(this.#random() * values.length)]
    if (value === undefined) throw new Error('nothing to choose from')
    return value
  }

  async #locked(name: string, ids: readonly string[], work: () => Promise<void>): Promise<void> {
    const keys = ids.map((id) => `${name}/${id}`)
    const waits = keys.map((key) => this.#locks.get(key))
    const { promise, resolve } = Promise.withResolvers<void>()
    for (const key of keys) this.#locks.set(key, promise)
    await Promise.all(waits)
    try {
      await work()
    } finally {
      resolve()
    }
  }
}

function pick(record: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.keys(ATTRIBUTES).map((key) => [key, record[key]]))
}
