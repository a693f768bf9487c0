import { TidemarkError } from '../base/errors.ts'
import type { Image } from '../model/event.ts'
import type { Fitted, ItemState } from '../restore/target.ts'
import { definitionOf } from './attributes.ts'
import type { ResourceEntry } from './client.ts'
import { decodeStored } from './image.ts'
import { namesOfEntry } from './layouts.ts'
import type { Reader } from './reader.ts'
import { encodeStored, type StoredObject } from './stored-object.ts'

/** What s3db.js reads of a resource: which attribute each stored key is, and what it is defined as. */
interface Shape {
  readonly behavior: string
  readonly version: string
  readonly names: ReadonlyMap<string, string>
  readonly keys: ReadonlyMap<string, string>
  readonly definition: (name: string) => string
}

/** How records with the schema of the moment go into a resource with another one. */
interface Mapping {
  readonly present: Shape
  /** The stored key there of each stored key; null where the attribute does not fit. */
  readonly keys: ReadonlyMap<string, string | null>
  readonly names: ReadonlyMap<string, string>
}

/**
 * Single records that go into a database whose resources keep their schemas. s3db.js stores values under numbers that the
 * schema gives its attributes: under another schema they would land in other attributes.
 */
export class SchemaFit {
  readonly #reader: Reader
  readonly #mapSchema: boolean
  readonly #mappings = new Map<string, Mapping>()

  constructor(reader: Reader, mapSchema: boolean) {
    this.#reader = reader
    this.#mapSchema = mapSchema
  }

  /** See `Target.fit`. Errors: `SCHEMA_DIFFERS`. */
  async fit(states: readonly ItemState[]): Promise<Fitted> {
    const unfit = new Set<string>()
    const fitted: ItemState[] = []
    for (const state of states) {
      if (state.kind === 'schema' && state.resource !== '') await this.#compare(state)
      const mapping = state.kind === 'record' ? this.#mappings.get(state.resource) : undefined
      fitted.push(mapping === undefined ? state : { ...state, image: await this.#mapped(state, mapping, unfit) })
    }
    return { states: fitted, unfit: [...unfit] }
  }

  async #compare({ resource, image }: ItemState): Promise<void> {
    const there = (await this.#reader.schemas()).get(resource)
    if (there === undefined) return
    const [then, present] = [await shapeOf(resource, image), await shapeOf(resource, there)]
    if (then === null || present === null) return
    const differing = [...then.names].filter(([key, name]) => !isSame(then, present, key, name)).map(([, name]) => name)
    if (then.behavior !== present.behavior) throw otherBehavior(resource, then, present)
    if (differing.length === 0) return
    if (!this.#mapSchema) throw differs(resource, differing)
    const keys = new Map<string, string | null>()
    for (const [key, name] of then.names) {
      const fits = then.definition(name) === present.definition(name)
      keys.set(key, fits ? (present.keys.get(name) ?? null) : null)
    }
    this.#mappings.set(resource, { present, keys, names: then.names })
  }

  async #mapped(item: ItemState, { present, keys, names }: Mapping, unfit: Set<string>): Promise<Image> {
    if (item.image.raw === null) return item.image
    const stored = decodeStored(item.image.raw)
    const lost = (key: string): void => {
      unfit.add(`${item.resource}.${names.get(key) ?? key}`)
    }
    const metadata = mapKeys(stored.metadata, keys, lost).map(([key, value]): [string, string] => {
      if (key === '_v') return [key, present.version]
      return [key, key === '_map' ? JSON.stringify(Object.fromEntries(present.keys)) : value]
    })
    metadata.sort(([a], [b]) => (a < b ? -1 : 1))
    const made: StoredObject = { ...stored, metadata, body: mapBody(stored, keys, lost) }
    return this.#reader.imageOf(item, made, encodeStored(made))
  }
}

async function shapeOf(resource: string, { json }: Image): Promise<Shape | null> {
  const entry: ResourceEntry = JSON.parse(Buffer.from(json).toString())
  const { currentVersion = 'v1', versions } = entry
  const definition = versions?.[currentVersion]
  const names = definition === undefined ? null : await namesOfEntry(resource, entry, definition)
  if (definition === undefined || names === null) return null
  return {
    behavior: definition.behavior ?? 'user-managed',
    version: currentVersion,
    names,
    keys: new Map([...names].map(([key, name]) => [name, key])),
    definition: (name) => kindOf(definitionOf(definition.attributes, name)),
  }
}

/** Rules that say which values are allowed, and not how they are stored. */
const RULES = /^(optional|required|nullable|empty|min|max|length|minlength|maxlength|pattern|default|enum|unique)(:|$)/

function kindOf(definition: unknown): string {
  if (typeof definition !== 'string') return JSON.stringify(definition) ?? ''
  return definition
    .split('|')
    .filter((part) => !RULES.test(part.trim()))
    .join('|')
}

function isSame(then: Shape, present: Shape, key: string, name: string): boolean {
  const there = present.names.get(key)
  // Of an attribute that was gone already, only old records have a value: it must not become another's.
  if (then.definition(name) === '' && there === undefined) return true
  return there === name && then.definition(name) === present.definition(name)
}

type Pair<T> = readonly [key: string, value: T]

function mapKeys<T>(
  pairs: readonly Pair<T>[],
  keys: ReadonlyMap<string, string | null>,
  lost: (key: string) => void,
): Pair<T>[] {
  return pairs.flatMap(([key, value]): Pair<T>[] => {
    const mapped = keys.get(key)
    if (mapped === null) lost(key)
    return mapped === null ? [] : [[mapped ?? key, value]]
  })
}

/** The body, where it holds attributes; else it is content, and stays. */
function mapBody(
  { metadata, body }: StoredObject,
  keys: ReadonlyMap<string, string | null>,
  lost: (key: string) => void,
): StoredObject['body'] {
  const holdsAttributes = metadata.some(([key, value]) => key === '_map' || (key === '_overflow' && value === 'true'))
  if (!holdsAttributes || typeof body !== 'string' || !body.startsWith('{')) return body
  return JSON.stringify(Object.fromEntries(mapKeys(Object.entries(JSON.parse(body)), keys, lost)))
}

function differs(resource: string, names: readonly string[]): TidemarkError {
  return new TidemarkError(
    'SCHEMA_DIFFERS',
    `The schema of ${resource} in the target is another one than at the moment: ${names.join(', ')} would land in other attributes, or in none. Nothing was changed.`,
    {
      hint: 'Translate by attribute name with mapSchema: true (--map-schema), or restore the whole resource with its schema (without --id).',
      details: { resource, attributes: names.join(', ') },
    },
  )
}

function otherBehavior(resource: string, then: Shape, present: Shape): TidemarkError {
  return new TidemarkError(
    'SCHEMA_DIFFERS',
    `The records of ${resource} were stored with the behavior ${then.behavior}, and the target stores them with ${present.behavior}. Nothing was changed.`,
    {
      hint: 'Restore the whole resource with its schema (without --id), or into a directory and insert the record from there.',
      details: { resource, attributes: '' },
    },
  )
}
