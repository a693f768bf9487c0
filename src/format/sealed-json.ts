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
/** What stands behind a list that is the last member. */
const LIST_END = ']}\n'

/** The bytes of a file with these members. Errors: `LIMIT_EXCEEDED`. */
export function sealJson(members: object): Uint8Array {
  return sealed(utf8(`${JSON.stringify({ sha256: SEALED_ZEROS, ...members })}\n`))
}

/**
 * The bytes of a file with these members, and behind them a list of this name: those that `sealJson` gives, without the text of a long list as
 * a whole beside them. `rows` are gone through twice. Errors: `LIMIT_EXCEEDED`.
 */
export function sealJsonList(members: object, name: string, rows: Iterable<unknown>): Uint8Array {
  const head = `${JSON.stringify({ sha256: SEALED_ZEROS, ...members }).slice(0, -1)},${JSON.stringify(name)}:[`
  let [length, count] = [Buffer.byteLength(head) + LIST_END.length, 0]
  for (const row of rows) length += Buffer.byteLength(JSON.stringify(row)) + (count++ > 0 ? 1 : 0)
  const bytes = Buffer.allocUnsafeSlow(length)
  let at = bytes.write(head)
  for (const row of rows) at += bytes.write(`${JSON.stringify(row)}${--count > 0 ? ',' : ''}`, at)
  bytes.write(LIST_END, at)
  return sealed(bytes)
}

function sealed(text: Uint8Array): Uint8Array {
  const bytes = readableJson(text, 'A file of the store')
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
