import { Packr } from 'msgpackr'
import { equalBytes } from '../base/bytes.ts'

/** Plain MessagePack without extensions or records: any MessagePack reader understands it. */
const packr = new Packr({ useRecords: false, variableMapSize: true, mapsAsObjects: true, int64AsType: 'bigint' })

/**
 * A raw image as JSON text for a snapshot line: the MessagePack value with `{"$bin": "<base64>"}` for binary. What
 * does not come back to the same bytes that way is written as `{"$msgpack": "<base64>"}` instead.
 */
export function rawToJson(raw: Uint8Array | null): string {
  if (raw === null) return 'null'
  try {
    const json = JSON.stringify(packr.unpack(raw), replaceBinary)
    if (json !== undefined && equalBytes(rawFromJson(JSON.parse(json)), raw)) return json
  } catch (error) {
    if (!(error instanceof Error)) throw error // anything undecodable is carried as bytes
  }
  return JSON.stringify({ $msgpack: Buffer.from(raw).toString('base64') })
}

/** The raw image that `rawToJson` wrote. */
export function rawFromJson(value: unknown): Uint8Array | null {
  if (value === null) return null
  const packed = only(value, '$msgpack')
  return packed !== null ? Buffer.from(packed, 'base64') : packr.pack(reviveBinary(value))
}

function replaceBinary(this: unknown, _key: string, value: unknown): unknown {
  // `Buffer.toJSON` has run before this is called, so its result is what must be recognised.
  if (isBufferJson(value)) return { $bin: Buffer.from(value.data).toString('base64') }
  if (value instanceof Uint8Array) return { $bin: Buffer.from(value).toString('base64') }
  return value
}

function isBufferJson(value: unknown): value is { type: 'Buffer'; data: number[] } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'type' in value &&
    value.type === 'Buffer' &&
    'data' in value &&
    Array.isArray(value.data)
  )
}

function reviveBinary(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(reviveBinary)
  const binary = only(value, '$bin')
  if (binary !== null) return Buffer.from(binary, 'base64')
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, reviveBinary(member)]))
}

/** The string member `name` where it is the only member of `value`. */
function only(value: unknown, name: string): string | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
  const entries = Object.entries(value)
  const [entry] = entries
  return entries.length === 1 && entry?.[0] === name && typeof entry[1] === 'string' ? entry[1] : null
}
