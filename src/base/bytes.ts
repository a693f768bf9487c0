import { hash, randomBytes } from 'node:crypto'
import { crc32 as zlibCrc32 } from 'node:zlib'

const encoder = new TextEncoder()
/** Without `ignoreBOM` it would drop a U+FEFF at the beginning, which is a character of an id like any other. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** No bytes. */
export const EMPTY: Uint8Array = new Uint8Array(0)

/** UTF-8 bytes of `text`. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text)
}

/** Text of UTF-8 `bytes`; throws a `TypeError` where they are not valid UTF-8. */
export function text(bytes: Uint8Array): string {
  return decoder.decode(bytes)
}

/** Text up to so many UTF-16 code units is written by `writeUtf8` itself. */
const SHORT_TEXT = 48

/**
 * Writes the UTF-8 of `text` at `at`, where it must fit, and returns how many bytes that are: short plain text in a loop,
 * which costs less than a call into the runtime.
 */
export function writeUtf8(target: Buffer, at: number, text: string): number {
  if (text.length > SHORT_TEXT) return target.write(text, at, 'utf8')
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit > 0x7f) return target.write(text, at, 'utf8')
    target[at + i] = unit
  }
  return text.length
}

/** CRC-32 (IEEE 802.3) as an unsigned 32-bit integer. */
export function crc32(bytes: Uint8Array, seed = 0): number {
  return zlibCrc32(bytes, seed)
}

/** SHA-256 as lower-case hex. */
export function sha256(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex')
}

/** SHA-256 as its 32 bytes. */
export function sha256Bytes(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer')
}

/** 8 hexadecimal digits that nobody has drawn before: what makes the key of one attempt unlike that of another. */
export function nonce(): string {
  return randomBytes(4).toString('hex')
}

/** The bytes with a buffer to themselves, which can be given to another thread: copied where it has more in it than they. */
export function ownBuffer(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = bytes
  const isWhole = buffer instanceof ArrayBuffer && bytes.byteLength === buffer.byteLength
  return isWhole ? new Uint8Array(buffer) : new Uint8Array(bytes)
}

/** Whether both are absent, or both are there with the same bytes. */
export function equalBytes(a: Uint8Array | null, b: Uint8Array | null): boolean {
  if (a === null || b === null) return a === b
  return a.length === b.length && Buffer.compare(a, b) === 0
}

/**
 * Orders two strings as their UTF-8 bytes would be ordered. JavaScript's `<` compares UTF-16 units, which differs
 * as soon as a character beyond U+FFFF meets one in U+E000..U+FFFF.
 */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x === y) continue
    const xSurrogate = x >= 0xd800 && x <= 0xdfff
    const ySurrogate = y >= 0xd800 && y <= 0xdfff
    if (xSurrogate === ySurrogate) return x < y ? -1 : 1
    return xSurrogate ? 1 : -1
  }
  return a.length === b.length ? 0 : a.length < b.length ? -1 : 1
}

/** The parts joined; a single part is not copied. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)
}
