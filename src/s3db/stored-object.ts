import { writeUtf8 } from '../base/bytes.ts'

/**
 * An object as it is stored, as far as s3db.js's client shows it. Metadata is sorted by key, because S3 gives it in
 * any order; values are texts, with `null` and `undefined` for those two values, as s3db.js stores them.
 */
export interface StoredObject {
  readonly metadata: readonly (readonly [key: string, value: string])[]
  /** Text where the bytes are valid UTF-8. */
  readonly body: string | Uint8Array
  readonly contentType: string | null
  readonly contentEncoding: string | null
}

/** What is allocated for objects as they usually are. */
const SMALL_BYTES = 8 * 1024
/** A larger object is not copied out of the buffer that it was written to. */
const COPIED_BYTES = 64 * 1024
/** Most bytes in front of a text, of bytes, or of an array. */
const HEAD_BYTES = 5
/** How many bytes longer texts need is counted, and not reckoned from the worst case. */
const SHORT_TEXT = 1024
/** All that has a fixed length, with the texts without which no object is. */
const FIXED_BYTES = 64

/**
 * Writes stored objects as MessagePack, byte for byte as msgpackr does, which takes twice as long (2.7 us an object of
 * 600 bytes on the machine that this was written on): every captured write needs it, and to compare what was read.
 */
class StoredWriter {
  #bytes: Buffer = Buffer.allocUnsafeSlow(SMALL_BYTES)
  #at = 0

  /** A map of `metadata` (pairs), `body` (str or bin), `contentType` and `contentEncoding` (str or nil). */
  write({ metadata, body, contentType, contentEncoding }: StoredObject): Uint8Array {
    let most = FIXED_BYTES + HEAD_BYTES + mostBytes(body) + mostBytes(contentType) + mostBytes(contentEncoding)
    for (const [key, value] of metadata) most += 1 + mostBytes(key) + mostBytes(value)
    if (most > this.#bytes.length) this.#bytes = Buffer.allocUnsafeSlow(most)
    this.#at = 0
    this.#byte(0x84)
    this.#text('metadata')
    this.#arrayOf(metadata.length)
    for (const [key, value] of metadata) {
      this.#byte(0x92)
      this.#text(key)
      this.#text(value)
    }
    this.#text('body')
    this.#value(body)
    this.#text('contentType')
    this.#value(contentType)
    this.#text('contentEncoding')
    this.#value(contentEncoding)
    return this.#finished()
  }

  #finished(): Uint8Array {
    const raw = this.#bytes.subarray(0, this.#at)
    if (this.#bytes.length <= COPIED_BYTES) return Buffer.from(raw)
    this.#bytes = Buffer.allocUnsafeSlow(SMALL_BYTES)
    return raw
  }

  #value(value: string | Uint8Array | null): void {
    if (value === null) this.#byte(0xc0)
    else if (typeof value === 'string') this.#text(value)
    else {
      this.#sized(value.length, 0xc4)
      this.#bytes.set(value, this.#at)
      this.#at += value.length
    }
  }

  /** What stands in front of a text depends on its bytes: it is written where they are as many as its characters. */
  #text(text: string): void {
    const at = this.#at + textHead(text.length)
    const length = writeUtf8(this.#bytes, at, text)
    const start = this.#at + textHead(length)
    if (start !== at) this.#bytes.copyWithin(start, at, at + length)
    if (length < 32) this.#byte(0xa0 | length)
    else this.#sized(length, 0xd9)
    this.#at = start + length
  }

  #arrayOf(length: number): void {
    if (length < 16) this.#byte(0x90 | length)
    // The two types of longer arrays follow one that has no length of one byte.
    else this.#sized(length, 0xdb, 2)
  }

  /** `type`: the one with a length of one byte; those with longer ones follow it. `least`: bytes of the length. */
  #sized(length: number, type: number, least = 1): void {
    const bytes = Math.max(least, lengthBytes(length))
    this.#byte(type + (bytes >> 1))
    this.#at = this.#bytes.writeUIntBE(length, this.#at, bytes)
  }

  #byte(value: number): void {
    this.#bytes[this.#at++] = value
  }
}

const writer = new StoredWriter()

/** `Image.raw` of a stored object: a map of `metadata` (pairs), `body` (str or bin), `contentType`, `contentEncoding`. */
export function encodeStored(stored: StoredObject): Uint8Array {
  return writer.write(stored)
}

function textHead(length: number): number {
  return length < 32 ? 1 : 1 + lengthBytes(length)
}

function lengthBytes(length: number): 1 | 2 | 4 {
  if (length < 2 ** 8) return 1
  return length < 2 ** 16 ? 2 : 4
}

function mostBytes(value: string | Uint8Array | null): number {
  if (value === null) return 1
  if (typeof value !== 'string') return HEAD_BYTES + value.length
  return HEAD_BYTES + (value.length < SHORT_TEXT ? 3 * value.length : Buffer.byteLength(value))
}
