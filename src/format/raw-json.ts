import { Packr } from 'msgpackr'
import { text } from '../base/bytes.ts'
import { base64Length, packedTextLength, writeBase64, writePackedText } from './packed-text.ts'
import { packedOfText } from './text-packed.ts'

/** Plain MessagePack without extensions or records: any MessagePack reader understands it. */
const packr = new Packr({ useRecords: false, variableMapSize: true, mapsAsObjects: true, int64AsType: 'bigint' })

const NULL = Buffer.from('null')
const [CARRIED, CARRIED_END] = [Buffer.from('{"$msgpack":"'), Buffer.from('"}')]

/**
 * A raw image as JSON text for a snapshot line: the MessagePack value with `{"$bin": "<base64>"}` for binary. What
 * does not come back to the same bytes that way is written as `{"$msgpack": "<base64>"}` instead.
 */
export function rawText(raw: Uint8Array | null): Uint8Array {
  if (raw === null) return NULL
  const length = packedTextLength(raw)
  const target = Buffer.allocUnsafe(length ?? CARRIED.length + base64Length(raw.length) + CARRIED_END.length)
  if (length !== null) writePackedText(raw, target)
  else {
    target.set(CARRIED)
    target.set(CARRIED_END, writeBase64(raw, target, CARRIED.length))
  }
  return target
}

/** The text of `rawText` as a string. */
export function rawToJson(raw: Uint8Array | null): string {
  return text(rawText(raw))
}

/** Bytes of a text that values are made of on the way: that takes less time, and several times the memory. */
const VALUES_BYTES = 256 * 1024

/** The raw image that `rawText` has written. Errors: those of `JSON.parse`. */
export function rawFromText(json: Buffer): Uint8Array | null {
  if (json.equals(NULL)) return null
  const packed = json.length > VALUES_BYTES ? packedOfText(json) : null
  return packed ?? rawFromJson(JSON.parse(text(json)))
}

/** The raw image of a value that `JSON.parse` has made of its text. */
export function rawFromJson(value: unknown): Uint8Array | null {
  if (value === null) return null
  const packed = only(value, '$msgpack')
  return packed !== null ? Buffer.from(packed, 'base64') : packr.pack(reviveBinary(value))
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
