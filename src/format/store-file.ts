import { isUlid, type Ulid } from '../model/ulid.ts'
import { sealJson, unsealJson } from './sealed-json.ts'

/** `tidemark.json`: what this store is. */
export interface StoreFile {
  readonly format: 1
  readonly id: Ulid
  /** Identity of the database whose history this is. */
  readonly database: string
  /** RFC 3339. */
  readonly createdAt: string
}

/** The bytes of `tidemark.json`. */
export function encodeStoreFile(file: StoreFile): Uint8Array {
  return sealJson(file)
}

/** Reads the bytes of `tidemark.json`; null where its checksum is wrong or it is not of this format. */
export function decodeStoreFile(bytes: Uint8Array): StoreFile | null {
  const { format, id, database, createdAt } = unsealJson(bytes) ?? {}
  if (format !== 1 || typeof id !== 'string' || !isUlid(id)) return null
  if (typeof database !== 'string' || typeof createdAt !== 'string') return null
  return { format, id, database, createdAt }
}
