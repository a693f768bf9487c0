import { crc32 } from '../base/bytes.ts'
import {
  ENCRYPTED_MAGIC,
  FRAME_AT,
  FRAME_CRC_FROM,
  FRAME_HEADER_BYTES,
  FRAME_TAG_BYTES,
  PLAIN_MAGIC,
} from './journal-frame.ts'

/*
 * A frame of an encrypted journal differs from another frame in three things: it begins with "TMFE"; its body is
 * encrypted (AES-256-GCM) and 16 bytes longer, by the tag, and the header says so; its checksum is that of these bytes.
 * Nonce: the 6 random bytes of the header and the frame number (6 bytes, little endian). Authenticated besides: bytes 8
 * to 95 of the header, as they are written.
 */

/** Encrypts: the key is the caller's. Ciphertext and tag. */
export type SealBody = (nonce: Uint8Array, body: Uint8Array, header: Uint8Array) => Uint8Array
/** Undoes `SealBody`; null where anything differs. */
export type OpenBody = (nonce: Uint8Array, body: Uint8Array, header: Uint8Array) => Uint8Array | null

/** Whether the body of a frame, which `isWholeFrame`, is encrypted. */
function isEncryptedFrame(frame: Uint8Array): boolean {
  return Buffer.compare(frame.subarray(0, ENCRYPTED_MAGIC.length), ENCRYPTED_MAGIC) === 0
}

/** The encrypted form of a frame; `seed` is that of the stream. */
export function sealFrame(frame: Uint8Array, seed: number, seal: SealBody): Uint8Array {
  const out = Buffer.allocUnsafe(frame.length + FRAME_TAG_BYTES)
  out.set(frame.subarray(0, FRAME_HEADER_BYTES))
  ENCRYPTED_MAGIC.copy(out)
  out.writeUInt32LE(out.length - FRAME_HEADER_BYTES, FRAME_AT.body)
  const header = out.subarray(FRAME_CRC_FROM, FRAME_HEADER_BYTES)
  out.set(seal(nonceOf(out), frame.subarray(FRAME_HEADER_BYTES), header), FRAME_HEADER_BYTES)
  out.writeUInt32LE(crc32(out.subarray(FRAME_CRC_FROM), seed), FRAME_AT.crc)
  return out
}

/** The frame that `sealFrame` was given; one that is not encrypted as it is; null where it does not decrypt. */
export function openFrame(frame: Uint8Array, seed: number, open: OpenBody): Uint8Array | null {
  if (!isEncryptedFrame(frame)) return frame
  const header = frame.subarray(FRAME_CRC_FROM, FRAME_HEADER_BYTES)
  const body = open(nonceOf(frame), frame.subarray(FRAME_HEADER_BYTES), header)
  if (body === null) return null
  const out = Buffer.allocUnsafe(FRAME_HEADER_BYTES + body.length)
  out.set(frame.subarray(0, FRAME_HEADER_BYTES))
  out.set(body, FRAME_HEADER_BYTES)
  PLAIN_MAGIC.copy(out)
  out.writeUInt32LE(body.length, FRAME_AT.body)
  out.writeUInt32LE(crc32(out.subarray(FRAME_CRC_FROM), seed), FRAME_AT.crc)
  return out
}

function nonceOf(frame: Uint8Array): Uint8Array {
  const writer = frame.subarray(FRAME_AT.writer, FRAME_AT.writer + 6)
  return Buffer.concat([writer, frame.subarray(FRAME_AT.number, FRAME_AT.number + 6)])
}
