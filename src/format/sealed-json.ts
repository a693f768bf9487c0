import { sha256, utf8 } from '../base/bytes.ts'
import { parseJson, readableJson } from './bounded-json.ts'

/*
 * JSON files that carry their own checksum. The text begins with
 *
 *   {"sha256":"<64 lower-case hex digits>",
 *
 * and the digits are the SHA-256 of the whole file with 64 zeros in their place: still one plain JSON object.
 */
/** What stands before the checksum. */
const SEALED_START = '{"sha256":"'
/** What stands in the place of the checksum while it is made. */
const SEALED_ZEROS: string = '0'.repeat(64)

/** The bytes of a file with these members. Errors: `LIMIT_EXCEEDED`. */
export function sealJson(members: object): Uint8Array {
  const bytes = readableJson(utf8(`${JSON.stringify({ sha256: SEALED_ZEROS, ...members })}\n`), 'A file of the store')
  bytes.set(utf8(sha256(bytes)), SEALED_START.length)
  return bytes
}

/** The members of a file, without the checksum; null where the checksum is wrong or the file is none of these. */
export function unsealJson(bytes: Uint8Array): Readonly<Record<string, unknown>> | null {
  const end = SEALED_START.length + SEALED_ZEROS.length
  if (bytes.length <= end) return null
  const blank = Uint8Array.from(bytes)
  blank.set(utf8(SEALED_ZEROS), SEALED_START.length)
  const given = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1', 0, end)
  if (given !== SEALED_START + sha256(blank)) return null
  const value = parse(bytes)
  if (typeof value !== 'object' || value === null) return null
  const { sha256: _, ...members } = value as Record<string, unknown>
  return members
}

/** The value of JSON text, or undefined: who can make a checksum fit can put anything behind it. */
function parse(bytes: Uint8Array): unknown {
  try {
    return parseJson(bytes)
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError || error instanceof RangeError) return undefined
    throw error
  }
}
