import { crc32 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { streamSeed } from './journal-frame.ts'

/*
 * The start of a journal file. Little endian. The frames follow without gaps; behind the last one all bytes are zero.
 *
 *   0  4    "TMJ2": a journal file of format 2
 *   4  u32  CRC-32 (IEEE) of bytes 8 to 63
 *   8  u64  file number, gapless from 1 in the stream; the file is named after it, 8 digits and ".journal"
 *  16  u64  number of the first frame in the file
 *  24  26   stream id, ASCII
 *  50  14   0
 *
 * A file is made ahead, all zero. Its header is written together with the first frame, and both start in the first
 * 512 bytes: no disk tears them apart, so a whole frame behind a damaged header is damage and not a torn write.
 *
 * Once the first frame of the next file is durable, the end of the frames says so; where no such file is there, it was
 * taken away, and with it what was acknowledged:
 *
 *   0  4    "TMJE"
 *   4  u32  CRC-32 of the stream id and then of bytes 8 to 15
 *   8  u64  number of the file that holds the next frame
 */
/** Bytes of the end of a file that is followed by another. */
export const FILE_END_BYTES = 16

/** Bytes in front of the first frame. */
export const FILE_HEADER_BYTES = 64

const MAGIC = Buffer.from('TMJ2', 'latin1')
/** Of version 0.1, whose intents say less. */
const OLD_MAGIC = Buffer.from('TMJ1', 'latin1')
const END_MAGIC = Buffer.from('TMJE', 'latin1')
const NAME = /^(\d{8,})\.journal$/

/** The start of a journal file; see the table above. */
export interface JournalFileHeader {
  readonly file: number
  readonly firstFrame: number
  readonly stream: string
}

/** The bytes of a header. */
export function encodeFileHeader(header: JournalFileHeader): Uint8Array {
  const bytes = Buffer.alloc(FILE_HEADER_BYTES)
  MAGIC.copy(bytes)
  bytes.writeBigUInt64LE(BigInt(header.file), 8)
  bytes.writeBigUInt64LE(BigInt(header.firstFrame), 16)
  bytes.write(header.stream, 24, 26, 'latin1')
  bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4)
  return bytes
}

/** The header at the start of `bytes`, or null where none stands there. Errors: `JOURNAL_CORRUPT` for one of an older format. */
export function decodeFileHeader(bytes: Uint8Array): JournalFileHeader | null {
  if (bytes.length < FILE_HEADER_BYTES) return null
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, FILE_HEADER_BYTES)
  if (header.compare(OLD_MAGIC, 0, 4, 0, 4) === 0) throw tooOld()
  if (header.compare(MAGIC, 0, 4, 0, 4) !== 0 || header.readUInt32LE(4) !== crc32(header.subarray(8))) return null
  return {
    file: Number(header.readBigUInt64LE(8)),
    firstFrame: Number(header.readBigUInt64LE(16)),
    stream: header.toString('latin1', 24, 50),
  }
}

/** The end of a file whose frames go on in file `next`. */
export function encodeFileEnd(stream: string, next: number): Uint8Array {
  const bytes = Buffer.alloc(FILE_END_BYTES)
  END_MAGIC.copy(bytes)
  bytes.writeBigUInt64LE(BigInt(next), 8)
  bytes.writeUInt32LE(crc32(bytes.subarray(8), streamSeed(stream)), 4)
  return bytes
}

/** Number of the file in which the frames go on, or null where no end stands at `offset`. */
export function decodeFileEnd(bytes: Uint8Array, offset: number, stream: string): number | null {
  if (bytes.length < offset + FILE_END_BYTES) return null
  const end = Buffer.from(bytes.buffer, bytes.byteOffset + offset, FILE_END_BYTES)
  if (end.compare(END_MAGIC, 0, 4, 0, 4) !== 0) return null
  return end.readUInt32LE(4) === crc32(end.subarray(8), streamSeed(stream)) ? Number(end.readBigUInt64LE(8)) : null
}

/** Name of the journal file with this number. */
export function journalFileName(file: number): string {
  return `${String(file).padStart(8, '0')}.journal`
}

/** Number of the journal file with this name, or null where it is no journal file. */
export function parseJournalFileName(name: string): number | null {
  const match = NAME.exec(name)
  return match?.[1] === undefined ? null : Number(match[1])
}

function tooOld(): TidemarkError {
  return new TidemarkError(
    'JOURNAL_CORRUPT',
    'The journal was written by Tidemark 0.1, in a format that this version does not read. Nothing was changed.',
    {
      hint: 'Start the application once more with version 0.1 and let it disconnect: then everything is in the store. Or use an empty journal directory.',
    },
  )
}
