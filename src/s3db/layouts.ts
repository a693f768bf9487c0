import { TidemarkError } from '../base/errors.ts'
import type {
  AttributeSchema,
  Database,
  LiveResource,
  PluginRegistry,
  ResourceEntry,
  SchemaRegistry,
  VersionEntry,
} from './client.ts'
import { Layout } from './layout.ts'

interface Known {
  readonly schema: AttributeSchema | undefined
  /** As the live resource says it. */
  readonly version: LiveResource['version']
  /** By version as objects say it; that of the live one for those that do not. */
  readonly layouts: Map<string | null, Layout | Promise<Layout | null>>
}

/** Finds the layout of an object: that of its own version, from the live resource or from `s3db.json`. */
export class Layouts {
  readonly #db: Database
  readonly #known = new Map<string, Known>()

  constructor(db: Database) {
    this.#db = db
  }

  /** `version` is the object's `_v`. Null where the resource is not known at all. */
  of(resource: string, version: string | null): Layout | null | Promise<Layout | null> {
    const live = this.#db.resources[resource]
    let known = this.#known.get(resource)
    // A dropped resource is read by what was last known of it.
    if (
      known === undefined ||
      (live !== undefined && (known.schema !== live.schema || known.version !== live.version))
    ) {
      known = { schema: live?.schema, version: live?.version ?? '', layouts: new Map() }
      this.#known.set(resource, known)
    }
    const found = known.layouts.get(version)
    if (found !== undefined) return found
    const wanted = plain(version ?? known.version)
    const made = live !== undefined && wanted === plain(known.version) ? liveLayout(live) : null
    const layout = made ?? this.#stored(resource, wanted, live)
    if (live !== undefined || layout instanceof Layout) known.layouts.set(version, layout)
    return layout
  }

  async #stored(resource: string, version: string, live: LiveResource | undefined): Promise<Layout | null> {
    const entry = this.#db.savedMetadata?.resources?.[resource]
    const layout = entry === undefined ? null : await storedLayout(resource, entry, version)
    return layout ?? (live === undefined ? null : liveLayout(live))
  }
}

function liveLayout({ schema, behavior, attributes, name, version }: LiveResource): Layout | null {
  if (schema === undefined) return null
  const registry = schema.getSchemaRegistry?.()
  return new Layout({
    behavior,
    attributes,
    names: namesOf(schema.map, registry),
    pluginNames: inverse(schema.pluginMap ?? {}),
    afterUnmap: schema.options.hooks?.afterUnmap ?? {},
    unmap: async (named) => (await quietSchema(schema, name, attributes, plain(version))).unmapper(named, {}, {}),
  })
}

/** From `s3db.json`: for a version that is not the live one. */
async function storedLayout(resource: string, entry: ResourceEntry, version: string): Promise<Layout | null> {
  const { schemaRegistry, pluginSchemaRegistry, versions, currentVersion } = entry
  const wanted = version === '' ? plain(currentVersion ?? '') : version
  const found = Object.entries(versions ?? {}).find(([name]) => plain(name) === wanted)?.[1]
  if (found === undefined) return null
  const schema = await quietSchema(found, resource, found.attributes, wanted)
  return new Layout({
    behavior: found.behavior ?? 'user-managed',
    attributes: found.attributes,
    names: schemaRegistry === undefined ? inverse(schema.map) : namesOf(found.map ?? {}, schemaRegistry),
    pluginNames:
      pluginSchemaRegistry === undefined ? inverse(schema.pluginMap ?? {}) : pluginNames(pluginSchemaRegistry),
    afterUnmap: schema.options.hooks?.afterUnmap ?? {},
    unmap: (named) => schema.unmapper(named, {}, {}),
  })
}

/** Which attribute each stored key is, by the schema of a resource: also those of attributes that are gone. */
export async function namesOfEntry(
  resource: string,
  { schemaRegistry, currentVersion }: ResourceEntry,
  definition: VersionEntry,
): Promise<ReadonlyMap<string, string>> {
  if (schemaRegistry !== undefined) return namesOf(definition.map ?? {}, schemaRegistry)
  const schema = await quietSchema(definition, resource, definition.attributes, plain(currentVersion ?? ''))
  return inverse(schema.map)
}

const quiet = new WeakMap<object, Promise<AttributeSchema>>()

/** A schema of s3db.js that does not decrypt. To make one compiles a validator, so it is kept as long as `owner`. */
function quietSchema(
  owner: object,
  name: string,
  attributes: Readonly<Record<string, unknown>>,
  version: string,
): Promise<AttributeSchema> {
  const made = quiet.get(owner)
  if (made !== undefined) return made
  const schema = import('s3db.js/lite').then(({ Schema }) => {
    const options = { autoEncrypt: false, autoDecrypt: false, allNestedObjectsOptional: true }
    // A copy, because a schema of s3db.js writes into the definitions that it is given.
    const copy = JSON.parse(JSON.stringify(attributes))
    return checked(new Schema({ name, attributes: copy, version: Number(version) || 1, options }))
  })
  quiet.set(owner, schema)
  return schema
}

function checked(schema: unknown): AttributeSchema {
  if (isAttributeSchema(schema)) return schema
  throw new TidemarkError('SOURCE_UNSUPPORTED', 'The schemas of this version of s3db.js have another shape.', {
    hint: 'Install a version of s3db.js that Tidemark names in its package.json.',
  })
}

function isAttributeSchema(schema: unknown): schema is AttributeSchema {
  return typeof schema === 'object' && schema !== null && 'map' in schema && 'options' in schema && 'unmapper' in schema
}

/** s3db.js writes the version of an object as `v1` or as `1`. */
function plain(version: string | number): string {
  return String(version).replace(/^v/, '')
}

function inverse(map: Readonly<Record<string, string>>): Map<string, string> {
  return new Map(Object.entries(map).map(([name, key]) => [key, name]))
}

function namesOf(map: Readonly<Record<string, string>>, registry: SchemaRegistry | undefined): Map<string, string> {
  const names = new Map<string, string>()
  for (const { index, attribute } of registry?.burned ?? []) names.set(index.toString(36), attribute)
  for (const [name, index] of Object.entries(registry?.mapping ?? {})) names.set(index.toString(36), name)
  for (const [name, key] of Object.entries(map)) names.set(key, name)
  return names
}

function pluginNames(registries: Readonly<Record<string, PluginRegistry>>): Map<string, string> {
  const names = new Map<string, string>()
  for (const { mapping, burned } of Object.values(registries)) {
    for (const { key, attribute } of burned) names.set(key, attribute)
    for (const [name, key] of Object.entries(mapping)) names.set(key, name)
  }
  return names
}
