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
const SALT_BYTES = 16
const SECRET_BYTES = 32
/** Blocks whose salts are kept once they are made: a megabyte for 65,536 events. */
const MADE_BLOCKS = 4096
const ZEROS = Buffer.alloc(16)
const ROOM = Buffer.alloc(BLOCK * SALT_BYTES)
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

/** The salts of the events of a segment, by sequence. */
export class Salts {
  readonly #stored: StoredSalts
  readonly #keys: ReadonlyMap<number, string>
  readonly #events: ReadonlyMap<number, string>
  /** The salts of blocks, by number: rows come by item, and so from any block. */
  readonly #made = new Map<number, Uint8Array>()

  constructor(stored: StoredSalts) {
    this.#stored = stored
    this.#keys = new Map(stored.blocks)
    this.#events = new Map(stored.events)
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

  /** The salt of an event, or null where it is gone: a view. */
  of(sequence: number): Uint8Array | null {
    const block = Math.floor(sequence / BLOCK)
    const salts = this.#made.get(block) ?? this.#make(block)
    if (salts === null) {
      const salt = this.#events.get(sequence)
      return salt === undefined ? null : Buffer.from(salt, 'hex')
    }
    const at = (sequence - block * BLOCK) * SALT_BYTES
    return salts.subarray(at, at + SALT_BYTES)
  }

  /** Writes the salt of an event at the beginning of `target`; false where it is gone. */
  put(sequence: number, target: Uint8Array): boolean {
    const block = Math.floor(sequence / BLOCK)
    const salts = this.#made.get(block) ?? this.#make(block)
    if (salts === null) {
      const salt = this.of(sequence)
      if (salt !== null) target.set(salt)
      return salt !== null
    }
    const at = (sequence - block * BLOCK) * SALT_BYTES
    for (let i = 0; i < SALT_BYTES; i++) target[i] = salts[at + i] ?? 0
    return true
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
      for (let sequence = block * BLOCK; sequence < (block + 1) * BLOCK; sequence++) {
        if (sequence < firstSequence || sequence > lastSequence || gone.has(sequence)) continue
        const salt = this.of(sequence)
        if (salt !== null) events.push([sequence, Buffer.from(salt).toString('hex')])
      }
    }
    return new Salts({ blocks, events })
  }

  #make(block: number): Uint8Array | null {
    const key = this.#keyOf(block)
    if (key === null) return null
    if (this.#made.size >= MADE_BLOCKS) this.#made.clear()
    const salts = createCipheriv('aes-256-ctr', key, ZEROS).update(ROOM)
    this.#made.set(block, salts)
    return salts
  }

  #keyOf(block: number): Buffer | null {
    const { secret } = this.#stored
    if (secret === undefined) {
      const key = this.#keys.get(block)
      return key === undefined ? null : Buffer.from(key, 'hex')
    }
    const number = Buffer.alloc(8)
    number.writeBigUInt64LE(BigInt(block))
    return createHash('sha256').update(Buffer.from(secret, 'hex')).update(number).digest()
  }
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
