import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, type KeyObject, randomBytes } from 'node:crypto'
import { concat, utf8 } from '../../base/bytes.ts'

/** Bytes of every key here: AES-256. */
const KEY_BYTES = 32
/** Bytes of a GCM nonce. */
const NONCE_BYTES = 12
/** Bytes of a GCM tag. */
export const TAG_BYTES = 16
/** A key that another key has wrapped: nonce, ciphertext, tag. */
export const WRAPPED_KEY_BYTES: number = NONCE_BYTES + KEY_BYTES + TAG_BYTES

const CIPHER = 'aes-256-gcm'

/** Key material that no log, JSON or error can show: its bytes stay inside Node's own key object. */
export class SecretKey {
  readonly #key: KeyObject

  /** Errors: `RangeError` where there are not exactly 32 bytes. */
  constructor(bytes: Uint8Array) {
    if (bytes.length !== KEY_BYTES) throw new RangeError(`a key has ${KEY_BYTES} bytes`)
    this.#key = createSecretKey(bytes)
  }

  static random(): SecretKey {
    return new SecretKey(randomBytes(KEY_BYTES))
  }

  /** Ciphertext and tag. A nonce must never be used twice with one key. */
  seal(nonce: Uint8Array, plain: Uint8Array, aad: Uint8Array): Uint8Array {
    const cipher = createCipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_BYTES })
    cipher.setAAD(aad)
    return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  }

  /** What `seal` was given, or null where anything differs: key, nonce, a bit of the bytes, or `aad`. */
  open(nonce: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Uint8Array | null {
    const end = sealed.length - TAG_BYTES
    if (end < 0) return null
    const decipher = createDecipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(aad)
    decipher.setAuthTag(sealed.subarray(end))
    const plain = decipher.update(sealed.subarray(0, end))
    try {
      return concat([plain, decipher.final()])
    } catch {
      return null // the tag does not fit: `final` throws for nothing else
    }
  }

  /** `key` encrypted under this one: nonce, ciphertext, tag. */
  wrap(key: SecretKey, aad: Uint8Array): Uint8Array {
    const nonce = randomBytes(NONCE_BYTES)
    return Buffer.concat([nonce, this.seal(nonce, key.#key.export(), aad)])
  }

  /** The key that `wrap` was given, or null where anything differs. */
  unwrap(wrapped: Uint8Array, aad: Uint8Array): SecretKey | null {
    if (wrapped.length !== WRAPPED_KEY_BYTES) return null
    const bytes = this.open(wrapped.subarray(0, NONCE_BYTES), wrapped.subarray(NONCE_BYTES), aad)
    return bytes === null ? null : new SecretKey(bytes)
  }

  /** A key for another purpose (HKDF-SHA-256, no salt): knowing it tells nothing about this one. */
  derive(purpose: string): SecretKey {
    return new SecretKey(new Uint8Array(hkdfSync('sha256', this.#key, new Uint8Array(0), utf8(purpose), KEY_BYTES)))
  }

  /** Whether both are the same key. */
  equals(other: SecretKey): boolean {
    return this.#key.equals(other.#key)
  }
}

/** The key under which a store wraps the key of each file. It is random, made with the store, and never changes. */
export interface StoreKey {
  /** ULID; in clear in `tidemark.json` and in front of every file. */
  readonly id: string
  readonly key: SecretKey
}
