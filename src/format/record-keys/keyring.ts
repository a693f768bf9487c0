import { createSecretKey, hash, type KeyObject, randomBytes } from 'node:crypto'
import { utf8 } from '../../base/bytes.ts'
import type { Item } from '../../model/event.ts'
import { isUlid, type Ulid } from '../../model/ulid.ts'
import { sealJson, unsealJson } from '../sealed-json.ts'
import { KEY_BYTES, KeyTree, PATH_BYTES } from './key-tree.ts'

/** Which record: kind and all else of an item do not matter, only records have keys. */
export type KeyedRecord = Pick<Item, 'resource' | 'id'>

/** The keys of one life of a record: from its first image to its erasure. */
export interface RecordKey {
  /** How often the record was erased before. */
  readonly incarnation: number
  /** Of AES-256-GCM; ciphers take a third of the time with a key object. */
  readonly encryption: KeyObject
  /** Of the synthetic nonce. */
  readonly nonce: Uint8Array
}

/** Record keys that are kept: the events of one record often come one after the other. */
const MOST_KEPT = 4096
/** Nobody erases one record so often; a search that gets here has a broken tree. */
const MOST_INCARNATIONS = 1_000_000
const ENCRYPTION = 0x10
const NONCE = 0x11

/**
 * The keys of every record that was not erased, one generation of them. Nothing is stored for a record: its key is the
 * leaf of a tree, at a path that a secret makes of its name and of how often it was erased before. Immutable.
 */
export class Keyring {
  readonly store: Ulid
  readonly generation: number
  /** The generation that this one was made from; 0 for the first. */
  readonly base: number
  readonly #secret: Uint8Array
  readonly #tree: KeyTree
  readonly #kept = new Map<string, RecordKey>()
  #bytes: Uint8Array | null = null

  private constructor(store: Ulid, generation: number, base: number, secret: Uint8Array, tree: KeyTree) {
    this.store = store
    this.generation = generation
    this.base = base
    this.#secret = secret
    this.#tree = tree
  }

  /** The first generation of a new store. */
  static create(store: Ulid): Keyring {
    return new Keyring(store, 1, 0, randomBytes(KEY_BYTES), KeyTree.of(randomBytes(KEY_BYTES)))
  }

  /** Null where these are not the bytes of a keyring. */
  static decode(bytes: Uint8Array): Keyring | null {
    const { format, store, generation, base, secret, shape, keys } = unsealJson(bytes) ?? {}
    if (format !== 1 || typeof store !== 'string' || !isUlid(store)) return null
    if (!isCount(generation) || !isCount(base) || base >= generation) return null
    if (typeof secret !== 'string' || typeof shape !== 'string' || typeof keys !== 'string') return null
    const secretBytes = Buffer.from(secret, 'base64')
    const tree = KeyTree.parse({ shape, keys: Buffer.from(keys, 'base64') })
    if (tree === null || secretBytes.length !== KEY_BYTES) return null
    return new Keyring(store, generation, base, secretBytes, tree)
  }

  /** The bytes of its file; made once. */
  encode(): Uint8Array {
    this.#bytes ??= this.#encoded()
    return this.#bytes
  }

  #encoded(): Uint8Array {
    const { shape, keys } = this.#tree.stored
    const { store, generation, base } = this
    return sealJson({
      format: 1,
      store,
      generation,
      base,
      secret: base64(this.#secret),
      shape,
      keys: base64(keys),
    })
  }

  /** The keys of a record as it is written now: those of its first life that was not erased. */
  keyOf(name: KeyedRecord): RecordKey {
    for (let incarnation = 0; incarnation < MOST_INCARNATIONS; incarnation++) {
      const key = this.keyOfLife(name, incarnation)
      if (key !== null) return key
    }
    throw new RangeError('the key tree has no key for a record')
  }

  /** The keys of one life of a record, or null where it was erased. */
  keyOfLife(name: KeyedRecord, incarnation: number): RecordKey | null {
    const place = `${incarnation}:${name.resource.length}:${name.resource}${name.id}`
    const kept = this.#kept.get(place)
    if (kept !== undefined) return kept
    const leaf = this.#tree.leaf(this.#path(name, incarnation))
    if (leaf === null) return null
    const key = { incarnation, encryption: createSecretKey(labelled(leaf, ENCRYPTION)), nonce: labelled(leaf, NONCE) }
    if (this.#kept.size >= MOST_KEPT) this.#kept.clear()
    this.#kept.set(place, key)
    return key
  }

  /** The keyring without the keys of one life of a record, as `generation`. */
  without(name: KeyedRecord, incarnation: number, generation: number): Keyring {
    const tree = this.#tree.without(this.#path(name, incarnation))
    return new Keyring(this.store, generation, this.generation, this.#secret, tree)
  }

  /** Lengths stand before texts: no two names make the same bytes. The secret hides which names were erased. */
  #path({ resource, id }: KeyedRecord, incarnation: number): Uint8Array {
    const parts = [utf8(resource), utf8(id)]
    const head = Buffer.alloc(12)
    head.writeUInt32LE(incarnation, 0)
    parts.forEach((part, i) => {
      head.writeUInt32LE(part.length, 4 + 4 * i)
    })
    const digest = hash('sha256', Buffer.concat([head, ...parts]), 'buffer')
    return hash('sha256', Buffer.concat([this.#secret, digest]), 'buffer').subarray(0, PATH_BYTES)
  }
}

function labelled(leaf: Uint8Array, label: number): Uint8Array {
  return hash('sha256', Buffer.concat([leaf, Uint8Array.of(label)]), 'buffer')
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
