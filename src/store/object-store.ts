import type { SecretKey } from './encryption/store-key.ts'
import type { Keeping } from './keeping.ts'

/** An object in a listing. */
export interface ObjectInfo {
  readonly key: string
  readonly bytes: number
}

/** A half-open range of bytes, `[start, end)`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** What is put: the bytes, or a stream of chunks that nothing holds as a whole. */
export type Body = Uint8Array | AsyncIterable<Uint8Array>

/** How an object is put. */
export interface PutOptions {
  /** Refuse with `OBJECT_EXISTS` where the key exists: exactly one of several racing writers succeeds. Bytes only, no stream. */
  readonly ifAbsent?: boolean
}

/** What a listing starts with. */
export interface ListOptions {
  /** Only keys after this one, by UTF-8 bytes. */
  readonly startAfter?: string
}

/** What an encrypted store gives to those who keep something of its contents elsewhere. */
export interface StoreSecrets {
  /** The key for one purpose, the same for the whole life of the store. */
  derive(purpose: string): SecretKey
}

/**
 * Where bytes live. A key is one to 1,024 UTF-8 bytes of segments joined by `/`, none of them empty, `.` or `..`, no NUL;
 * any other key is refused with `KEY_INVALID`. Every implementation and every wrapper passes `test/contract`.
 */
export interface ObjectStore {
  /**
   * There where objects are encrypted. Keys are not: one that a caller makes must then say nothing of what is in the
   * object. A wrapper above an encrypted store passes it on.
   */
  readonly secrets?: StoreSecrets
  /**
   * Stores the whole object or nothing; when it resolves, the object is durable and every later read sees it.
   * Errors: `OBJECT_EXISTS`, `STORE_FULL`, `STORE_DENIED`, `STORE_UNAVAILABLE`.
   */
  put(key: string, body: Body, options?: PutOptions): Promise<void>
  /**
   * The object, or exactly the bytes of `range`. Errors: `OBJECT_NOT_FOUND`, and `OBJECT_CORRUPT` where the object
   * is shorter than the range says.
   */
  get(key: string, range?: ByteRange): Promise<Uint8Array>
  /** The object's size, or null where there is none. */
  head(key: string): Promise<ObjectInfo | null>
  /** Every object whose key starts with `prefix`, by the UTF-8 bytes of the keys; what was put before the call is seen. */
  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo>
  /**
   * Removes the objects; a key that does not exist is no error. Where the store does not let some go, such as under a lock, all
   * others are removed, and then `STORE_DENIED` is thrown with the keys that stay: see `deletionRefused`.
   */
  delete(keys: readonly string[]): Promise<void>
  /**
   * What stays of these objects when they are deleted, which no listing shows. A right that is missing is no error: it is told as
   * `unknown`. Absent: nobody can tell. A wrapper passes it on.
   */
  keeping?(keys: readonly string[]): Promise<Keeping>
}
