import { text } from '../base/bytes.ts'
import { LIMITS } from '../base/limits.ts'

/**
 * The value of a JSON file of a store. Errors: `RangeError` where it is larger or nested deeper than any that Tidemark
 * writes (ten million brackets are ten megabytes, and half a gigabyte once they are parsed), `SyntaxError`, `TypeError`.
 */
export function parseJson(bytes: Uint8Array): unknown {
  if (bytes.length > LIMITS.jsonBytes) throw new RangeError('it is larger than any')
  if (isTooDeep(bytes)) throw new RangeError('it is nested deeper than any')
  return JSON.parse(text(bytes))
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPENING = [0x5b, 0x7b]
const CLOSING = [0x5d, 0x7d]

function isTooDeep(bytes: Uint8Array): boolean {
  let depth = 0
  let inText = false
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0
    if (byte === QUOTE) inText = !inText
    else if (inText) at += byte === BACKSLASH ? 1 : 0
    else if (OPENING.includes(byte)) depth++
    else if (CLOSING.includes(byte)) depth--
    if (depth > LIMITS.jsonDepth) return true
  }
  return false
}
