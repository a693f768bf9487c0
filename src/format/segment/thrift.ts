import { expect, Malformed } from './corrupt.ts'

/** Field types of Thrift's compact protocol (thrift.apache.org, thrift-compact-protocol.md). */
const STOP = 0
const TRUE = 1
const FALSE = 2
const BYTE = 3
const DOUBLE = 7
const BINARY = 8
const LIST = 9
const SET = 10
const STRUCT = 12
const MAX_DEPTH = 16

/** Reads Thrift's compact protocol from bytes that may be hostile: every step stays inside them. */
export class ThriftReader {
  readonly #bytes: Uint8Array
  readonly #end: number
  #depth = 0
  offset: number

  constructor(bytes: Uint8Array, start = 0, end: number = bytes.length) {
    this.#bytes = bytes
    this.#end = end
    this.offset = start
  }

  /** Reads a struct: `field` reads the value of the field it is given, or returns false to have it skipped. */
  struct(field: (id: number, type: number) => boolean): void {
    expect(++this.#depth <= MAX_DEPTH, 'its metadata is nested too deeply')
    let id = 0
    for (;;) {
      const head = this.#byte()
      const type = head & 15
      if (type === STOP) break
      id = head >> 4 === 0 ? this.integer() : id + (head >> 4)
      if (!field(id, type)) this.#skip(type)
    }
    this.#depth--
  }

  /** A 16-, 32- or 64-bit integer; a safe one, or the bytes are malformed. */
  integer(): number {
    const raw = this.#varint()
    return raw % 2 === 0 ? raw / 2 : -(raw + 1) / 2
  }

  /** The bytes of a string, as a view. */
  binary(): Uint8Array {
    const length = this.#varint()
    expect(length <= this.#end - this.offset, 'its metadata ends inside a text')
    this.offset += length
    return this.#bytes.subarray(this.offset - length, this.offset)
  }

  /** Reads a list with `element` for each of its elements. */
  list<T>(element: () => T): T[] {
    const length = this.#listLength()
    const out: T[] = []
    for (let i = 0; i < length; i++) out.push(element())
    return out
  }

  #listLength(): number {
    const head = this.#byte()
    const length = head >> 4 === 15 ? this.#varint() : head >> 4
    // Every element takes at least a byte.
    expect(length <= this.#end - this.offset, 'its metadata ends inside a list')
    return length
  }

  #byte(): number {
    expect(this.offset < this.#end, 'its metadata ends too early')
    return this.#bytes[this.offset++] ?? 0
  }

  #varint(): number {
    let value = 0
    let scale = 1
    for (;;) {
      const byte = this.#byte()
      value += (byte & 127) * scale
      expect(value <= Number.MAX_SAFE_INTEGER, 'its metadata holds a number out of range')
      if (byte < 128) return value
      scale *= 128
      expect(scale <= 2 ** 56, 'its metadata holds a number out of range')
    }
  }

  #skip(type: number): void {
    if (type === TRUE || type === FALSE) return
    if (type === BYTE) this.#byte()
    else if (type < DOUBLE) this.#varint()
    else if (type === DOUBLE) this.#skipBytes(8)
    else if (type === BINARY) this.binary()
    else if (type === LIST || type === SET) this.#skipList()
    else if (type === STRUCT) this.struct(() => false)
    else throw new Malformed('its metadata holds a field of an unknown type')
  }

  #skipList(): void {
    const head = this.#bytes[this.offset] ?? 0
    const length = this.#listLength()
    const type = head & 15
    expect(++this.#depth <= MAX_DEPTH, 'its metadata is nested too deeply')
    // Booleans take a byte in a list and none in a struct.
    for (let i = 0; i < length; i++) {
      if (type === TRUE || type === FALSE) this.#byte()
      else this.#skip(type)
    }
    this.#depth--
  }

  #skipBytes(count: number): void {
    expect(count <= this.#end - this.offset, 'its metadata ends too early')
    this.offset += count
  }
}
