const FIX = { map: 0x80, array: 0x90, text: 0xa0, end: 0xc0 } as const

/**
 * The value of MessagePack `bytes` that hold only maps with text keys, arrays, text, binary and nil, as images of stored
 * objects do. msgpackr's own reader drops a U+FEFF at the beginning of a text. Throws a `RangeError` for anything else.
 */
export function readMessagePack(bytes: Uint8Array): unknown {
  const reader = new MessagePackReader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  const value = reader.value()
  if (!reader.atEnd) throw new RangeError('bytes follow the value')
  return value
}

class MessagePackReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  value(): unknown {
    const type = this.#number(1)
    if (type >= FIX.map && type < FIX.array) return this.#map(type - FIX.map)
    if (type >= FIX.array && type < FIX.text) return this.#array(type - FIX.array)
    if (type >= FIX.text && type < FIX.end) return this.#text(type - FIX.text)
    switch (type) {
      case 0xc0:
        return null
      case 0xc4:
        return this.#take(this.#number(1))
      case 0xc5:
        return this.#take(this.#number(2))
      case 0xc6:
        return this.#take(this.#number(4))
      case 0xd9:
        return this.#text(this.#number(1))
      case 0xda:
        return this.#text(this.#number(2))
      case 0xdb:
        return this.#text(this.#number(4))
      case 0xdc:
        return this.#array(this.#number(2))
      case 0xdd:
        return this.#array(this.#number(4))
      case 0xde:
        return this.#map(this.#number(2))
      default:
        throw new RangeError(`a value of type ${type}`)
    }
  }

  #map(size: number): Record<string, unknown> {
    const entries: [string, unknown][] = []
    for (let i = 0; i < size; i++) entries.push([String(this.value()), this.value()])
    return Object.fromEntries(entries)
  }

  #array(length: number): unknown[] {
    const values: unknown[] = []
    for (let i = 0; i < length; i++) values.push(this.value())
    return values
  }

  #text(length: number): string {
    return this.#take(length).toString('utf8')
  }

  #number(bytes: 1 | 2 | 4): number {
    const value = this.#bytes.readUIntBE(this.#at, bytes)
    this.#at += bytes
    return value
  }

  #take(length: number): Buffer {
    const end = this.#at + length
    if (end > this.#bytes.length) throw new RangeError('a value ends behind the bytes')
    const part = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return part
  }
}
