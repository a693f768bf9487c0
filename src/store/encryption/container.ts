import { concat, EMPTY, equalBytes, utf8 } from '../../base/bytes.ts'
import { SecretKey, type StoreKey, TAG_BYTES, WRAPPED_KEY_BYTES } from './store-key.ts'

/*
 * An encrypted file. All keys are AES-256-GCM.
 *
 *    0  4   "TME1": an encrypted file of format 1
 *    4  26  id of the store key (ULID, ASCII)
 *   30  6   0
 *   36  60  the file's data key, wrapped by the store key: nonce (12), ciphertext (32), tag (16); authenticated with
 *           bytes 0 to 35 and the UTF-8 bytes of the object's key, so that two files cannot change places
 *   96      chunks: 65,536 bytes of plaintext each and 16 of tag; the last one may be shorter, and is empty only where
 *           the file is. Nonce: the chunk's number from 0 (11 bytes, big endian) and 1 for the last chunk, 0 for others.
 *           This is the STREAM construction, as age has it: what is cut off, added or moved does not decrypt.
 */
const MAGIC = Buffer.from('TME1', 'latin1')
const PREFIX_BYTES = 36
const KEY_ID_AT = 4
const KEY_ID_BYTES = 26

/** Bytes in front of the first chunk. */
export const HEADER_BYTES: number = PREFIX_BYTES + WRAPPED_KEY_BYTES
/** Bytes of plaintext in every chunk but the last. */
export const CHUNK_BYTES = 65_536
/** Bytes of a full chunk as it is stored. */
export const SEALED_CHUNK_BYTES: number = CHUNK_BYTES + TAG_BYTES

/** Bytes of the file that holds `plain` bytes. */
export function sealedSize(plain: number): number {
  return HEADER_BYTES + plain + chunkCount(plain) * TAG_BYTES
}

/** Bytes of plaintext in a file of `sealed` bytes; null where no encrypted file has that size. */
export function plainSize(sealed: number): number | null {
  const body = sealed - HEADER_BYTES
  if (body < TAG_BYTES) return null
  const chunks = Math.ceil(body / SEALED_CHUNK_BYTES)
  const plain = body - chunks * TAG_BYTES
  return chunkCount(plain) === chunks ? plain : null
}

/** Chunks of a file with so much plaintext. */
function chunkCount(plain: number): number {
  return Math.max(1, Math.ceil(plain / CHUNK_BYTES))
}

/** The header of a new file and the key that its chunks are encrypted with. */
function sealHeader(storeKey: StoreKey, objectKey: string): { header: Uint8Array; dataKey: SecretKey } {
  const dataKey = SecretKey.random()
  const prefix = headerPrefix(storeKey.id)
  return { header: concat([prefix, storeKey.key.wrap(dataKey, headerAad(prefix, objectKey))]), dataKey }
}

/** Why a header does not open. */
export type HeaderProblem = 'not encrypted' | 'of another store key' | 'damaged'

/** The data key of a file, from its first `HEADER_BYTES` bytes; or why there is none. */
export function openHeader(storeKey: StoreKey, objectKey: string, bytes: Uint8Array): SecretKey | HeaderProblem {
  const prefix = headerPrefix(storeKey.id)
  if (!equalBytes(bytes.subarray(0, MAGIC.length), MAGIC) || bytes.length < HEADER_BYTES) return 'not encrypted'
  const isOurs = equalBytes(bytes.subarray(0, PREFIX_BYTES), prefix)
  const dataKey = storeKey.key.unwrap(bytes.subarray(PREFIX_BYTES, HEADER_BYTES), headerAad(prefix, objectKey))
  if (isOurs && dataKey !== null) return dataKey
  const id = Buffer.from(bytes.subarray(KEY_ID_AT, KEY_ID_AT + KEY_ID_BYTES)).toString('latin1')
  return id === storeKey.id ? 'damaged' : 'of another store key'
}

function headerPrefix(keyId: string): Uint8Array {
  const prefix = Buffer.alloc(PREFIX_BYTES)
  MAGIC.copy(prefix)
  prefix.write(keyId, KEY_ID_AT, KEY_ID_BYTES, 'latin1')
  return prefix
}

function headerAad(prefix: Uint8Array, objectKey: string): Uint8Array {
  return concat([prefix, utf8(objectKey)])
}

/** One chunk as it is stored. */
function sealChunk(dataKey: SecretKey, index: number, isLast: boolean, plain: Uint8Array): Uint8Array {
  return dataKey.seal(chunkNonce(index, isLast), plain, EMPTY)
}

/** The plaintext of a chunk, or null where it is not this chunk of this file, unchanged. */
function openChunk(dataKey: SecretKey, index: number, isLast: boolean, sealed: Uint8Array): Uint8Array | null {
  return dataKey.open(chunkNonce(index, isLast), sealed, EMPTY)
}

function chunkNonce(index: number, isLast: boolean): Uint8Array {
  const nonce = Buffer.alloc(12)
  nonce.writeUIntBE(index, 5, 6)
  nonce[11] = isLast ? 1 : 0
  return nonce
}

/** A whole file. */
export function sealWhole(storeKey: StoreKey, objectKey: string, plain: Uint8Array): Uint8Array {
  const { header, dataKey } = sealHeader(storeKey, objectKey)
  const out = Buffer.allocUnsafe(sealedSize(plain.length))
  out.set(header)
  const chunks = chunkCount(plain.length)
  for (let index = 0; index < chunks; index++) {
    const chunk = plain.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES)
    out.set(sealChunk(dataKey, index, index === chunks - 1, chunk), HEADER_BYTES + index * SEALED_CHUNK_BYTES)
  }
  return out
}

/** A file as a stream, in pieces of at most a chunk; one chunk is held back until it is known whether it is the last. */
export async function* sealStream(
  storeKey: StoreKey,
  objectKey: string,
  plain: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { header, dataKey } = sealHeader(storeKey, objectKey)
  yield header
  const held = Buffer.allocUnsafe(CHUNK_BYTES)
  let filled = 0
  let index = 0
  for await (const part of plain) {
    for (let at = 0; at < part.length; ) {
      if (filled === CHUNK_BYTES) {
        yield sealChunk(dataKey, index++, false, held)
        filled = 0
      }
      const taken = part.subarray(at, at + CHUNK_BYTES - filled)
      held.set(taken, filled)
      filled += taken.length
      at += taken.length
    }
  }
  yield sealChunk(dataKey, index, true, held.subarray(0, filled))
}

/** Where consecutive chunks of a file lie. */
export interface ChunkSpan {
  readonly first: number
  readonly chunks: number
  /** Bytes of the file. */
  readonly start: number
  readonly end: number
}

/** The chunks, at least one, that hold a range of the `plain` bytes of a file. */
export function chunkSpan(plain: number, start: number, end: number): ChunkSpan {
  const first = Math.floor(start / CHUNK_BYTES)
  const last = Math.max(first, Math.floor((end - 1) / CHUNK_BYTES))
  const at = (index: number): number => HEADER_BYTES + index * SEALED_CHUNK_BYTES
  return { first, chunks: last - first + 1, start: at(first), end: Math.min(at(last + 1), sealedSize(plain)) }
}

/** The plaintext of consecutive chunks of a file with `plain` bytes, or null where any of them is not authentic. */
export function openChunks(dataKey: SecretKey, plain: number, span: ChunkSpan, sealed: Uint8Array): Uint8Array | null {
  const out = Buffer.allocUnsafe(Math.max(0, sealed.length - span.chunks * TAG_BYTES))
  const lastIndex = chunkCount(plain) - 1
  for (let i = 0; i < span.chunks; i++) {
    const index = span.first + i
    const bytes = sealed.subarray(i * SEALED_CHUNK_BYTES, (i + 1) * SEALED_CHUNK_BYTES)
    const chunk = openChunk(dataKey, index, index === lastIndex, bytes)
    if (chunk === null) return null
    out.set(chunk, i * CHUNK_BYTES)
  }
  return out
}
