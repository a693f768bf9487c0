import { crc32, utf8 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { Change } from '../model/event.ts'
import { isUlid, type Ulid } from '../model/ulid.ts'
import { encodeEvent, mostEventBytes } from './event-codec.ts'
import { decodeIntents, encodedIntentBytes, encodeIntent, type Intent } from './intent-codec.ts'

/*
 * A frame of the journal: what one group commit made durable. Little endian.
 *
 *   0  4    "TMF2": a journal frame of format 2
 *   4  u32  CRC-32 (IEEE) of the stream id (26 ASCII bytes) and then of bytes 8 to the end of the frame; so a frame of
 *           another stream is never taken for one of this stream
 *   8  u64  frame number, gapless from 1 in the stream
 *  16  u32  bytes of the body
 *  20  u32  number of events
 *  24  u32  bytes of the events section
 *  28  u32  number of intents
 *  32  u32  bytes of the intents section
 *  36  u32  number of aborted intents
 *  40  u64  sequence of the first event in this frame, or, in a frame without events, of the next event to come;
 *           sequences between the frame before and this one are a hole: writes that were not recorded
 *  48  u64  sealed through: every event up to this sequence is in segments of the store
 *  56  u64  keep from: frames below this number are no longer needed; those from it on must all be there
 *  64  26   ULID: events up to this frame are not after it, later ones are; "0" x 26 in a stream without events
 *  90  6    random, the same in all frames that were written between one opening of the journal, or a write that failed,
 *           and the next
 *  96       body: the events (event-codec), one after the other;
 *           u64 for each event, the intent that it settles, 0 where there is none;
 *           the intents (intent-codec);
 *           u64 for each aborted intent, its id
 */
/** Bytes in front of the body. */
export const FRAME_HEADER_BYTES = 96
/** Random bytes that tell the frames of one opening of the journal from those of another. */
export const WRITER_BYTES = 6

/** How a frame begins. */
export const PLAIN_MAGIC: Buffer = Buffer.from('TMF2', 'latin1')
/** How a frame begins whose body is encrypted, see encrypted-frame. */
export const ENCRYPTED_MAGIC: Buffer = Buffer.from('TMFE', 'latin1')
/** What encryption adds to a body. */
export const FRAME_TAG_BYTES = 16
/** Where the bytes begin that the checksum covers. */
export const FRAME_CRC_FROM = 8
/** Where the fields of the header are. */
export const FRAME_AT = {
  crc: 4,
  number: 8,
  body: 16,
  events: 20,
  eventBytes: 24,
  intents: 28,
  intentBytes: 32,
  aborts: 36,
  firstSequence: 40,
  sealedThrough: 48,
  keepFrom: 56,
  lastUlid: 64,
  writer: 90,
} as const

/** Where the stream stands with a frame; see the table above. */
export interface FrameStanding {
  readonly number: number
  readonly firstSequence: number
  readonly sealedThrough: number
  readonly keepFrom: number
  readonly lastUlid: Ulid
  readonly writer: Uint8Array
}

/** A frame's contents. `events` and what the methods read are views into its bytes. */
export interface Frame extends FrameStanding {
  readonly eventCount: number
  /** Encoded events (event-codec), one after the other. */
  readonly events: Uint8Array
  /** For each event the intent that it settles, 0 for none. */
  settles(): number[]
  /** Errors: `JOURNAL_CORRUPT`. */
  intents(): Intent[]
  aborted(): number[]
}

/** The seed of the frame checksums of a stream. */
export function streamSeed(stream: string): number {
  return crc32(utf8(stream))
}

function readU64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32
}

function writeU64(bytes: Buffer, at: number, value: number): void {
  bytes.writeUInt32LE(value >>> 0, at)
  bytes.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4)
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/**
 * Gathers the entries of the next frame. Events are encoded where they will stand in the frame, so that `finish`
 * copies only the small sections. A builder is reused after `reset`.
 */
export class FrameBuilder {
  #main: Buffer = Buffer.allocUnsafe(64 * 1024)
  #mainEnd = FRAME_HEADER_BYTES
  #intents: Buffer = Buffer.allocUnsafe(16 * 1024)
  #intentsEnd = 0
  #intentIds: number[] = []
  #settles: number[] = []
  #aborted: number[] = []
  #firstUlid: Ulid | null = null
  #lastUlid: Ulid | null = null
  #startsAt: number | null = null

  /** Bytes of the frame so far. */
  get bytes(): number {
    return this.#mainEnd + this.#intentsEnd + (this.#settles.length + this.#aborted.length) * 8
  }

  get eventCount(): number {
    return this.#settles.length
  }

  /** Bytes of the events section so far. */
  get eventBytes(): number {
    return this.#mainEnd - FRAME_HEADER_BYTES
  }

  /** What `startAt` said; null: right behind the frame before. */
  get startsAt(): number | null {
    return this.#startsAt
  }

  /** ULIDs of the first event so far and of the last, or of `startAt`; null where there is none. */
  get ulids(): { readonly first: Ulid | null; readonly last: Ulid | null } {
    return { first: this.#firstUlid, last: this.#lastUlid }
  }

  get intentIds(): readonly number[] {
    return this.#intentIds
  }

  /** The intents that the events so far settle, and those that are aborted. */
  get outcomes(): readonly number[] {
    return [...this.#settles, ...this.#aborted]
  }

  /**
   * The first event of this frame, or the next one to come, has this sequence: those before it that are in no frame
   * are a hole, and what happened in it is after `ulid`. For a builder without events.
   */
  startAt(sequence: number, ulid: Ulid): void {
    this.#startsAt = sequence
    this.#lastUlid = ulid
  }

  /** `intent` is what the event settles, 0 for none. Sequences must follow one another. */
  addEvent(change: Change, ulid: Ulid, sequence: number, intent: number): void {
    this.#reserveMain(mostEventBytes(change))
    this.#mainEnd = encodeEvent(this.#main, this.#mainEnd, change, ulid, sequence)
    this.#settles.push(intent)
    this.#firstUlid ??= ulid
    this.#lastUlid = ulid
  }

  addIntent(intent: Intent): void {
    this.#intents = grown(this.#intents, this.#intentsEnd, encodedIntentBytes(intent))
    this.#intentsEnd = encodeIntent(this.#intents, this.#intentsEnd, intent)
    this.#intentIds.push(intent.intent)
  }

  addAbort(intent: number): void {
    this.#aborted.push(intent)
  }

  /** The frame's bytes; they belong to the builder and are valid until `reset`. */
  finish(standing: FrameStanding, seed: number): Uint8Array {
    const eventBytes = this.eventBytes
    const length = this.bytes
    this.#reserveMain(length - this.#mainEnd)
    const frame = this.#main
    let at = this.#mainEnd
    for (const intent of this.#settles) {
      writeU64(frame, at, intent)
      at += 8
    }
    at += this.#intents.copy(frame, at, 0, this.#intentsEnd)
    for (const intent of this.#aborted) {
      writeU64(frame, at, intent)
      at += 8
    }
    PLAIN_MAGIC.copy(frame)
    writeU64(frame, FRAME_AT.number, standing.number)
    frame.writeUInt32LE(length - FRAME_HEADER_BYTES, FRAME_AT.body)
    frame.writeUInt32LE(this.#settles.length, FRAME_AT.events)
    frame.writeUInt32LE(eventBytes, FRAME_AT.eventBytes)
    frame.writeUInt32LE(this.#intentIds.length, FRAME_AT.intents)
    frame.writeUInt32LE(this.#intentsEnd, FRAME_AT.intentBytes)
    frame.writeUInt32LE(this.#aborted.length, FRAME_AT.aborts)
    writeU64(frame, FRAME_AT.firstSequence, standing.firstSequence)
    writeU64(frame, FRAME_AT.sealedThrough, standing.sealedThrough)
    writeU64(frame, FRAME_AT.keepFrom, standing.keepFrom)
    frame.write(standing.lastUlid, FRAME_AT.lastUlid, 26, 'latin1')
    frame.set(standing.writer, FRAME_AT.writer)
    frame.writeUInt32LE(crc32(frame.subarray(FRAME_CRC_FROM, length), seed), FRAME_AT.crc)
    return frame.subarray(0, length)
  }

  /** Empties the builder; buffers that one large frame has blown up are let go of. */
  reset(): void {
    if (this.#main.length > 8 * 1024 * 1024) this.#main = Buffer.allocUnsafe(64 * 1024)
    if (this.#intents.length > 8 * 1024 * 1024) this.#intents = Buffer.allocUnsafe(16 * 1024)
    this.#mainEnd = FRAME_HEADER_BYTES
    this.#intentsEnd = 0
    this.#intentIds = []
    this.#settles = []
    this.#aborted = []
    this.#firstUlid = null
    this.#lastUlid = null
    this.#startsAt = null
  }

  #reserveMain(more: number): void {
    this.#main = grown(this.#main, this.#mainEnd, more)
  }
}

function grown(buffer: Buffer, used: number, more: number): Buffer {
  if (used + more <= buffer.length) return buffer
  const larger = Buffer.allocUnsafe(Math.max(used + more, buffer.length * 2))
  buffer.copy(larger, 0, 0, used)
  return larger
}

/**
 * Length of the frame that starts at `offset`, as its header says; null where no frame header stands there. The bytes
 * behind the header need not be there; nothing but the header's plausibility is checked.
 */
export function frameLengthAt(bytes: Uint8Array, offset: number): number | null {
  const header = asBuffer(bytes)
  if (header.length - offset < FRAME_HEADER_BYTES) return null
  const encrypted = header.compare(ENCRYPTED_MAGIC, 0, 4, offset, offset + 4) === 0
  if (!encrypted && header.compare(PLAIN_MAGIC, 0, 4, offset, offset + 4) !== 0) return null
  const body = header.readUInt32LE(offset + FRAME_AT.body)
  const listed = (header.readUInt32LE(offset + FRAME_AT.events) + header.readUInt32LE(offset + FRAME_AT.aborts)) * 8
  const sections =
    header.readUInt32LE(offset + FRAME_AT.eventBytes) + header.readUInt32LE(offset + FRAME_AT.intentBytes) + listed
  return body === sections + (encrypted ? FRAME_TAG_BYTES : 0) && body <= LIMITS.frameBytes
    ? FRAME_HEADER_BYTES + body
    : null
}

/** Whether `frame` is exactly one whole frame of the stream with this seed. */
export function isWholeFrame(frame: Uint8Array, seed: number): boolean {
  if (frameLengthAt(frame, 0) !== frame.length) return false
  return crc32(frame.subarray(FRAME_CRC_FROM), seed) === asBuffer(frame).readUInt32LE(FRAME_AT.crc)
}

/** Number of a frame that `isWholeFrame`. */
export function frameNumber(frame: Uint8Array): number {
  return readU64(asBuffer(frame), FRAME_AT.number)
}

/** The frames below this number are not needed once this frame, which `isWholeFrame`, is durable. */
export function frameKeepFrom(frame: Uint8Array): number {
  return readU64(asBuffer(frame), FRAME_AT.keepFrom)
}

/** Offset of the first whole frame of the stream at or after `from`, or null: what stands behind damage. */
export function findFrame(bytes: Uint8Array, from: number, seed: number): number | null {
  const buffer = asBuffer(bytes)
  const next = (start: number): number => {
    const found = [PLAIN_MAGIC, ENCRYPTED_MAGIC].map((magic) => buffer.indexOf(magic, start)).filter((at) => at >= 0)
    return found.length === 0 ? -1 : Math.min(...found)
  }
  for (let at = next(from); at >= 0; at = next(at + 1)) {
    const length = frameLengthAt(buffer, at)
    if (length !== null && at + length <= buffer.length && isWholeFrame(buffer.subarray(at, at + length), seed)) {
      return at
    }
  }
  return null
}

/**
 * Reads a frame that `isWholeFrame`. Errors: `JOURNAL_CORRUPT` where its contents contradict each other;
 * `ENCRYPTION_KEY_NEEDED` where it is encrypted.
 */
export function decodeFrame(bytes: Uint8Array): Frame {
  const frame = asBuffer(bytes)
  if (frame.compare(ENCRYPTED_MAGIC, 0, 4, 0, 4) === 0) throw encryptedFrame()
  if (frameLengthAt(frame, 0) !== frame.length) throw corruptFrame('its header does not fit its length')
  const eventCount = frame.readUInt32LE(FRAME_AT.events)
  const settlesAt = FRAME_HEADER_BYTES + frame.readUInt32LE(FRAME_AT.eventBytes)
  const intentsAt = settlesAt + eventCount * 8
  const abortsAt = intentsAt + frame.readUInt32LE(FRAME_AT.intentBytes)
  const lastUlid = frame.toString('latin1', FRAME_AT.lastUlid, FRAME_AT.lastUlid + 26)
  if (!isUlid(lastUlid)) throw corruptFrame('it ends in no ULID')
  for (const at of [FRAME_AT.number, FRAME_AT.firstSequence, FRAME_AT.sealedThrough, FRAME_AT.keepFrom])
    checkU64(frame, at)
  return {
    number: readU64(frame, FRAME_AT.number),
    firstSequence: readU64(frame, FRAME_AT.firstSequence),
    sealedThrough: readU64(frame, FRAME_AT.sealedThrough),
    keepFrom: readU64(frame, FRAME_AT.keepFrom),
    lastUlid,
    writer: frame.subarray(FRAME_AT.writer, FRAME_AT.writer + WRITER_BYTES),
    eventCount,
    events: frame.subarray(FRAME_HEADER_BYTES, settlesAt),
    settles: () => readU64List(frame, settlesAt, intentsAt),
    intents: () => decodeIntents(frame.subarray(intentsAt, abortsAt), frame.readUInt32LE(FRAME_AT.intents)),
    aborted: () => readU64List(frame, abortsAt, frame.length),
  }
}

function readU64List(frame: Buffer, from: number, to: number): number[] {
  const list: number[] = []
  for (let at = from; at < to; at += 8) list.push(checkU64(frame, at))
  return list
}

function checkU64(frame: Buffer, at: number): number {
  const value = readU64(frame, at)
  if (!Number.isSafeInteger(value)) throw corruptFrame('it holds a number out of range')
  return value
}

function encryptedFrame(): TidemarkError {
  return new TidemarkError(
    'ENCRYPTION_KEY_NEEDED',
    'The journal is encrypted, and the store that it was opened for is not: its events cannot be read.',
    { hint: 'Open it with the store that it belongs to, with a key of that store. Leave the journal as it is.' },
  )
}

/** The error for a frame that is damaged; `why` completes the sentence. */
export function corruptFrame(why: string, where = ''): TidemarkError {
  return new TidemarkError(
    'JOURNAL_CORRUPT',
    `A frame of the journal${where === '' ? '' : ` in ${where}`} cannot be trusted: ${why}. Events in it that are not in the store yet cannot be read.`,
    {
      hint:
        'Keep a copy of the directory of the stream; what is in the store is not affected. Where it cannot be put right: ' +
        '`tidemark stream end <stream> --reason <why> --name <who>` makes a gap of what it holds (the directory is named ' +
        'after the stream), and the next start goes on with a new one and a baseline.',
      details: where === '' ? {} : { file: where },
    },
  )
}
