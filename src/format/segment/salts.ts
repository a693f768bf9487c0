import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { expect } from './corrupt.ts'

/*
 * Every event has a salt of 16 bytes, without which its digest says nothing about what is in it. They are made from
 * one secret a segment, so that they cost no room:
 *
 *   key of block b   = SHA-256(secret, u64 b), little endian; block b holds the sequences 256 b to 256 b + 255
 *   salts of block b = the first 4,096 bytes of AES-256-CTR under that key from counter 0, 16 bytes a sequence
 *
 * When an event is erased, its salt must go and all others stay: then the segment holds the keys of the blocks that
 * nothing was erased from, and the other salts of the blocks that something was.
 */
const BLOCK = 256
/** Of the salt of an event. */
export const SALT_BYTES = 16
const SECRET_BYTES = 32
const ZEROS = Buffer.alloc(BLOCK * SALT_BYTES)
const HEX = /^(?:[0-9a-f]{2})+$/

/** Salts as the metadata of a segment has them: all hexadecimal. */
export interface StoredSalts {
  /** The secret of salts of which none is gone. */
  readonly secret?: string
  /** Number and key of a block. */
  readonly blocks?: readonly (readonly [number, string])[]
  /** Sequence and salt. */
  readonly events?: readonly (readonly [number, string])[]
}

/** What is left of salts some of which are gone. */
interface LeftSalts {
  readonly keys: ReadonlyMap<number, string>
  readonly events: ReadonlyMap<number, string>
}

/** The salts of the events of a segment, by sequence. */
export class Salts {
  readonly #stored: StoredSalts
  /** Null where there is a secret: a run can have a hundred thousand of these. */
  readonly #left: LeftSalts | null

  constructor(stored: StoredSalts) {
    this.#stored = stored
    const { secret, blocks, events } = stored
    this.#left = secret === undefined ? { keys: new Map(blocks), events: new Map(events) } : null
  }

  /** New salts for any sequences. */
  static fresh(): Salts {
    return new Salts({ secret: randomBytes(SECRET_BYTES).toString('hex') })
  }

  /** Errors: a decoding error where they are not of the right form. */
  static parse(value: unknown): Salts {
    expect(typeof value === 'object' && value !== null, 'its salts are no object')
    const { secret, blocks = [], events = [] } = value as Record<string, unknown>
    expect(secret === undefined || isHex(secret, SECRET_BYTES), 'its salts have no valid secret')
    expect(isList(blocks, SECRET_BYTES) && isList(events, SALT_BYTES), 'its salts are malformed')
    return new Salts(secret === undefined ? { blocks, events } : { secret, blocks, events })
  }

  /** As `parse` reads them. */
  get stored(): StoredSalts {
    return this.#stored
  }

  /** The salt of an event, or null where it is gone. */
  of(sequence: number): Uint8Array | null {
    const salt = Buffer.alloc(SALT_BYTES)
    return this.write(sequence, sequence, salt, 0).length === 0 ? salt : null
  }

  /** Writes the salts of `first` to `last` one behind the other at `at` of `target`; returns the sequences whose salts are gone. */
  write(first: number, last: number, target: Uint8Array, at: number): readonly number[] {
    const gone: number[] = []
    for (let from = first; from <= last; ) {
      const block = Math.floor(from / BLOCK)
      const through = Math.min(last, (block + 1) * BLOCK - 1)
      const key = this.#keyOf(block)
      const place = at + (from - first) * SALT_BYTES
      if (key === null) gone.push(...this.#writeLeft(from, through, target, place))
      else target.set(saltsOf(key, from - block * BLOCK, through - from + 1), place)
      from = through + 1
    }
    return gone
  }

  #writeLeft(first: number, last: number, target: Uint8Array, at: number): readonly number[] {
    const gone: number[] = []
    for (let sequence = first; sequence <= last; sequence++) {
      const salt = this.#left?.events.get(sequence)
      if (salt === undefined) gone.push(sequence)
      else target.set(Buffer.from(salt, 'hex'), at + (sequence - first) * SALT_BYTES)
    }
    return gone
  }

  /** The salts of `firstSequence` to `lastSequence` without those of `gone`, from which those cannot be made again. */
  without(gone: ReadonlySet<number>, firstSequence: number, lastSequence: number): Salts {
    const touched = new Set([...gone].map((sequence) => Math.floor(sequence / BLOCK)))
    const blocks: [number, string][] = []
    const events: [number, string][] = []
    for (let block = Math.floor(firstSequence / BLOCK); block <= Math.floor(lastSequence / BLOCK); block++) {
      const key = this.#keyOf(block)
      if (key !== null && !touched.has(block)) {
        blocks.push([block, key.toString('hex')])
        continue
      }
      const [from, through] = [Math.max(firstSequence, block * BLOCK), Math.min(lastSequence, (block + 1) * BLOCK - 1)]
      const salts = Buffer.alloc((through - from + 1) * SALT_BYTES)
      const before = new Set(this.write(from, through, salts, 0))
      for (let sequence = from; sequence <= through; sequence++) {
        if (gone.has(sequence) || before.has(sequence)) continue
        const at = (sequence - from) * SALT_BYTES
        events.push([sequence, salts.toString('hex', at, at + SALT_BYTES)])
      }
    }
    return new Salts({ blocks, events })
  }

  #keyOf(block: number): Buffer | null {
    const { secret } = this.#stored
    if (secret === undefined) {
      const key = this.#left?.keys.get(block)
      return key === undefined ? null : Buffer.from(key, 'hex')
    }
    const number = Buffer.alloc(8)
    number.writeBigUInt64LE(BigInt(block))
    return createHash('sha256').update(Buffer.from(secret, 'hex')).update(number).digest()
  }
}

/** So many salts of a block from its `from`-th on: each is one block of the cipher. */
function saltsOf(key: Buffer, from: number, count: number): Uint8Array {
  const counter = Buffer.alloc(16)
  counter[15] = from
  return createCipheriv('aes-256-ctr', key, counter).update(ZEROS.subarray(0, count * SALT_BYTES))
}

function isHex(value: unknown, bytes: number): value is string {
  return typeof value === 'string' && value.length === bytes * 2 && HEX.test(value)
}

function isList(value: unknown, bytes: number): value is (readonly [number, string])[] {
  return (
    Array.isArray(value) &&
    value.every(
      (entry: unknown) =>
        Array.isArray(entry) && entry.length === 2 && Number.isSafeInteger(entry[0]) && isHex(entry[1], bytes),
    )
  )
}
