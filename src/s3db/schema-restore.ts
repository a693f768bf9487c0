import { Resource, type S3db } from 's3db.js/lite'
import { systemClock } from '../base/clock.ts'
import type { Image } from '../model/event.ts'
import type { Difference } from '../restore/target.ts'
import { SCHEMA_KEY } from './keys.ts'
import type { Reader } from './reader.ts'
import { joinSchema } from './schema-items.ts'

/** Puts schemas back: in `s3db.json`, and in the resources that the connected database works with. */
export async function restoreSchemas(db: S3db, reader: Reader, differences: readonly Difference[]): Promise<void> {
  const images = new Map<string, Image>(await reader.schemas())
  for (const { resource, after } of differences) {
    if (after === null) images.delete(resource)
    else images.set(resource, after)
  }
  if (images.size === 0) {
    await db.client.deleteObject(SCHEMA_KEY)
  } else {
    const joined = joinSchema(images, new Date(systemClock.now()).toISOString())
    await db.client.putObject({
      key: SCHEMA_KEY,
      body: JSON.stringify(joined, null, 2),
      contentType: 'application/json',
    })
    db.savedMetadata = JSON.parse(JSON.stringify(joined))
  }
  for (const { resource, after } of differences) if (resource !== '') reload(db, resource, after)
}

/** Makes the live resource agree with its restored schema, as s3db.js does when it connects. */
function reload(db: S3db, name: string, after: Image | null): void {
  const live = db._resourcesMap[name]
  const restored = after === null ? null : resourceOf(db, name, after, live)
  if (restored === null) {
    delete db._resourcesMap[name]
    return
  }
  if (live === undefined) db._resourcesMap[name] = restored
  else redefine(live, restored)
  db.emit(live === undefined ? 'db:resource-created' : 'db:resource-updated', name)
}

/** What of a resource is its definition: all that its schema and its configuration say. */
const DEFINITION = [
  'version',
  'behavior',
  'attributes',
  'config',
  'schema',
  '$schema',
  'validator',
  'map',
  '_schemaRegistry',
  '_pluginSchemaRegistry',
  '_lazySchema',
  '_schemaCompiled',
  '_pendingSchemaConfig',
]
const ID_GENERATOR = ['_idGenerator', 'idGenerator', 'idSize', 'idGeneratorType']

/**
 * Gives a resource another definition. It stays the object that the application and the plugins hold, with their hooks,
 * middlewares, listeners and wrapped methods, none of which is stored.
 */
function redefine(live: Resource, restored: Resource): void {
  const isPartitioned = ({ config }: Resource): boolean => Object.keys(config.partitions ?? {}).length > 0
  const startsPartitions = !isPartitioned(live) && isPartitioned(restored)
  const isCustom = typeof live.idGeneratorType === 'function'
  for (const member of isCustom ? DEFINITION : [...DEFINITION, ...ID_GENERATOR]) {
    Reflect.set(live, member, Reflect.get(restored, member))
  }
  if (startsPartitions) live.setupPartitionHooks()
}

/** The resource of a schema; null where the schema says nothing of its current version. */
function resourceOf(db: S3db, name: string, { json }: Image, live: Resource | undefined): Resource | null {
  const entry = JSON.parse(Buffer.from(json).toString())
  const version = entry.currentVersion ?? 'v1'
  const definition = entry.versions?.[version]
  if (definition === undefined) return null
  return new Resource({
    name,
    client: db.client,
    database: db,
    version,
    attributes: definition.attributes,
    behavior: definition.behavior ?? 'user-managed',
    security: live?.security ?? db.security,
    observers: [db],
    cache: Boolean(db.cache),
    timestamps: definition.timestamps ?? false,
    partitions: entry.partitions ?? definition.partitions ?? {},
    paranoid: definition.paranoid ?? true,
    allNestedObjectsOptional: definition.allNestedObjectsOptional ?? true,
    autoDecrypt: definition.autoDecrypt ?? true,
    asyncEvents: definition.asyncEvents ?? true,
    hooks: {},
    versioningEnabled: db.versioningEnabled,
    strictValidation: db.strictValidation,
    idSize: definition.idSize ?? 22,
    ...idGenerator(definition.idGenerator),
    ...(live === undefined ? {} : { asyncPartitions: live.config.asyncPartitions }),
    schemaRegistry: entry.schemaRegistry,
    pluginSchemaRegistry: entry.pluginSchemaRegistry,
  })
}

/** s3db.js itself forgets that ids are counted when it connects again; a restored sequence must go on. */
function idGenerator(stored: unknown): { idGenerator?: number | string } {
  if (typeof stored === 'number') return { idGenerator: stored }
  return typeof stored === 'string' && stored.startsWith('incremental') ? { idGenerator: stored } : {}
}
