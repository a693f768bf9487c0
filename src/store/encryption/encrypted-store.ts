import { concat, EMPTY, equalBytes } from '../../base/bytes.ts'
import { hasCode, TidemarkError } from '../../base/errors.ts'
import { type Keeping, keepingOf } from '../keeping.ts'
import { checkRange, objectNotFound, objectTooShort } from '../keys.ts'
import type {
  Body,
  ByteRange,
  ListOptions,
  ObjectInfo,
  ObjectStore,
  PutOptions,
  StoreSecrets,
} from '../object-store.ts'
import {
  CHUNK_BYTES,
  chunkSpan,
  HEADER_BYTES,
  type HeaderProblem,
  openChunks,
  openHeader,
  plainSize,
  SEALED_CHUNK_BYTES,
  sealStream,
  sealWhole,
} from './container.ts'
import type { SecretKey, StoreKey } from './store-key.ts'

/** Files whose data keys and sizes are kept, so that a second range costs one request. */
const MOST_KNOWN = 1024
/** Header and first chunk: what is read back after a put. */
const SAMPLE_BYTES = HEADER_BYTES + SEALED_CHUNK_BYTES

interface KnownFile {
  readonly dataKey: SecretKey
  /** Bytes of plaintext. */
  readonly bytes: number
}

/**
 * `store` with every object encrypted before it gets there, but those whose keys are `clear`, which pass through.
 * It belongs above the retry wrapper: a put is encrypted once, so that its repetition has the same bytes. Sizes and
 * ranges are those of the plaintext. What is not authentic is `OBJECT_CORRUPT` and named. After each put the
 * beginning is read back and opened with the store key, else the put fails with `ENCRYPTION_FAILED`.
 */
export class EncryptedStore implements ObjectStore {
  readonly secrets: StoreSecrets
  readonly #store: ObjectStore
  readonly #storeKey: StoreKey
  readonly #isClear: (key: string) => boolean
  readonly #known = new Map<string, Promise<KnownFile>>()

  constructor(store: ObjectStore, storeKey: StoreKey, isClear: (key: string) => boolean) {
    this.#store = store
    this.#storeKey = storeKey
    this.secrets = { derive: (purpose) => storeKey.key.derive(purpose) }
    this.#isClear = isClear
  }

  async put(key: string, body: Body, options?: PutOptions): Promise<void> {
    if (this.#isClear(key)) return this.#store.put(key, body, options)
    this.#known.delete(key)
    const sample = new Beginning()
    const sealed =
      body instanceof Uint8Array
        ? sample.of(sealWhole(this.#storeKey, key, body))
        : sample.along(sealStream(this.#storeKey, key, body))
    await this.#store.put(key, sealed, options)
    this.#known.delete(key)
    await this.#prove(key, sample)
  }

  async get(key: string, range?: ByteRange): Promise<Uint8Array> {
    if (this.#isClear(key)) return this.#store.get(key, range)
    if (range === undefined) return this.#openWhole(key, await this.#store.get(key))
    checkRange(range)
    const known = this.#known.get(key)
    if (known !== undefined) {
      const bytes = await known.then((found) => this.#openRange(key, range, found)).catch(ifCorrupt)
      if (bytes !== null) return bytes
      // Somebody may have put another object there since the key was noted; what is read anew decides.
      if (this.#known.get(key) === known) this.#known.delete(key)
    }
    const found = await this.#learn(key)
    if (range.end > found.bytes) throw objectTooShort(key, range, found.bytes)
    const bytes = await this.#openRange(key, range, found)
    if (bytes !== null) return bytes
    this.#known.delete(key)
    throw corrupt(key, 'damaged')
  }

  async head(key: string): Promise<ObjectInfo | null> {
    const info = await this.#store.head(key)
    return info === null ? null : this.#plainInfo(info)
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo, void, undefined> {
    for await (const info of this.#store.list(prefix, options)) yield this.#plainInfo(info)
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) this.#known.delete(key)
    await this.#store.delete(keys)
  }

  keeping(keys: readonly string[]): Promise<Keeping> {
    return keepingOf(this.#store, keys)
  }

  /** A file of a size that no encrypted file has is found out where it is read; in a listing it has no contents. */
  #plainInfo({ key, bytes }: ObjectInfo): ObjectInfo {
    return { key, bytes: this.#isClear(key) ? bytes : (plainSize(bytes) ?? 0) }
  }

  #openWhole(key: string, sealed: Uint8Array): Uint8Array {
    const dataKey = openHeader(this.#storeKey, key, sealed)
    if (typeof dataKey === 'string') throw corrupt(key, dataKey)
    const bytes = plainSize(sealed.length)
    if (bytes === null) throw corrupt(key, 'damaged')
    const plain = openChunks(dataKey, bytes, chunkSpan(bytes, 0, bytes), sealed.subarray(HEADER_BYTES))
    if (plain === null) throw corrupt(key, 'damaged')
    return plain
  }

  /** Null where the chunks do not fit what is known of the file. */
  async #openRange(key: string, { start, end }: ByteRange, { dataKey, bytes }: KnownFile): Promise<Uint8Array | null> {
    if (end > bytes) return null
    if (start === end) return EMPTY
    const span = chunkSpan(bytes, start, end)
    const plain = openChunks(dataKey, bytes, span, await this.#store.get(key, span))
    if (plain === null) return null
    const from = span.first * CHUNK_BYTES
    return plain.subarray(start - from, end - from)
  }

  /** Reads the header and the size of a file, once for all who ask at the same time. */
  #learn(key: string): Promise<KnownFile> {
    const learnt = this.#read(key)
    learnt.catch(() => this.#known.delete(key)) // the caller has the error; the next call tries again
    this.#known.set(key, learnt)
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MOST_KNOWN) break
      this.#known.delete(oldest)
    }
    return learnt
  }

  async #read(key: string): Promise<KnownFile> {
    const [info, header] = await Promise.all([
      this.#store.head(key),
      this.#store.get(key, { start: 0, end: HEADER_BYTES }),
    ])
    if (info === null) throw objectNotFound(key)
    const dataKey = openHeader(this.#storeKey, key, header)
    if (typeof dataKey === 'string') throw corrupt(key, dataKey)
    const bytes = plainSize(info.bytes)
    if (bytes === null) throw corrupt(key, 'damaged')
    return { dataKey, bytes }
  }

  /**
   * Reads the beginning back and opens it. Other bytes than those that were put are fine only where they are a whole
   * encrypted file of this key: another process has put one since.
   */
  async #prove(key: string, sample: Beginning): Promise<void> {
    const stored = await this.#store.get(key, { start: 0, end: sample.bytes.length }).catch(ifCorrupt)
    if (stored !== null && equalBytes(stored, sample.bytes) && this.#opens(key, stored, sample.size)) return
    try {
      this.#openWhole(key, await this.#store.get(key))
    } catch (error) {
      throw hasCode(error, 'OBJECT_CORRUPT', 'OBJECT_NOT_FOUND') ? notEncrypted(key, error) : error
    }
  }

  /** Whether these are the header and the first chunk of a file of `size` bytes. */
  #opens(key: string, stored: Uint8Array, size: number): boolean {
    const dataKey = openHeader(this.#storeKey, key, stored)
    const bytes = plainSize(size)
    if (typeof dataKey === 'string' || bytes === null) return false
    return openChunks(dataKey, bytes, chunkSpan(bytes, 0, CHUNK_BYTES), stored.subarray(HEADER_BYTES)) !== null
  }
}

/** The beginning of a file on its way to the store, and the size of the whole. */
class Beginning {
  size = 0
  #parts: Uint8Array[] = []

  get bytes(): Uint8Array {
    return concat(this.#parts)
  }

  of(sealed: Uint8Array): Uint8Array {
    const wanted = SAMPLE_BYTES - this.size
    if (wanted > 0) this.#parts.push(sealed.subarray(0, wanted))
    this.size += sealed.length
    return sealed
  }

  async *along(sealed: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const part of sealed) yield this.of(part)
  }
}

function ifCorrupt(error: unknown): null {
  if (hasCode(error, 'OBJECT_CORRUPT', 'OBJECT_NOT_FOUND')) return null
  throw error
}

function corrupt(key: string, problem: HeaderProblem): TidemarkError {
  const what = {
    'not encrypted': 'it is not encrypted, in a store where every file must be',
    'of another store key': 'it is encrypted for another store',
    damaged: 'its bytes are not those that were encrypted for this key',
  }[problem]
  return new TidemarkError('OBJECT_CORRUPT', `${key} is damaged: ${what}. Nothing of it was used.`, {
    hint: 'Run: tidemark verify. Put the file back from a copy; do not delete it.',
    details: { key },
  })
}

function notEncrypted(key: string, cause: unknown): TidemarkError {
  return new TidemarkError(
    'ENCRYPTION_FAILED',
    `${key} was read back after it had been put, and is not what was encrypted: the store may hold it in the clear.`,
    {
      hint: 'Look at that object, and at what stands between this program and the store; nothing relies on the object yet.',
      cause,
      details: { key },
    },
  )
}
