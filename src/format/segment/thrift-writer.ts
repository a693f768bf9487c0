import type { ByteWriter } from './byte-writer.ts'

/** Field types of Thrift's compact protocol, those that segments use. */
const THRIFT = { true: 1, i32: 5, i64: 6, binary: 8, list: 9, struct: 12 } as const

/** Writes Thrift's compact protocol: fields of a struct in the order of their ids. */
export class ThriftWriter {
  readonly #out: ByteWriter
  #last = 0

  constructor(out: ByteWriter) {
    this.#out = out
  }

  /** A struct that is an element of a list, or stands alone. */
  struct(fields: () => void): void {
    const outer = this.#last
    this.#last = 0
    fields()
    this.#out.byte(0)
    this.#last = outer
  }

  /** A struct that is a field. */
  field(id: number, fields: () => void): void {
    this.#head(id, THRIFT.struct)
    this.struct(fields)
  }

  isTrue(id: number): void {
    this.#head(id, THRIFT.true)
  }

  i32(id: number, value: number): void {
    this.#head(id, THRIFT.i32)
    this.#out.zigzag(value)
  }

  i64(id: number, value: number): void {
    this.#head(id, THRIFT.i64)
    this.#out.zigzag(value)
  }

  binary(id: number, value: Uint8Array | string): void {
    this.#head(id, THRIFT.binary)
    this.#bytes(value)
  }

  structs<T>(id: number, values: readonly T[], fields: (value: T) => void): void {
    this.#list(id, THRIFT.struct, values.length)
    for (const value of values) this.struct(() => fields(value))
  }

  integers(id: number, values: readonly number[]): void {
    this.#list(id, THRIFT.i32, values.length)
    for (const value of values) this.#out.zigzag(value)
  }

  texts(id: number, values: readonly string[]): void {
    this.#list(id, THRIFT.binary, values.length)
    for (const value of values) this.#bytes(value)
  }

  #bytes(value: Uint8Array | string): void {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value
    this.#out.varint(bytes.length)
    this.#out.bytes(bytes)
  }

  #list(id: number, type: number, length: number): void {
    this.#head(id, THRIFT.list)
    if (length < 15) this.#out.byte((length << 4) | type)
    else {
      this.#out.byte(0xf0 | type)
      this.#out.varint(length)
    }
  }

  #head(id: number, type: number): void {
    // Ids that are more than 15 apart do not occur.
    this.#out.byte(((id - this.#last) << 4) | type)
    this.#last = id
  }
}
