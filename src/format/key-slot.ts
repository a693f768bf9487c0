import { isUlid, type Ulid } from '../model/ulid.ts'
import { sealJson, unsealJson } from './sealed-json.ts'
import { dateTime } from './shape.ts'

/** How a secret becomes the key of a slot: `raw`, it is the key; `scrypt`, it is a passphrase. */
export type SlotKdf =
  | { readonly name: 'raw' }
  | { readonly name: 'scrypt'; readonly N: number; readonly r: number; readonly p: number; readonly salt: Uint8Array }

/** `key/<id>.json`: the store key, wrapped by one of the keys that open the store. In clear. */
export interface KeySlot {
  readonly id: Ulid
  /** Id of the store key that is in it; one of another store key was left by a process that lost a race. */
  readonly storeKey: Ulid
  /** RFC 3339. */
  readonly createdAt: string
  readonly kdf: SlotKdf
  /** Nonce (12 bytes), ciphertext (32), tag (16); authenticated with `slotContext`. */
  readonly wrapped: Uint8Array
}

const WRAPPED_BYTES = 60
const SALT_BYTES = [16, 64] as const
const LEAST_N = 2 ** 17
/** N x r x p: some seconds of work. */
const MOST_WORK = 2 ** 24
/** 128 x N x r bytes. */
const MOST_MEMORY = 2 ** 29

/** What a wrapped store key is authenticated with, as UTF-8: a slot serves one store and goes under one name. */
export function slotContext(storeId: Ulid, slot: Ulid, storeKey: Ulid): string {
  return `tidemark key slot 1\n${storeId}\n${slot}\n${storeKey}`
}

/** The bytes of a slot. */
export function encodeKeySlot({ id, storeKey, createdAt, kdf, wrapped }: KeySlot): Uint8Array {
  const salted = kdf.name === 'raw' ? kdf : { ...kdf, salt: base64(kdf.salt) }
  return sealJson({ format: 1, id, storeKey, createdAt, kdf: salted, wrapped: base64(wrapped) })
}

/**
 * Reads a slot; null where its checksum is wrong, it is not of this format, or working its key out would take more
 * than 512 MiB or some seconds: whoever can write to the store must not be able to stop a reader with it.
 */
export function decodeKeySlot(bytes: Uint8Array): KeySlot | null {
  const { format, id, storeKey, createdAt, kdf, wrapped } = unsealJson(bytes) ?? {}
  if (format !== 1 || typeof id !== 'string' || typeof storeKey !== 'string' || typeof createdAt !== 'string')
    return null
  const derivation = decodeKdf(kdf)
  if (!isUlid(id) || !isUlid(storeKey) || derivation === null || typeof wrapped !== 'string') return null
  const key = Buffer.from(wrapped, 'base64')
  if (key.length !== WRAPPED_BYTES || !dateTime(createdAt)) return null
  return { id, storeKey, createdAt, kdf: derivation, wrapped: key }
}

function decodeKdf(value: unknown): SlotKdf | null {
  const { name, N, r, p, salt } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  if (name === 'raw') return { name }
  if (name !== 'scrypt' || !isCount(N) || !isCount(r) || !isCount(p) || typeof salt !== 'string') return null
  const bytes = Buffer.from(salt, 'base64')
  if (bytes.length < SALT_BYTES[0] || bytes.length > SALT_BYTES[1]) return null
  if (N < LEAST_N || !Number.isInteger(Math.log2(N)) || N * r * p > MOST_WORK || 128 * N * r > MOST_MEMORY) return null
  return { name, N, r, p, salt: bytes }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 1
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
