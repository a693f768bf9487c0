import type { Image, Item, Kind } from '../../src/model/event.ts'

/** An image of a JSON object and of raw bytes in hexadecimal. */
export function image(value: object, raw: string | null = null): Image {
  const json = new Uint8Array(Buffer.from(JSON.stringify(value)))
  return { json, raw: raw === null ? null : new Uint8Array(Buffer.from(raw, 'hex')) }
}

/** An item. */
export function item(kind: Kind, resource: string, id = ''): Item {
  return { kind, resource, id }
}

/** A record of `users`. */
export function user(id: string): Item {
  return item('record', 'users', id)
}

/** Longer than a file name may be, once encoded. */
const LONG_NAME = 'long/'.repeat(42)

/**
 * MessagePack values, by what is special about them in a line of a snapshot: most can be written as JSON there, the
 * last ones cannot.
 */
export const RAW: { readonly [name: string]: string } = {
  // 0, 127, 128, 65536, 4294967295, -1, -33, -2147483648 as integers; 1.5, 2^32, -2^31 - 1, 1e300 as floats of 64 bits
  numbers:
    '9c007fcc80ce00010000ceffffffffffd0dfd280000000cb3ff8000000000000cb41f0000000000000cbc1e0000000200000cb7e37e43c8800759c',
  // {"z": binary 00 ff, "a": [nil, true, false, "é"], "m": {}}
  binary: '83a17ac40200ffa16194c0c3c2a2c3a9a16d80',
  // {"metadata": {"age": "41"}, "body": ""}
  stored: '82a86d6574616461746181a3616765a23431a4626f6479a0',
  // the same with "42"
  older: '82a86d6574616461746181a3616765a23432a4626f6479a0',
  // an integer of 64 bits
  wide: 'cf0000000100000000',
  // 1.5 as a float of 32 bits; 5 in two bytes; -0; NaN
  forms: '94ca3fc00000cc05cb8000000000000000cb7ff8000000000000',
  // {"b": 1, "1": 2, "0": 3}: objects of JavaScript order such names otherwise
  order: '83a16201a13102a13003',
  // {"$bin": "AA=="}, which is no binary
  dollar: '81a42462696ea441413d3d',
}

/** What the database holds before it is captured. */
export const INITIAL: readonly [Item, Image][] = [
  [item('schema', ''), image({ version: '1', resources: ['users', 'Users'] })],
  [item('schema', 'users'), image({ attributes: { name: 'string', age: 'number' } }, RAW.stored)],
  [item('object', 'users', 'sequence=id/value'), image({ value: 7 })],
  [item('record', '', ''), image({})],
  [item('record', 'Users', 'a'), image({ id: 'a', note: 'another resource, by the case of one letter' })],
  [item('record', LONG_NAME, 'x'), image({ id: 'x' })],
  [item('record', 'a/b é', '../%2F:"\n'), image({ text: '"},"_tidemark":{"json":3}}' })],
  [user('ann'), image({ id: 'ann', name: 'Ann', age: 41 }, RAW.stored)],
  [user('bob'), image({ id: 'bob', name: 'Bob', _tidemark: 'mine' })],
  [user('eve'), image({ id: 'eve', name: 'Eve' })],
  ...Object.entries(RAW).map(([name, raw]): [Item, Image] => [user(`raw ${name}`), image({ id: name }, raw)]),
  // In the order of UTF-8, which is not that of UTF-16.
  [user('\uff5e'), image({ id: 1 })],
  [user('😀'), image({ id: 2 })],
]
