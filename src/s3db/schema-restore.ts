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

/**
 * Makes the live resource agree with its restored schema, as s3db.js does when it connects. Resources whose schema
 * did not change are not touched, so they keep the hooks of the application; functions are never stored, so a resource
 * that did change has none until the application declares it again.
 */
function reload(db: S3db, name: string, after: Image | null): void {
  const old = db._resourcesMap[name]
  const entry = after === null ? undefined : JSON.parse(Buffer.from(after.json).toString())
  const version = entry?.currentVersion ?? 'v1'
  const definition = entry?.versions?.[version]
  if (definition === undefined) {
    delete db._resourcesMap[name]
    return
  }
  db._resourcesMap[name] = new Resource({
    name,
    client: db.client,
    database: db,
    version,
    attributes: definition.attributes,
    behavior: definition.behavior ?? 'user-managed',
    security: db.security,
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
    ...(old === undefined ? {} : { asyncPartitions: old.config.asyncPartitions }),
    schemaRegistry: entry.schemaRegistry,
    pluginSchemaRegistry: entry.pluginSchemaRegistry,
  })
  db.emit(old === undefined ? 'db:resource-created' : 'db:resource-updated', name)
}

/** s3db.js itself forgets that ids are counted when it connects again; a restored sequence must go on. */
function idGenerator(stored: unknown): { idGenerator?: number | string } {
  if (typeof stored === 'number') return { idGenerator: stored }
  return typeof stored === 'string' && stored.startsWith('incremental') ? { idGenerator: stored } : {}
}
