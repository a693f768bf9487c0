import { text } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'

/**
 * The value of a JSON file of a store. Errors: `RangeError` where it is larger or nested deeper than any that Tidemark
 * writes (ten million brackets are ten megabytes, and half a gigabyte once they are parsed), `SyntaxError`, `TypeError`.
 */
export function parseJson(bytes: Uint8Array): unknown {
  const excess = excessOf(bytes)
  if (excess !== null) throw new RangeError(`it is ${excess} than any`)
  return JSON.parse(text(bytes))
}

/**
 * The bytes of a JSON file, where `parseJson` will take them: what no reader takes is not written. `what` names it for
 * people. Errors: `LIMIT_EXCEEDED`.
 */
export function readableJson(bytes: Uint8Array, what: string): Uint8Array {
  const excess = excessOf(bytes)
  if (excess === null) return bytes
  throw beyondLimit(what, `${excess} than any reader takes`)
}

/** The error for what would be written and could not be read. */
function beyondLimit(what: string, why: string): TidemarkError {
  return new TidemarkError(
    'LIMIT_EXCEEDED',
    `${what} would be ${why} (${LIMITS.jsonBytes} bytes, ${LIMITS.jsonDepth} brackets). It was not written, and nothing was changed.`,
    {
      hint: 'What is in the store can be read as before, and what was journalled is safe. Capture into a new store, and keep this one.',
    },
  )
}

function excessOf(bytes: Uint8Array): 'larger' | 'nested deeper' | null {
  if (bytes.length > LIMITS.jsonBytes) return 'larger'
  return isTooDeep(bytes) ? 'nested deeper' : null
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPENING = 0x5b
const CLOSING = 0x5d
/** `[` and `{`, and `]` and `}`, differ in this bit alone. */
const CASE = 0x20

function isTooDeep(bytes: Uint8Array): boolean {
  let depth = 0
  let inText = false
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0
    if (byte === QUOTE) inText = !inText
    else if (inText) at += byte === BACKSLASH ? 1 : 0
    else if ((byte & ~CASE) === OPENING) depth++
    else if ((byte & ~CASE) === CLOSING) depth--
    if (depth > LIMITS.jsonDepth) return true
  }
  return false
}
