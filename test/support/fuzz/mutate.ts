/** A source of numbers in [0, 1). */
export type Random = () => number

/** A whole number from 0 to `below - 1`. */
export function pick(random: Random, below: number): number {
  return Math.floor(random() * below)
}

export function choose<T>(random: Random, values: readonly T[]): T {
  const value = values[pick(random, values.length)]
  if (value === undefined) throw new Error('nothing to choose from')
  return value
}

/** Bytes that were changed, and how. */
export interface Mutated {
  readonly bytes: Uint8Array
  readonly kind: string
}

/** Integers at which decoders break: ends of the widths, and of what JavaScript holds exactly. */
const EXTREMES: readonly bigint[] = [
  0n,
  1n,
  0x7fn,
  0xffn,
  0xffffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
]

type Change = (bytes: Buffer, donors: readonly Uint8Array[], random: Random) => Buffer

/** Two offsets of the bytes, the first not above the second. */
function range(bytes: Uint8Array, random: Random, most = bytes.length): [number, number] {
  const start = pick(random, bytes.length + 1)
  return [start, Math.min(bytes.length, start + 1 + pick(random, most))]
}

function joined(...parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat(parts)
}

/** LEB128, as Thrift and Parquet have it. */
export function varint(value: bigint): Uint8Array {
  const out: number[] = []
  for (let rest = value; ; rest >>= 7n) {
    const low = Number(rest & 127n)
    if (rest < 128n) return Uint8Array.from([...out, low])
    out.push(low | 128)
  }
}

function littleEndian(value: bigint, width: number): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value))
  return bytes.subarray(0, width)
}

const CHANGES: Readonly<Record<string, Change>> = {
  flip: (bytes, _, random) => {
    const at = pick(random, bytes.length)
    bytes[at] = (bytes[at] ?? 0) ^ (1 << pick(random, 8))
    return bytes
  },
  set: (bytes, _, random) => {
    bytes[pick(random, bytes.length)] = pick(random, 256)
    return bytes
  },
  truncate: (bytes, _, random) => bytes.subarray(0, pick(random, bytes.length)),
  behead: (bytes, _, random) => bytes.subarray(pick(random, Math.min(64, bytes.length))),
  extend: (bytes, donors, random) => {
    const donor = choose(random, donors)
    const [start, end] = range(donor, random)
    return random() < 0.5 ? joined(bytes, Buffer.alloc(pick(random, 64))) : joined(bytes, donor.subarray(start, end))
  },
  splice: (bytes, donors, random) => {
    const donor = choose(random, donors)
    const [start, end] = range(bytes, random)
    const [from, to] = range(donor, random)
    // As often in place, so that everything behind it stays where it was.
    if (random() < 0.5) return joined(bytes.subarray(0, start), donor.subarray(from, to), bytes.subarray(end))
    bytes.set(donor.subarray(from, Math.min(to, from + bytes.length - start)), start)
    return bytes
  },
  remove: (bytes, _, random) => {
    const [start, end] = range(bytes, random)
    return joined(bytes.subarray(0, start), bytes.subarray(end))
  },
  duplicate: (bytes, _, random) => {
    const [start, end] = range(bytes, random)
    return joined(bytes.subarray(0, end), bytes.subarray(start, end), bytes.subarray(end))
  },
  zero: (bytes, _, random) => {
    const [start, end] = range(bytes, random)
    return bytes.fill(random() < 0.5 ? 0 : 255, start, end)
  },
  integer: (bytes, _, random) => {
    const width = choose(random, [2, 4, 8])
    if (bytes.length < width) return bytes
    const aligned = random() < 0.8
    const at = aligned ? pick(random, Math.floor(bytes.length / width)) * width : pick(random, bytes.length - width + 1)
    bytes.set(littleEndian(choose(random, EXTREMES), width), at)
    return bytes
  },
  varint: (bytes, _, random) => {
    const at = pick(random, bytes.length)
    const number = varint(choose(random, EXTREMES) * (random() < 0.5 ? 2n : 1n))
    const replaced = random() < 0.5 ? 1 : random() < 0.5 ? number.length : 0
    return joined(bytes.subarray(0, at), number, bytes.subarray(at + replaced))
  },
}

/** One to three changes. `donors` are other valid files of the kind, which parts are taken from. */
export function mutateBytes(whole: Uint8Array, donors: readonly Uint8Array[], random: Random): Mutated {
  let bytes: Buffer = Buffer.from(whole)
  const kinds: string[] = []
  const count = random() < 0.7 ? 1 : 2 + pick(random, 2)
  for (let i = 0; i < count && bytes.length > 0; i++) {
    const kind = choose(random, Object.keys(CHANGES))
    bytes = Buffer.from(CHANGES[kind]?.(bytes, donors, random) ?? bytes)
    kinds.push(kind)
  }
  return { bytes, kind: kinds[0] ?? 'none' }
}

const VALUES: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  1,
  0.5,
  1e300,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  9_007_199_254_740_991,
  '',
  '..',
  '/etc/passwd',
  '../../../../tmp/x',
  'a\0b',
  '%2e%2e%2f',
  '\ud800',
  '0'.repeat(64),
  '7ZZZZZZZZZZZZZZZZZZZZZZZZZ',
  [],
  {},
  [null],
  [[]],
  { $bin: '!' },
  { $msgpack: 'wQ==' },
  nested(400),
]

function nested(depth: number): unknown {
  let value: unknown = 1
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { a: value }
  return value
}

type Holder = Record<string, unknown> | unknown[]

function isHolder(value: unknown): value is Holder {
  return typeof value === 'object' && value !== null
}

function holders(value: unknown, found: Holder[] = []): Holder[] {
  if (!isHolder(value)) return found
  found.push(value)
  for (const member of Object.values(value)) holders(member, found)
  return found
}

/** A copy of a JSON value with one to three members replaced, removed, doubled, swapped or taken from `donors`. */
export function mutateJson(
  root: unknown,
  donors: readonly unknown[],
  random: Random,
): { value: unknown; kind: string } {
  const value: unknown = structuredClone(root)
  let first = ''
  const count = random() < 0.8 ? 1 : 2 + pick(random, 2)
  for (let i = 0; i < count; i++) {
    const places = holders(value).filter((holder) => Object.keys(holder).length > 0)
    if (places.length === 0) break
    const kind = changeMember(choose(random, places), donors, random)
    if (first === '') first = kind
  }
  return { value, kind: first }
}

function changeMember(holder: Holder, donors: readonly unknown[], random: Random): string {
  const name = choose(random, Object.keys(holder))
  const other = choose(random, Object.keys(holder))
  const get = (key: string): unknown => (Array.isArray(holder) ? holder[Number(key)] : holder[key])
  const set = (key: string, value: unknown): void => {
    if (Array.isArray(holder)) holder[Number(key)] = value
    else holder[key] = value
  }
  const kind = choose(random, ['replace', 'replace', 'nudge', 'remove', 'double', 'swap', 'take'])
  if (kind === 'replace') set(name, structuredClone(choose(random, VALUES)))
  else if (kind === 'nudge') set(name, nudged(get(name), random))
  else if (kind === 'remove') {
    if (Array.isArray(holder)) holder.splice(Number(name), 1)
    else delete holder[name]
  } else if (kind === 'double' && Array.isArray(holder)) holder.push(structuredClone(get(name)))
  else if (kind === 'take')
    set(name, structuredClone(valuesOf(choose(random, holders(choose(random, donors))), random)))
  else {
    const kept = get(name)
    set(name, get(other))
    set(other, kept)
  }
  return kind
}

function valuesOf(holder: Holder, random: Random): unknown {
  const values = Object.values(holder)
  return values.length === 0 ? null : choose(random, values)
}

/** Nearly the same: a number one off or negative, a text with a character more, less or another. */
function nudged(value: unknown, random: Random): unknown {
  if (typeof value === 'number') return choose(random, [value + 1, value - 1, -value, value * 2 ** 20, value + 0.25])
  if (typeof value !== 'string') return [value]
  const at = pick(random, value.length + 1)
  const added = choose(random, ['', 'x', '/', '.', '%', '\0', '0', 'é'])
  return value.slice(0, at) + added + value.slice(at + pick(random, 2))
}
