import { must } from './bytes.ts'

/** The raw part of a line of a snapshot (7), as the MessagePack bytes that it stands for. */
export function rawOf(value: unknown): Uint8Array | null {
  if (value === null) return null
  const packed = only(value, '$msgpack')
  return packed === null ? pack(value) : Buffer.from(packed, 'base64')
}

function pack(value: unknown): Buffer {
  if (value === null) return Buffer.of(0xc0)
  if (typeof value === 'boolean') return Buffer.of(value ? 0xc3 : 0xc2)
  if (typeof value === 'number') return packNumber(value)
  if (typeof value === 'string') return packText(value)
  if (Array.isArray(value)) return Buffer.concat([head(value.length, 0x90, 0xdc), ...value.map(pack)])
  const binary = only(value, '$bin')
  if (binary !== null) return packBinary(Buffer.from(binary, 'base64'))
  const members = Object.entries(Object(value))
  return Buffer.concat([head(members.length, 0x80, 0xde), ...members.flatMap(([name, one]) => [pack(name), pack(one)])])
}

function packNumber(n: number): Buffer {
  if (!Number.isInteger(n) || n < -(2 ** 31) || n >= 2 ** 32) {
    const bytes = Buffer.of(0xcb, 0, 0, 0, 0, 0, 0, 0, 0)
    bytes.writeDoubleBE(n, 1)
    return bytes
  }
  if (n >= 0) return n < 128 ? Buffer.of(n) : big(n, [0xcc, 0xcd, 0xce])
  if (n >= -32) return Buffer.of(n + 256)
  const size = n >= -128 ? 1 : n >= -32768 ? 2 : 4
  const bytes = Buffer.alloc(1 + size, 0xcf + { 1: 1, 2: 2, 4: 3 }[size])
  bytes.writeIntBE(n, 1, size)
  return bytes
}

function packText(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([
    bytes.length < 32 ? Buffer.of(0xa0 + bytes.length) : big(bytes.length, [0xd9, 0xda, 0xdb]),
    bytes,
  ])
}

function packBinary(bytes: Buffer): Buffer {
  return Buffer.concat([big(bytes.length, [0xc4, 0xc5, 0xc6]), bytes])
}

/** Of an array or a map: 15 and fewer are in the first byte, 16 bits follow it, or 32. */
function head(count: number, few: number, many: number): Buffer {
  if (count < 16) return Buffer.of(few + count)
  const bytes = Buffer.alloc(count < 65536 ? 3 : 5, count < 65536 ? many : many + 1)
  bytes.writeUIntBE(count, 1, bytes.length - 1)
  return bytes
}

/** A number of one, two or four bytes, with the type of each before it. */
function big(n: number, types: readonly [number, number, number]): Buffer {
  const i = n < 256 ? 0 : n < 65536 ? 1 : 2
  must(n < 2 ** 32, 'too long')
  const bytes = Buffer.alloc(1 + 2 ** i, types[i])
  bytes.writeUIntBE(n, 1, 2 ** i)
  return bytes
}

/** The text `name`, where it is the only member. */
function only(value: unknown, name: string): string | null {
  const [member, ...others] = Object.entries(Object(value))
  return others.length === 0 && member?.[0] === name && typeof member[1] === 'string' ? member[1] : null
}
