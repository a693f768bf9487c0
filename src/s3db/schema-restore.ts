import { Resource, type S3db } from 's3db.js/lite'
import { systemClock } from '../base/clock.ts'
import { type Image, type Item, sameImage } from '../model/event.ts'
import type { ConflictRule, Difference } from '../restore/target.ts'
import { itemOfKey, keyOfItem, SCHEMA_KEY } from './keys.ts'
import { keyPages } from './listing.ts'
import { type Expectation, type LiveWrites, Newer, restoringDelete, restoringPut } from './live-writes.ts'
import type { Reader } from './reader.ts'
import { joinSchema, type SchemaImages } from './schema-items.ts'

/** What schemas are restored into. */
export interface SchemaPlace {
  readonly db: S3db
  readonly reader: Reader
  /** What others have written since the restore began. */
  readonly live: LiveWrites
}

/** Puts schemas back: in `s3db.json`, and in the resources that the connected database works with. */
export async function restoreSchemas(
  place: SchemaPlace,
  differences: readonly Difference[],
  { onConflict, tell }: ConflictRule,
): Promise<void> {
  const { reader, live } = place
  for (;;) {
    const found = await reader.schemas()
    const now = (resource: string): Image | null => found.get(resource) ?? null
    const newer: Difference[] = []
    for (const difference of differences) {
      const { resource, before, after } = difference
      if (sameImage(now(resource), after)) continue
      if ((await live.has(difference)) || !sameImage(now(resource), before)) newer.push(difference)
    }
    const changes = onConflict === 'overwrite' ? differences : differences.filter((one) => !newer.includes(one))
    try {
      // The others of the file too: `createResource` of another resource must not be undone.
      const expectation = { before: ({ resource }: Item) => now(resource), isLive: async () => false }
      if (changes.length > 0) await putSchemas(place, found, changes, expectation)
      return newer.forEach(tell)
    } catch (error) {
      if (!(error instanceof Newer)) throw error
    }
  }
}

/** Takes schemas away, once their records are gone; those of which others have written records since are in conflict. */
export async function dropSchemas(
  place: SchemaPlace,
  differences: readonly Difference[],
  conflicts: ConflictRule,
): Promise<void> {
  const { client } = place.reader
  const dropped: Difference[] = []
  for (const difference of differences) {
    const { resource } = difference
    const prefix = keyOfItem({ kind: 'record', resource, id: '' })
    const { Contents = [] } = resource === '' ? {} : await client.listObjects({ prefix, maxKeys: 1 })
    if (Contents.length > 0) conflicts.tell(difference)
    if (Contents.length > 0 && conflicts.onConflict === 'keep') continue
    if (Contents.length > 0) await deleteRecords(place.reader, prefix)
    dropped.push(difference)
  }
  if (dropped.length > 0) await restoreSchemas(place, dropped, conflicts)
}

async function deleteRecords({ client, space }: Reader, prefix: string): Promise<void> {
  for await (const keys of keyPages(client, prefix)) {
    for (const key of keys) if (itemOfKey(key, space)?.kind === 'record') await restoringDelete(client, key, null)
  }
}

async function putSchemas(
  { db, reader }: SchemaPlace,
  found: SchemaImages,
  changes: readonly Difference[],
  expectation: Expectation,
): Promise<void> {
  const images = new Map<string, Image>(found)
  for (const { resource, after } of changes) {
    if (after === null) images.delete(resource)
    else images.set(resource, after)
  }
  const joined = joinSchema(images, new Date(systemClock.now()).toISOString())
  // In memory first: what s3db.js writes from now on it makes of these.
  db.savedMetadata = images.size === 0 ? null : JSON.parse(JSON.stringify(joined))
  for (const { resource, after } of changes) if (resource !== '') reload(db, resource, after)
  if (images.size === 0) {
    await restoringDelete(reader.client, SCHEMA_KEY, expectation)
  } else {
    const params = { key: SCHEMA_KEY, body: JSON.stringify(joined, null, 2), contentType: 'application/json' }
    await restoringPut(reader.client, params, expectation)
  }
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
