import { metadataEncode } from 's3db.js/concerns/metadata-encoding'
import type { Image } from '../../src/model/event.ts'
import { decodeStored } from '../../src/s3db/image.ts'
import { keyOfItem, SCHEMA_KEY } from '../../src/s3db/keys.ts'
import { joinSchema } from '../../src/s3db/schema-items.ts'
import type { StoredBytes } from './s3db.ts'

/**
 * What the storage must hold according to a replayed state: keyed like the storage, values encoded by s3db.js itself.
 * The body of `s3db.json` is replaced by what it says, see `comparable`.
 */
export function storedState(state: ReadonlyMap<string, Image>): Map<string, StoredBytes> {
  const found = new Map<string, StoredBytes>()
  for (const [name, { raw }] of state) {
    const [kind, resource, id] = JSON.parse(name)
    if (raw === null) continue
    const { metadata, body, contentType } = decodeStored(raw)
    found.set(keyOfItem({ kind, resource, id }), {
      body: Buffer.from(body),
      metadata: Object.fromEntries(metadata.map(([key, value]) => [key, metadataEncode(value).encoded])),
      contentType: contentType ?? '',
    })
  }
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The schemas of a replayed state as the content of `s3db.json`. */
export function schemaState(state: ReadonlyMap<string, Image>, lastUpdated: string): unknown {
  const images = new Map<string, Image>()
  for (const [name, image] of state) {
    const [kind, resource] = JSON.parse(name)
    if (kind === 'schema') images.set(resource, image)
  }
  return joinSchema(images, lastUpdated)
}

export { SCHEMA_KEY }
