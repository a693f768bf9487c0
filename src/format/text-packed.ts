import { isUtf8 } from 'node:buffer'

/*
 * The way back from packed-text.ts: JSON text as MessagePack, from bytes to bytes. It reads what is written there; of any other
 * text (blanks, names that are indexes out of order, halves of surrogate pairs) it says that somebody else must read it.
 */

const MOST_DEPTH = 500
const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a]
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_MAP, CLOSE_MAP] = [0x5b, 0x5d, 0x7b, 0x7d]
const SPACE = 0x20
const BINARY = Buffer.from('{"$bin":"')
const PACKED = Buffer.from('{"$msgpack":"')
const NUMBER = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$/
const WORDS: readonly (readonly [text: Buffer, byte: number])[] = [
  [Buffer.from('null'), 0xc0],
  [Buffer.from('false'), 0xc2],
  [Buffer.from('true'), 0xc3],
]
/** What follows a backslash, and what it stands for. */
const ESCAPED = new Map([...'"\\/bfnrt'].map((char, i) => [char.charCodeAt(0), Buffer.from('"\\/\b\f\n\r\t')[i] ?? 0]))
/** Characters of base64 that are decoded at a time; a multiple of four. */
const BASE64_CHARACTERS = 4 * 256 * 1024
const BASE64 = Uint8Array.from({ length: 256 }, (_, byte) => (/[A-Za-z0-9+/]/.test(String.fromCharCode(byte)) ? 1 : 0))

/** The MessagePack of a text; null where the text is none of those that are written here. */
export function packedOfText(json: Buffer): Uint8Array | null {
  if (!isUtf8(json)) return null
  if (json.subarray(0, PACKED.length).equals(PACKED)) return carried(json)
  const measured = new Packing(json, null, [])
  if (!measured.isWhole()) return null
  const target = Buffer.allocUnsafeSlow(measured.length)
  new Packing(json, target, measured.counts).isWhole()
  return target
}

/** What is carried as bytes. */
function carried(json: Buffer): Uint8Array | null {
  const end = json.length - 2
  const bytes = json.indexOf(QUOTE, PACKED.length) === end && json[end + 1] === CLOSE_MAP
  const length = bytes ? base64Bytes(json, PACKED.length, end) : null
  if (length === null) return null
  const target = Buffer.allocUnsafeSlow(length)
  decodeBase64(json, PACKED.length, end, target, 0)
  return target
}

/** Bytes that a text of base64 stands for; null where it is not in its one form. */
function base64Bytes(json: Buffer, start: number, end: number): number | null {
  const padding = json[end - 1] !== 0x3d ? 0 : json[end - 2] === 0x3d ? 2 : 1
  if (end === start) return 0
  if ((end - start) % 4 !== 0) return null
  for (let i = start; i < end - padding; i++) if (BASE64[json[i] ?? 0] === 0) return null
  return ((end - start) / 4) * 3 - padding
}

function decodeBase64(json: Buffer, start: number, end: number, target: Buffer, at: number): number {
  let written = at
  for (let from = start; from < end; from += BASE64_CHARACTERS) {
    written += target.write(json.toString('latin1', from, Math.min(end, from + BASE64_CHARACTERS)), written, 'base64')
  }
  return written
}

/** One way over a text; with no target it checks, counts the bytes, and how much is in each array and map. */
class Packing {
  /** Of the arrays and maps, in the order in which they begin. */
  readonly counts: number[]
  readonly #json: Buffer
  readonly #target: Buffer | null
  #at = 0
  #end = 0
  #container = 0

  constructor(json: Buffer, target: Buffer | null, counts: number[]) {
    this.counts = counts
    this.#json = json
    this.#target = target
  }

  get length(): number {
    return this.#end
  }

  isWhole(): boolean {
    return this.#value(0) && this.#at === this.#json.length
  }

  #value(depth: number): boolean {
    const byte = this.#json[this.#at]
    if (byte === undefined || depth > MOST_DEPTH) return false
    if (byte === QUOTE) return this.#text()
    if (byte === OPEN_ARRAY) return this.#members(depth, CLOSE_ARRAY, [0x90, 0xdc, 0xdd])
    if (byte === OPEN_MAP) return this.#binary() ?? this.#members(depth, CLOSE_MAP, [0x80, 0xde, 0xdf])
    for (const [word, packed] of WORDS) {
      if (!this.#isNext(word)) continue
      this.#at += word.length
      this.#byte(packed)
      return true
    }
    return this.#number()
  }

  /** An array or a map; its head says how much is in it, which the way before this one has counted. */
  #members(depth: number, close: number, heads: readonly [number, number, number]): boolean {
    const container = this.#container++
    const names = close === CLOSE_MAP && this.#target === null ? new Set<string>() : null
    if (this.#target !== null) this.#head(this.counts[container] ?? 0, heads)
    this.counts[container] ??= 0
    let count = 0
    this.#at++
    while (this.#json[this.#at] !== close) {
      if (count++ > 0 && this.#json[this.#at++] !== COMMA) return false
      if (close === CLOSE_MAP && !this.#name(names)) return false
      if (!this.#value(depth + 1)) return false
    }
    this.#at++
    if (this.#target === null) {
      this.counts[container] = count
      this.#end += count < 0x10 ? 1 : count < 0x1_0000 ? 3 : 5
    }
    return true
  }

  /** A name and its colon. Names that a JSON parser might put in another place are read by one. */
  #name(names: Set<string> | null): boolean {
    const start = this.#at
    if (this.#json[start] !== QUOTE || !this.#text()) return false
    if (names !== null) {
      const name = this.#json.toString('latin1', start, this.#at)
      if (names.has(name) || /^"(?:[0-9]*|.*\\.*)"$/.test(name)) return false
      names.add(name)
    }
    return this.#json[this.#at++] === COLON
  }

  #number(): boolean {
    const start = this.#at
    let end = start
    while (/[-+.0-9eE]/.test(String.fromCharCode(this.#json[end] ?? 0))) end++
    const digits = this.#json.toString('latin1', start, end)
    const value = Number(digits)
    if (!NUMBER.test(digits) || !Number.isFinite(value) || Object.is(value, -0)) return false
    this.#at = end
    if (!Number.isInteger(value) || value < -(2 ** 31) || value >= 2 ** 32) {
      this.#byte(0xcb)
      this.#target?.writeDoubleBE(value, this.#end)
      this.#end += 8
    } else if (value < 0) this.#negative(value)
    else if (value < 0x80) this.#byte(value)
    else this.#sized(value, [0xcc, 0xcd, 0xce])
    return true
  }

  #negative(value: number): void {
    if (value >= -0x20) {
      this.#byte(value + 256)
      return
    }
    const width = value >= -0x80 ? 0 : value >= -0x8000 ? 1 : 2
    this.#byte(0xd0 + width)
    this.#target?.writeIntBE(value, this.#end, 1 << width)
    this.#end += 1 << width
  }

  /** A map that stands for binary; null where it is an ordinary one. */
  #binary(): boolean | null {
    if (!this.#isNext(BINARY)) return null
    const start = this.#at + BINARY.length
    const end = this.#json.indexOf(QUOTE, start)
    if (this.#json[end + 1] !== CLOSE_MAP) return null
    const bytes = base64Bytes(this.#json, start, end)
    if (bytes === null) return false
    this.#at = end + 2
    this.#sized(bytes, [0xc4, 0xc5, 0xc6])
    if (this.#target === null) this.#end += bytes
    else this.#end = decodeBase64(this.#json, start, end, this.#target, this.#end)
    return true
  }

  #text(): boolean {
    const start = this.#at + 1
    const bytes = this.#unescape(start, null)
    if (bytes === null) return false
    if (bytes < 0x20) this.#byte(0xa0 | bytes)
    else this.#sized(bytes, [0xd9, 0xda, 0xdb])
    if (this.#target !== null) this.#unescape(start, this.#target)
    this.#end += bytes
    return true
  }

  /** Moves behind the quote that ends a text, and returns how many bytes it has; null where it is none of ours. */
  #unescape(start: number, target: Buffer | null): number | null {
    const json = this.#json
    let bytes = 0
    let from = start
    for (let i = start; ; i++) {
      const byte = json[i]
      if (byte === undefined || byte < SPACE) return null
      if (byte !== QUOTE && byte !== BACKSLASH) continue
      target?.set(json.subarray(from, i), this.#end + bytes)
      bytes += i - from
      if (byte === QUOTE) {
        this.#at = i + 1
        return bytes
      }
      const isCode = json[i + 1] === 0x75
      const stands = isCode ? codeOf(json.toString('latin1', i + 2, i + 6)) : ESCAPED.get(json[i + 1] ?? 0)
      if (stands === undefined) return null
      if (target !== null) target[this.#end + bytes] = stands
      bytes++
      i += isCode ? 5 : 1
      from = i + 1
    }
  }

  /** Writes a number of 1, 2 or 4 bytes behind the head of its width. */
  #sized(value: number, heads: readonly [number, number, number]): void {
    const width = value < 0x100 ? 0 : value < 0x1_0000 ? 1 : 2
    this.#byte(heads[width] ?? 0)
    this.#target?.writeUIntBE(value, this.#end, 1 << width)
    this.#end += 1 << width
  }

  #head(count: number, [short, two, four]: readonly [number, number, number]): void {
    if (count < 0x10) {
      this.#byte(short | count)
      return
    }
    const bytes = count < 0x1_0000 ? 2 : 4
    this.#byte(bytes === 2 ? two : four)
    this.#target?.writeUIntBE(count, this.#end, bytes)
    this.#end += bytes
  }

  #isNext(bytes: Buffer): boolean {
    return (
      this.#json.compare(bytes, 0, bytes.length, this.#at, Math.min(this.#json.length, this.#at + bytes.length)) === 0
    )
  }

  #byte(byte: number): void {
    if (this.#target !== null) this.#target[this.#end] = byte
    this.#end++
  }
}

/** The byte of four hexadecimal digits, where it is one: what is written here escapes nothing else that way. */
function codeOf(digits: string): number | undefined {
  return /^00[0-7][0-9a-fA-F]$/.test(digits) ? Number.parseInt(digits, 16) : undefined
}
