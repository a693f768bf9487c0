/*
 * Frames of zstd (RFC 8878, 3.1.1), without what is in them.
 */

const MAGIC = 0xfd2fb528
const BLOCK_HEADER_BYTES = 3
const CHECKSUM_BYTES = 4
const RAW = 0
const RLE = 1
const COMPRESSED = 2
/** Of the dictionary's id and of the content's length, by the two bits that say it; the least length is there with one segment only. */
const ID_BYTES = [0, 1, 2, 4]
const LENGTH_BYTES = [0, 2, 4, 8]
/** What a length of two bytes begins at. */
const SHORT_LENGTH_BASE = 256

/**
 * The length of the content of `bytes` as it says it, where that is one whole frame, whose blocks end where it does; null where
 * it is anything else.
 */
export function frameBytes(bytes: Uint8Array): number | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 6 || view.getUint32(0, true) !== MAGIC) return null
  const descriptor = view.getUint8(4)
  const isSingle = (descriptor & 32) !== 0
  const idBytes = ID_BYTES[descriptor & 3] ?? 0
  const lengthBytes = LENGTH_BYTES[descriptor >> 6] || (isSingle ? 1 : 0)
  const lengthAt = 5 + (isSingle ? 0 : 1) + idBytes
  const blocksAt = lengthAt + lengthBytes
  if (lengthBytes === 0 || blocksAt > bytes.length) return null
  const end = blocksEnd(view, blocksAt)
  if (end === null || end + ((descriptor & 4) === 0 ? 0 : CHECKSUM_BYTES) !== bytes.length) return null
  return contentLength(view, lengthAt, lengthBytes)
}

function contentLength(view: DataView, at: number, bytes: number): number {
  if (bytes === 1) return view.getUint8(at)
  if (bytes === 2) return view.getUint16(at, true) + SHORT_LENGTH_BASE
  if (bytes === 4) return view.getUint32(at, true)
  return Number(view.getBigUint64(at, true))
}

/** Behind the last block; null where there is none. */
function blocksEnd(view: DataView, start: number): number | null {
  let at = start
  while (at + BLOCK_HEADER_BYTES <= view.byteLength) {
    const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16)
    const [type, size] = [(header >> 1) & 3, header >> 3]
    if (type !== RAW && type !== RLE && type !== COMPRESSED) return null
    at += BLOCK_HEADER_BYTES + (type === RLE ? 1 : size)
    if ((header & 1) === 1) return at
  }
  return null
}
