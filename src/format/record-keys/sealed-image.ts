import { createCipheriv, createDecipheriv, hash } from 'node:crypto'
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { concat, equalBytes, utf8 } from '../../base/bytes.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Image } from '../../model/event.ts'
import type { KeyedRecord, Keyring } from './keyring.ts'

/*
 * A sealed image is an image like any other to whoever has no key: its JSON is the same for all, its raw part is one
 * MessagePack binary (not base64 in the JSON, which would be a third longer):
 *
 *    0  u8   1
 *    1  u32  incarnation
 *    5  12   nonce: the first bytes of SHA-256(nonce key, SHA-256(body))
 *   17       AES-256-GCM of the body, without additional data: the key is of this record alone
 *   -16      its tag
 *
 * body: u8 0, or 1 where what follows is deflated (RFC 1951); u32 length of the JSON; the JSON; the raw part after a
 * u8 1, or u8 0 where there is none. The same image of the same life always gives the same bytes.
 */
const VERSION = 1
const HEADER_BYTES = 17
const TAG_BYTES = 16
const CIPHER = 'aes-256-gcm'
const SEALED_JSON: Uint8Array = utf8('{"tidemark":"sealed"}')
/** Below it a small window says as much, and small buffers hold it: both cost a fraction of the time to set up. */
const SMALL = 4096
const SMALL_DEFLATE = { windowBits: 12, memLevel: 3, chunkSize: SMALL }
const LARGEST = 2 * LIMITS.imageBytes + 6

/** What `openImage` says of an image that cannot be read: its keys are gone for good, or it is not as it was sealed. */
export type Closed = 'erased' | 'damaged'

/** The image as it is stored, under the keys that its record has now. */
export function sealImage(keyring: Keyring, name: KeyedRecord, image: Image): Image {
  const key = keyring.keyOf(name)
  const body = bodyOf(image)
  const nonce = hash('sha256', Buffer.concat([key.nonce, hash('sha256', body, 'buffer')]), 'buffer').subarray(0, 12)
  const cipher = createCipheriv(CIPHER, key.encryption, nonce, { authTagLength: TAG_BYTES })
  const head = Buffer.alloc(5)
  head[0] = VERSION
  head.writeUInt32LE(key.incarnation, 1)
  const sealed = Buffer.concat([head, nonce, cipher.update(body), cipher.final(), cipher.getAuthTag()])
  return { json: SEALED_JSON, raw: packBinary(sealed) }
}

/** The image as it was before `sealImage`. */
export function openImage(keyring: Keyring, name: KeyedRecord, { json, raw }: Image): Image | Closed {
  const sealed = raw === null ? null : unpackBinary(raw)
  if (sealed === null || !equalBytes(json, SEALED_JSON)) return 'damaged'
  if (sealed.length < HEADER_BYTES + TAG_BYTES || sealed[0] !== VERSION) return 'damaged'
  const key = keyring.keyOfLife(name, sealed.readUInt32LE(1))
  if (key === null) return 'erased'
  const end = sealed.length - TAG_BYTES
  const decipher = createDecipheriv(CIPHER, key.encryption, sealed.subarray(5, HEADER_BYTES), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAuthTag(sealed.subarray(end))
  const body = decipher.update(sealed.subarray(HEADER_BYTES, end))
  try {
    return imageOf(concat([body, decipher.final()])) ?? 'damaged'
  } catch {
    return 'damaged' // the tag does not fit, or what it covers does not inflate
  }
}

function bodyOf({ json, raw }: Image): Uint8Array {
  const plain = Buffer.alloc(1 + 4 + json.length + 1 + (raw?.length ?? 0))
  plain.writeUInt32LE(json.length, 1)
  plain.set(json, 5)
  plain[5 + json.length] = raw === null ? 0 : 1
  if (raw !== null) plain.set(raw, 6 + json.length)
  const content = plain.subarray(1)
  const deflated = deflateRawSync(content, content.length < SMALL ? SMALL_DEFLATE : {})
  return deflated.length < content.length ? Buffer.concat([Uint8Array.of(1), deflated]) : plain
}

function imageOf(body: Uint8Array): Image | null {
  const packed = body.subarray(1)
  const chunk = packed.length < SMALL ? { chunkSize: SMALL } : {}
  const content = Buffer.from(body[0] === 1 ? inflateRawSync(packed, { ...chunk, maxOutputLength: LARGEST }) : packed)
  if (content.length < 5) return null
  const end = 4 + content.readUInt32LE(0)
  if (end >= content.length) return null
  const json = content.subarray(4, end)
  if (content[end] === 1) return { json, raw: content.subarray(end + 1) }
  return content[end] === 0 && content.length === end + 1 ? { json, raw: null } : null
}

/** MessagePack's bin 8, 16 and 32: the shortest that fits. */
function packBinary(bytes: Uint8Array): Uint8Array {
  const size = bytes.length < 0x100 ? 1 : bytes.length < 0x10000 ? 2 : 4
  const packed = Buffer.alloc(1 + size + bytes.length)
  packed[0] = 0xc4 + (size === 4 ? 2 : size - 1)
  packed.writeUIntBE(bytes.length, 1, size)
  packed.set(bytes, 1 + size)
  return packed
}

function unpackBinary(packed: Uint8Array): Buffer | null {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength)
  const size = { 196: 1, 197: 2, 198: 4 }[bytes[0] ?? 0]
  if (size === undefined || bytes.length < 1 + size) return null
  return bytes.readUIntBE(1, size) === bytes.length - 1 - size ? bytes.subarray(1 + size) : null
}
