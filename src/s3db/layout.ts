import { attributeDecoder, type Decode, definitionOf, parsed } from './attributes.ts'
import type { Attributes, SchemaAction } from './client.ts'

/** What of one version of a resource decides how its objects read. */
export interface LayoutSource {
  readonly behavior: string
  readonly attributes: Attributes
  /** Stored key of each attribute, by stored key; also those of attributes that are gone. */
  readonly names: ReadonlyMap<string, string>
  /** Attributes that plugins added. */
  readonly pluginNames: ReadonlyMap<string, string>
  readonly afterUnmap: Readonly<Record<string, readonly SchemaAction[]>>
  /** s3db.js's own decoder, for values whose keys are attribute names already. */
  readonly unmap: (named: Readonly<Record<string, unknown>>) => Promise<Readonly<Record<string, unknown>>>
}

/** Values by key or attribute name. */
export type Values = Readonly<Record<string, unknown>>

interface Field {
  readonly name: string
  readonly path: readonly string[]
  readonly rank: number
  readonly decode: Decode | null
}

/** How the objects of one version of a resource are read: compiled once, used for every object. */
export class Layout {
  readonly behavior: string
  readonly #source: LayoutSource
  readonly #byKey = new Map<string, Field>()
  readonly #byName = new Map<string, Field>()
  readonly #topLevel: ReadonlyMap<string, number>

  constructor(source: LayoutSource) {
    this.behavior = source.behavior
    this.#source = source
    const order = Object.keys(source.attributes)
    this.#topLevel = new Map(order.map((name, rank) => [name, rank]))
    for (const [key, name] of [...source.names, ...source.pluginNames]) this.#byKey.set(key, this.#field(name))
    for (const name of order) this.#field(name)
  }

  /** The same layout for an object that brings its own keys (`_map` of the behavior `body-only`). */
  withNames(names: ReadonlyMap<string, string>, pluginNames: ReadonlyMap<string, string>): Layout {
    return new Layout({ ...this.#source, names, pluginNames })
  }

  /** Whether a stored key is an attribute's, as opposed to bookkeeping of s3db.js. */
  isAttribute(key: string): boolean {
    return !key.startsWith('_') || this.#byKey.has(key)
  }

  /**
   * The attributes of stored values, nested, in the order of the schema and then of the store; a promise where a
   * type needs s3db.js's own decoder. Bookkeeping is left out.
   */
  decode(stored: readonly (readonly [key: string, value: unknown])[]): Values | Promise<Values> {
    const found: [field: Field, value: unknown][] = []
    let isOrdered = true
    for (const [key, value] of stored) {
      if (!this.isAttribute(key)) continue
      const field = this.#byKey.get(key) ?? this.#byName.get(key) ?? unknownField(key)
      if (field.decode === null) return this.#unmap(stored)
      isOrdered &&= field.rank >= (found.at(-1)?.[0].rank ?? 0)
      found.push([field, field.decode(value)])
    }
    if (!isOrdered) found.sort((a, b) => a[0].rank - b[0].rank)
    const values: Record<string, unknown> = {}
    for (const [{ path }, value] of found) place(values, path, value)
    return values
  }

  /**
   * `values`, and what only `body` has, in the order of the schema. In the behavior `user-managed` an update leaves a copy
   * of the record in the body, and s3db.js reads there what its metadata do not hold under their names: objects in
   * attributes of the type `any`.
   */
  completed(values: Values, body: Values): Values {
    const missing = Object.entries(body).filter(([name]) => !name.startsWith('_') && !Object.hasOwn(values, name))
    return missing.length === 0 ? values : this.#ordered([...Object.entries(values), ...missing])
  }

  async #unmap(stored: readonly (readonly [key: string, value: unknown])[]): Promise<Values> {
    const named: Record<string, unknown> = {}
    for (const [key, value] of stored) {
      if (this.isAttribute(key)) named[this.#byKey.get(key)?.name ?? key] = value
    }
    const values = await this.#source.unmap(named)
    return this.#ordered(Object.entries(values))
  }

  #ordered(entries: [name: string, value: unknown][]): Values {
    const rank = (name: string): number => this.#topLevel.get(name) ?? this.#topLevel.size
    return Object.fromEntries(entries.sort(([a], [b]) => rank(a) - rank(b)))
  }

  #field(name: string): Field {
    const known = this.#byName.get(name)
    if (known !== undefined) return known
    const path = name.split('.')
    const field = {
      name,
      path,
      rank: this.#topLevel.get(path[0] ?? name) ?? this.#topLevel.size,
      decode: attributeDecoder(definitionOf(this.#source.attributes, name), this.#source.afterUnmap[name] ?? []),
    }
    this.#byName.set(name, field)
    return field
  }
}

function unknownField(name: string): Field {
  return { name, path: name.split('.'), rank: Number.MAX_SAFE_INTEGER, decode: parsed }
}

/** Sets a nested value as s3db.js's `unflatten` does: a number in the path makes an array. */
function place(values: Record<string, unknown>, path: readonly string[], value: unknown): void {
  let current: Record<string, unknown> = values
  for (let i = 0; i < path.length - 1; i++) {
    const part = path[i] ?? ''
    const next = Object.hasOwn(current, part) ? current[part] : undefined
    const container = isContainer(next) ? next : containerFor(path[i + 1] ?? '')
    if (container !== next) set(current, part, container)
    current = container
  }
  set(current, path.at(-1) ?? '', value)
}

function containerFor(part: string): Record<string, unknown> {
  const made: unknown = /^\d+$/.test(part) ? [] : {}
  return isContainer(made) ? made : {}
}

/** Also for the one name that is not a property like others. */
function set(target: Record<string, unknown>, name: string, value: unknown): void {
  if (name !== '__proto__') target[name] = value
  else Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true })
}

function isContainer(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
