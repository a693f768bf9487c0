import { isUlid, type Ulid } from '../model/ulid.ts'
import { sealJson, unsealJson } from './sealed-json.ts'
import { dateTime } from './shape.ts'

/** `tidemark.json`: what this store is. */
export interface StoreFile {
  readonly format: 2
  readonly id: Ulid
  /** Identity of the database whose history this is. */
  readonly database: string
  /** RFC 3339. */
  readonly createdAt: string
  /** Id of the key under which every file but this one and `key/` is encrypted; null where nothing is. */
  readonly storeKey: Ulid | null
  /** Whether the images of records are sealed with keys that are kept elsewhere. Absent in the file: false. */
  readonly recordKeys: boolean
}

/** The bytes of `tidemark.json`. */
export function encodeStoreFile(file: StoreFile): Uint8Array {
  const { storeKey, recordKeys, ...rest } = file
  const members = recordKeys ? { ...rest, recordKeys } : rest
  return sealJson(storeKey === null ? members : { ...members, encryption: { storeKey } })
}

/** Reads the bytes of `tidemark.json`; null where its checksum is wrong or it is not of this format. */
export function decodeStoreFile(bytes: Uint8Array): StoreFile | null {
  const { format, id, database, createdAt, encryption, recordKeys = false } = unsealJson(bytes) ?? {}
  if (format !== 2 || typeof id !== 'string' || !isUlid(id)) return null
  if (typeof database !== 'string' || typeof createdAt !== 'string' || !dateTime(createdAt)) return null
  if (typeof recordKeys !== 'boolean') return null
  const storeKey = encryption === undefined ? null : storeKeyOf(encryption)
  return storeKey === undefined ? null : { format, id, database, createdAt, storeKey, recordKeys }
}

/** The format that a file says it is of, where its checksum is right; null where it says none. */
export function storeFormat(bytes: Uint8Array): number | null {
  const { format } = unsealJson(bytes) ?? {}
  return typeof format === 'number' ? format : null
}

/** Undefined where it names no key: a store that is encrypted in a way that is not known here is not to be touched. */
function storeKeyOf(encryption: unknown): Ulid | undefined {
  const named = typeof encryption === 'object' && encryption !== null && 'storeKey' in encryption
  return named && typeof encryption.storeKey === 'string' && isUlid(encryption.storeKey)
    ? encryption.storeKey
    : undefined
}
