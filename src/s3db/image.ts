import { isUtf8 } from 'node:buffer'
import { TidemarkError } from '../base/errors.ts'
import type { ClientBody, CopyParams, PutParams, StoredResponse } from './client.ts'
import { KeyOrders } from './key-orders.ts'
import { readMessagePack } from './message-pack.ts'
import { fromHeader, storedMetadata } from './metadata.ts'
import type { StoredObject } from './stored-object.ts'

/** What a client does to what it is given. */
export interface Dialect {
  /** Memory or files of this machine: no retries, no answer is lost, and no metadata go through headers of HTTP. */
  readonly local: boolean
  /** S3's copy decides about content types itself. */
  readonly copiesExactly: boolean
}

/** The inverse of `encodeStored`. */
export function decodeStored(raw: Uint8Array): StoredObject {
  const value = stored(raw)
  if (value === null) {
    throw new TidemarkError('TARGET_INVALID', 'A raw image is not an object of s3db.js, so it cannot be put back.', {
      hint: 'Restore to a directory instead: the JSON of the record is readable there.',
    })
  }
  const { metadata, body, contentType, contentEncoding } = value
  return { metadata, body, contentType, contentEncoding }
}

function stored(raw: Uint8Array): StoredObject | null {
  try {
    const value = readMessagePack(raw)
    return isStored(value) ? value : null
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}

function isStored(value: unknown): value is StoredObject {
  if (typeof value !== 'object' || value === null) return false
  if (!('metadata' in value && 'body' in value && 'contentType' in value && 'contentEncoding' in value)) return false
  return (
    Array.isArray(value.metadata) &&
    value.metadata.every(
      (pair) => Array.isArray(pair) && pair.length === 2 && pair.every((x) => typeof x === 'string'),
    ) &&
    (typeof value.body === 'string' || value.body instanceof Uint8Array) &&
    isTextOrNull(value.contentType) &&
    isTextOrNull(value.contentEncoding)
  )
}

function isTextOrNull(value: unknown): value is string | null {
  return value === null || typeof value === 'string'
}

/** What to give to `client.putObject` so that it stores this object. */
export function putParams(key: string, { metadata, body, contentType, contentEncoding }: StoredObject): PutParams {
  return {
    key,
    metadata: Object.fromEntries(metadata),
    body: typeof body === 'string' ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength),
    ...(contentType === null ? {} : { contentType }),
    ...(contentEncoding === null ? {} : { contentEncoding }),
  }
}

/**
 * The object that `client.getObject` answered. `local`: an empty body need not be read. Over a network it must be, or
 * its connection is never free again.
 */
export async function storedFromResponse(response: StoredResponse, local: boolean): Promise<StoredObject> {
  const { Body, ContentLength } = response
  return storedOf(response, local && ContentLength === 0 ? undefined : await Body?.transformToByteArray?.())
}

/** The keys of what was read: they are as they are stored. */
const orders = new KeyOrders((key) => key)

/** The object of an answer whose body was read: `bytes`, undefined where there is none. */
export function storedOf(
  { Metadata, ContentType, ContentEncoding }: StoredResponse,
  bytes: Uint8Array | undefined,
): StoredObject {
  const values = Metadata ?? {}
  return {
    metadata: orders.of(Object.keys(values)).map(({ given }) => [given, String(values[given])] as const),
    body: bytes === undefined ? '' : textOrBytes(bytes),
    contentType: ContentType ?? null,
    contentEncoding: ContentEncoding ?? null,
  }
}

/** The object that a put stores, or null where only reading it back tells. */
export function storedFromPut(params: PutParams, dialect: Dialect): StoredObject | null {
  const { contentType, contentEncoding = null } = params
  const metadata = storedMetadata(params.metadata ?? {}, !dialect.local)
  const body = storedBody(params.body)
  if (metadata === null || body === null) return null
  // An empty header is one or none, as the server likes.
  const sent = [contentType || 'any', contentEncoding ?? 'any']
  if (!dialect.local && sent.some((value) => value === '' || fromHeader(value) !== value)) return null
  return {
    metadata,
    body,
    contentType: contentType || 'application/octet-stream',
    contentEncoding,
  }
}

/** The object that a copy stores, from the object that is copied; null where only reading it back tells. */
export function storedFromCopy(source: StoredObject, params: CopyParams, dialect: Dialect): StoredObject | null {
  if (!dialect.copiesExactly) return null
  const given = storedMetadata(params.metadata ?? {}, !dialect.local)
  if (given === null) return null
  const replaces = params.metadataDirective === 'REPLACE' && params.metadata !== undefined
  const metadata = replaces ? given : [...new Map([...source.metadata, ...given])].sort(byKey)
  return { ...source, metadata, contentType: params.contentType || source.contentType }
}

function byKey(a: readonly [string, string], b: readonly [string, string]): number {
  return a[0] < b[0] ? -1 : 1
}

function storedBody(body: ClientBody | null | undefined): string | Uint8Array | null {
  if (body === undefined || body === null) return ''
  if (typeof body === 'string') return body.isWellFormed() ? body : body.toWellFormed()
  return body instanceof Uint8Array ? textOrBytes(body) : null
}

function textOrBytes(bytes: Uint8Array): string | Uint8Array {
  if (!isUtf8(bytes)) return bytes
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
}
