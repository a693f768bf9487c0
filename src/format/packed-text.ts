import { isUtf8 } from 'node:buffer'

/*
 * MessagePack as JSON text (see raw-json.ts), from bytes to bytes: a value of fifty megabytes is not made of it on the way, nor
 * a text of twice that. Twice over the bytes: once to see whether they can be written, and how long that is; once to write.
 */

/** Most arrays and maps within one another: what is deeper is carried as bytes. */
const MOST_DEPTH = 500
const [QUOTE, COMMA, COLON] = [0x22, 0x2c, 0x3a]
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_MAP, CLOSE_MAP] = [0x5b, 0x5d, 0x7b, 0x7d]

/** What stands for a byte within quotes where it cannot stand for itself. */
const ESCAPES: readonly (Buffer | undefined)[] = Array.from({ length: 256 }, (_, byte) => {
  const quoted = JSON.stringify(String.fromCharCode(byte)).slice(1, -1)
  return byte < 0x80 && quoted.length > 1 ? Buffer.from(quoted) : undefined
})
/** How many bytes more that is. */
const LONGER = Uint8Array.from(ESCAPES, (quoted) => (quoted === undefined ? 0 : quoted.length - 1))

/** The length of the text of a MessagePack value; null where the text would not give the same bytes again. */
export function packedTextLength(packed: Uint8Array): number | null {
  const walk = new Walk(packed, null)
  return walk.isWhole() ? walk.length : null
}

/** Writes the text of a value that has one; it must fit. */
export function writePackedText(packed: Uint8Array, target: Buffer): void {
  new Walk(packed, target).isWhole()
}

/** Bytes that are encoded as base64 at a time; a multiple of three. */
const BASE64_BYTES = 3 * 256 * 1024

/** Length of the base64 of so many bytes. */
export function base64Length(bytes: number): number {
  return 4 * Math.ceil(bytes / 3)
}

/** Writes base64 at `at`, and returns the offset behind it. */
export function writeBase64(bytes: Uint8Array, target: Buffer, at: number): number {
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let end = at
  for (let start = 0; start < whole.length; start += BASE64_BYTES) {
    const text = whole.toString('base64', start, Math.min(whole.length, start + BASE64_BYTES))
    end += target.write(text, end, 'latin1')
  }
  return end
}

/** One way over the bytes of a value; with no target it checks and counts. */
class Walk {
  readonly #packed: Buffer
  readonly #target: Buffer | null
  #at = 0
  #end = 0

  constructor(packed: Uint8Array, target: Buffer | null) {
    this.#packed = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength)
    this.#target = target
  }

  get length(): number {
    return this.#end
  }

  /** Whether the bytes are one value, and can be written. */
  isWhole(): boolean {
    // Nil as the whole value is text for no value at all.
    return this.#packed[0] !== 0xc0 && this.#value(0) && this.#at === this.#packed.length
  }

  #value(depth: number): boolean {
    if (this.#at >= this.#packed.length || depth > MOST_DEPTH) return false
    const head = this.#packed[this.#at++] ?? 0
    if (head < 0x80) return this.#plain(String(head))
    if (head >= 0xe0) return this.#plain(String(head - 256))
    if (head < 0x90) return this.#map(head & 0x0f, depth)
    if (head < 0xa0) return this.#array(head & 0x0f, depth)
    if (head < 0xc0) return this.#text(head & 0x1f)
    return this.#headed(head, depth)
  }

  /** What has a head of its own: lengths and numbers in their shortest form only. */
  #headed(head: number, depth: number): boolean {
    switch (head) {
      case 0xc0:
        return this.#plain('null')
      case 0xc2:
        return this.#plain('false')
      case 0xc3:
        return this.#plain('true')
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#atLeast([0, 0x100, 0x1_0000], head - 0xc4, (bytes) => this.#binary(bytes))
      case 0xcb:
        return this.#double()
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#atLeast([0x80, 0x100, 0x1_0000], head - 0xcc, (value) => this.#plain(String(value)))
      case 0xd0:
      case 0xd1:
      case 0xd2:
        return this.#negative(head - 0xd0)
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#atLeast([0x20, 0x100, 0x1_0000], head - 0xd9, (bytes) => this.#text(bytes))
      case 0xdc:
      case 0xdd:
        return this.#atLeast([0, 0x10, 0x1_0000], head - 0xdc + 1, (count) => this.#array(count, depth))
      case 0xde:
      case 0xdf:
        return this.#atLeast([0, 0x10, 0x1_0000], head - 0xde + 1, (count) => this.#map(count, depth))
      default:
        return false // integers of 64 bits, floats of 32, extensions
    }
  }

  /** Reads an unsigned number of 1, 2 or 4 bytes (`width` 0, 1, 2), which must need that many. */
  #atLeast(least: readonly number[], width: number, use: (value: number) => boolean): boolean {
    const bytes = 1 << width
    if (this.#at + bytes > this.#packed.length) return false
    const value = this.#packed.readUIntBE(this.#at, bytes)
    this.#at += bytes
    return value >= (least[width] ?? 0) && use(value)
  }

  #negative(width: number): boolean {
    const bytes = 1 << width
    if (this.#at + bytes > this.#packed.length) return false
    const value = this.#packed.readIntBE(this.#at, bytes)
    this.#at += bytes
    return value < ([-0x20, -0x80, -0x8000][width] ?? 0) && this.#plain(String(value))
  }

  #double(): boolean {
    if (this.#at + 8 > this.#packed.length) return false
    const value = this.#packed.readDoubleBE(this.#at)
    this.#at += 8
    const isInteger = Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 32
    return Number.isFinite(value) && !isInteger && this.#plain(String(value))
  }

  #array(count: number, depth: number): boolean {
    this.#byte(OPEN_ARRAY)
    for (let i = 0; i < count; i++) {
      if (i > 0) this.#byte(COMMA)
      if (!this.#value(depth + 1)) return false
    }
    this.#byte(CLOSE_ARRAY)
    return true
  }

  #map(count: number, depth: number): boolean {
    const names = this.#target === null ? new Names() : null
    this.#byte(OPEN_MAP)
    for (let i = 0; i < count; i++) {
      if (i > 0) this.#byte(COMMA)
      const start = this.#at
      if (!this.#isText(start) || !this.#value(depth + 1)) return false
      if (names !== null) {
        const name = this.#nameAt(start)
        const isMark = count === 1 && (name === '$bin' || (name === '$msgpack' && depth === 0))
        if (!names.add(name) || (isMark && this.#isText(this.#at))) return false
      }
      this.#byte(COLON)
      if (!this.#value(depth + 1)) return false
    }
    this.#byte(CLOSE_MAP)
    return true
  }

  #isText(at: number): boolean {
    const head = this.#packed[at] ?? 0
    return (head >= 0xa0 && head < 0xc0) || (head >= 0xd9 && head <= 0xdb)
  }

  /** The bytes of a name that has been walked over, one character each. */
  #nameAt(start: number): string {
    const head = this.#packed[start] ?? 0
    const headBytes = head < 0xc0 ? 1 : 1 + (1 << (head - 0xd9))
    return this.#packed.toString('latin1', start + headBytes, this.#at)
  }

  #text(bytes: number): boolean {
    const [start, end] = [this.#at, this.#at + bytes]
    if (end > this.#packed.length) return false
    this.#at = end
    this.#byte(QUOTE)
    if (this.#target === null) {
      if (!this.#count(start, end)) return false
    } else this.#escape(this.#target, start, end)
    this.#byte(QUOTE)
    return true
  }

  #count(start: number, end: number): boolean {
    const packed = this.#packed
    let [longer, all] = [0, 0]
    for (let i = start; i < end; i++) {
      const byte = packed[i] ?? 0
      longer += LONGER[byte] ?? 0
      all |= byte
    }
    this.#end += end - start + longer
    return all < 0x80 || isUtf8(packed.subarray(start, end))
  }

  #escape(target: Buffer, start: number, end: number): void {
    const packed = this.#packed
    let from = start
    for (let i = start; i < end; i++) {
      const byte = packed[i] ?? 0
      if (LONGER[byte] === 0) continue
      this.#end += packed.copy(target, this.#end, from, i)
      this.#end += ESCAPES[byte]?.copy(target, this.#end) ?? 0
      from = i + 1
    }
    this.#end += packed.copy(target, this.#end, from, end)
  }

  #binary(bytes: number): boolean {
    const start = this.#at
    this.#at += bytes
    if (this.#at > this.#packed.length) return false
    this.#plain('{"$bin":"')
    if (this.#target === null) this.#end += base64Length(bytes)
    else this.#end = writeBase64(this.#packed.subarray(start, this.#at), this.#target, this.#end)
    return this.#plain('"}')
  }

  #plain(ascii: string): boolean {
    this.#target?.write(ascii, this.#end, 'latin1')
    this.#end += ascii.length
    return true
  }

  #byte(byte: number): void {
    if (this.#target !== null) this.#target[this.#end] = byte
    this.#end++
  }
}

/** The names of a map so far: a JSON parser would leave out one that is there twice, and puts those that are indexes first. */
class Names {
  #first: string | null = null
  #all: Set<string> | null = null
  #isNamed = false
  #index = -1

  /** False where a JSON parser would not leave it where it is. */
  add(name: string): boolean {
    if (name === '__proto__') return false
    const index = /^(?:0|[1-9][0-9]{0,9})$/.test(name) ? Number(name) : -1
    if (index >= 0 && index < 2 ** 32 - 1) {
      if (this.#isNamed || index <= this.#index) return false
      this.#index = index
      return true
    }
    this.#isNamed = true
    if (this.#first === null) {
      this.#first = name
      return true
    }
    this.#all ??= new Set([this.#first])
    return this.#all.size < this.#all.add(name).size
  }
}
