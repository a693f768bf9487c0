import { utf8 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { Gap } from '../model/gap.ts'
import { isUlid, type Ulid, ulidTime } from '../model/ulid.ts'
import { parseJson, readableJson } from './bounded-json.ts'
import { listOf } from './shape.ts'
import { gap } from './timeline-shape.ts'

/**
 * One gzip member of a snapshot file. Members are independent: a reader fetches and inflates just the one that may
 * hold an id, or many in parallel; `sha256` is that of its bytes as they stand in the file, lower-case hex, so that
 * nobody has to read the whole file to know that what was fetched is what was written.
 * `[offset, bytes, records, firstId, sha256]`
 */
export type Member = readonly [offset: number, bytes: number, records: number, firstId: string, sha256: string]

/** Of the `tidemark` part. */
const FORMAT = 2

/** A JSON Lines file of a snapshot. */
export interface SnapshotFile {
  readonly file: string
  readonly records: number
  /** Compressed. */
  readonly bytes: number
  readonly uncompressedBytes: number
  /** Of the compressed file, lower-case hex. */
  readonly sha256: string
  readonly members: readonly Member[]
}

/** A schema as the source gave it: the JSON object, its exact text where parsing would change it, and the raw image. */
export interface SchemaDefinition {
  readonly json: string
  readonly raw: unknown
}

/** A resource in a snapshot. */
export interface ManifestResource {
  readonly name: string
  readonly schema: SchemaDefinition | null
  readonly records: SnapshotFile | null
  readonly objects: SnapshotFile | null
}

/** What `s3db.json` of a snapshot says. */
export interface Manifest {
  readonly ulid: Ulid
  /** As in the timeline, which can be made again from it, see `SnapshotEntry`. */
  readonly consistentFrom: Ulid
  readonly except?: readonly Gap[]
  /** Identity of the database. */
  readonly database: string
  readonly schema: SchemaDefinition | null
  readonly resources: readonly ManifestResource[]
  /** Stored objects of the database itself. */
  readonly objects: SnapshotFile | null
}

/**
 * The text of `s3db.json`: the members that s3db.js documents for a backup (version, backupType, exportedAt, database,
 * resources with attributes, partitions, timestamps, recordCount, exportFile, compression, format, bytesWritten), and
 * under `tidemark` what a restore needs besides. `schemas/manifest.schema.json` describes it.
 * Errors: `LIMIT_EXCEEDED`.
 */
export function encodeManifest(manifest: Manifest): string {
  for (const { name, schema } of manifest.resources) checkSchema(schema, `The schema of ${name}`)
  checkSchema(manifest.schema, 'The schema of the database')
  const resources = Object.create(null) as Record<string, unknown>
  for (const resource of manifest.resources) resources[resource.name] = documentedResource(resource)
  return `${JSON.stringify(
    {
      version: '1.0',
      backupType: 'full',
      exportedAt: new Date(ulidTime(manifest.ulid)).toISOString(),
      database: { identity: manifest.database },
      resources,
      tidemark: {
        format: FORMAT,
        ulid: manifest.ulid,
        consistentFrom: manifest.consistentFrom,
        except: manifest.except,
        schema: manifest.schema,
        objects: manifest.objects,
        resources: manifest.resources,
      },
    },
    null,
    1,
  )}\n`
}

/** It is read as JSON of its own, whatever is around it. */
function checkSchema(schema: SchemaDefinition | null, what: string): void {
  if (schema !== null) readableJson(utf8(schema.json), what)
}

function documentedResource({ name, schema, records }: ManifestResource): Record<string, unknown> {
  const definition = schema === null ? {} : asObject(JSON.parse(schema.json))
  const versions = asObject(definition.versions)
  const current = { ...definition, ...asObject(versions[String(definition.currentVersion)]) }
  return {
    name,
    attributes: asObject(current.attributes),
    partitions: asObject(current.partitions),
    ...(typeof current.behavior === 'string' ? { behavior: current.behavior } : {}),
    timestamps: current.timestamps === true,
    ...(typeof definition.currentVersion === 'string' ? { currentVersion: definition.currentVersion, versions } : {}),
    recordCount: records?.records ?? 0,
    exportFile: records?.file ?? null,
    compression: 'gzip',
    format: 'jsonl',
    bytesWritten: records?.bytes ?? 0,
    sha256: records?.sha256 ?? null,
  }
}

/** Reads `s3db.json` of a snapshot. Errors: `SNAPSHOT_CORRUPT`, with `key` as its name. */
export function decodeManifest(bytes: Uint8Array, key: string): Manifest {
  let root: unknown
  try {
    root = parseJson(bytes)
  } catch (error) {
    throw corruptManifest(key, error instanceof RangeError ? error.message : 'it is no JSON', error)
  }
  const tidemark = asObject(asObject(root).tidemark)
  if (tidemark.format !== FORMAT) throw corruptManifest(key, `it has no \`tidemark\` part of format ${FORMAT}`)
  const { ulid, consistentFrom, except } = tidemark
  if (!isUlidText(ulid) || !isUlidText(consistentFrom)) throw corruptManifest(key, 'its ULIDs are none')
  if (except !== undefined && !isExcept(except)) throw corruptManifest(key, 'its gaps are none')
  if (!Array.isArray(tidemark.resources)) throw corruptManifest(key, 'its resources are no list')
  return {
    ulid,
    consistentFrom,
    ...(except === undefined ? {} : { except }),
    database: String(asObject(asObject(root).database).identity ?? ''),
    schema: decodeSchema(tidemark.schema, key),
    objects: decodeFile(tidemark.objects, key),
    resources: tidemark.resources.map((value: unknown) => {
      const resource = asObject(value)
      if (typeof resource.name !== 'string') throw corruptManifest(key, 'a resource has no name')
      return {
        name: resource.name,
        schema: decodeSchema(resource.schema, key),
        records: decodeFile(resource.records, key),
        objects: decodeFile(resource.objects, key),
      }
    }),
  }
}

function decodeSchema(value: unknown, key: string): SchemaDefinition | null {
  if (value === null) return null
  const { json, raw } = asObject(value)
  if (typeof json !== 'string') throw corruptManifest(key, 'a schema is no text')
  try {
    parseJson(utf8(json))
  } catch (error) {
    throw corruptManifest(key, 'a schema is no JSON', error)
  }
  return { json, raw: raw ?? null }
}

function decodeFile(value: unknown, key: string): SnapshotFile | null {
  if (value === null) return null
  const { file, records, bytes, uncompressedBytes, sha256, members } = asObject(value)
  const named = typeof file === 'string' && /^[A-Za-z0-9_%-][A-Za-z0-9_.%-]*\.jsonl\.gz$/.test(file)
  if (!named) throw corruptManifest(key, `it names a file that no snapshot has (${String(file)})`)
  if (!isCount(records) || !isCount(bytes) || !isCount(uncompressedBytes) || !isHash(sha256)) {
    throw corruptManifest(key, `its entry of ${file} is incomplete`)
  }
  if (!Array.isArray(members) || !members.every(isMember)) throw corruptManifest(key, `its members of ${file} are none`)
  let end = 0
  let count = 0
  for (const [offset, length, rows] of members) {
    if (offset !== end) throw corruptManifest(key, `the members of ${file} do not follow one another`)
    end += length
    count += rows
  }
  if (end !== bytes || count !== records) throw corruptManifest(key, `the members of ${file} do not add up`)
  return { file, records, bytes, uncompressedBytes, sha256, members }
}

function isMember(value: unknown): value is Member {
  if (!Array.isArray(value) || value.length !== 5) return false
  if (!isCount(value[0]) || !isCount(value[1]) || !isCount(value[2]) || typeof value[3] !== 'string') return false
  if (!isHash(value[4])) return false
  // Compressed: what does not compress grows by less than a hundredth.
  return value[1] <= LIMITS.memberBytes * 1.01
}

function isUlidText(value: unknown): value is Ulid {
  return typeof value === 'string' && isUlid(value)
}

function isExcept(value: unknown): value is readonly Gap[] {
  return listOf(gap, 1)(value)
}

function isHash(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function corruptManifest(key: string, what: string, cause?: unknown): TidemarkError {
  return new TidemarkError('SNAPSHOT_CORRUPT', `The manifest ${key} is damaged: ${what}. The snapshot was not used.`, {
    hint: 'Put it back from a copy; without one, `tidemark repair` lets the snapshot before it take its place.',
    details: { key },
    cause,
  })
}
