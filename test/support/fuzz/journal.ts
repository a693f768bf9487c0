import { crc32 } from '../../../src/base/bytes.ts'
import { recoverFiles } from '../../../src/capture/file-recovery.ts'
import type { FrameLog } from '../../../src/capture/frame-log.ts'
import { NOTHING_SEALED, recoverState } from '../../../src/capture/journal-recovery.ts'
import { EventCursor, encodedEventBytes, encodeEvent, FIELD } from '../../../src/format/event-codec.ts'
import { decodeIntents, encodedIntentBytes, encodeIntent, type Intent } from '../../../src/format/intent-codec.ts'
import { FILE_HEADER_BYTES, journalFileName } from '../../../src/format/journal-file.ts'
import {
  corruptFrame,
  decodeFrame,
  FrameBuilder,
  frameLengthAt,
  isWholeFrame,
} from '../../../src/format/journal-frame.ts'
import { type Change, changeBetween, type Image, KINDS, OPERATIONS } from '../../../src/model/event.ts'
import { isUlid } from '../../../src/model/ulid.ts'
import { SEED, STREAM } from '../journal-frames.ts'
import { SimulatedDisk } from '../simulated-disk.ts'
import { type Case, type Decoder, same } from './case.ts'
import { choose, mutateBytes, pick, type Random } from './mutate.ts'

const FRAME_HEADER = 96
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** The change that the cursor stands on. Throws where what was accepted is no change. */
function changeAt(cursor: EventCursor): Change {
  const text = (field: number): string | null => {
    const bytes = cursor.field(field)
    return bytes === null ? null : Buffer.from(bytes).toString('utf8')
  }
  const image = (json: number, raw: number): Image | null => {
    const bytes = cursor.field(json)
    return bytes === null ? null : { json: bytes, raw: cursor.field(raw) }
  }
  const [kind, resource, id] = [KINDS[cursor.kindIndex], text(FIELD.resource), text(FIELD.id)]
  if (kind === undefined || resource === null || id === null) throw new Error('an event without an item was accepted')
  const context = { actor: text(FIELD.actor), transaction: text(FIELD.transaction), metadata: text(FIELD.metadata) }
  const before = image(FIELD.beforeJson, FIELD.beforeRaw)
  const after = image(FIELD.afterJson, FIELD.afterRaw)
  // `changeBetween` says what the images mean, whatever operation stands there; equal images are an update too.
  const change = changeBetween({ kind, resource, id }, before, after, context)
  if (change === null || change.operation !== OPERATIONS[cursor.operationIndex])
    throw new Error(`an event was accepted as ${OPERATIONS[cursor.operationIndex]} with the wrong images`)
  return change
}

/** Writes events anew from what was read of them: what was accepted must be what the bytes say, and all of it. */
function encodedAgain(bytes: Uint8Array): Uint8Array {
  const cursor = new EventCursor(bytes)
  const parts: Buffer[] = []
  while (cursor.next()) {
    const change = changeAt(cursor)
    const ulid = Buffer.from(cursor.ulidBytes).toString('latin1')
    if (!isUlid(ulid) || !Number.isSafeInteger(cursor.sequence))
      throw new Error('an event without a stamp was accepted')
    const part = Buffer.alloc(encodedEventBytes(change))
    encodeEvent(part, 0, change, ulid, cursor.sequence)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

function readEvents(bytes: Uint8Array): void {
  const cursor = new EventCursor(bytes)
  while (cursor.next()) {
    cursor.checkTexts()
    for (const field of Object.values(FIELD)) cursor.field(field)
  }
}

/** Encoded events, without any checksum around them. */
export function eventDecoder(frames: readonly Uint8Array[]): Decoder {
  const samples = frames.map((frame) => decodeFrame(frame).events).filter(({ length }) => length > 0)
  return {
    name: 'event',
    make: (random) => {
      const { bytes, kind } = mutateBytes(choose(random, samples), samples, random)
      const decode: Case['decode'] = () => {
        readEvents(bytes)
        return () => same(hex(encodedAgain(bytes)), hex(bytes), 'events that were read and written again')
      }
      return { kind, input: bytes, decode }
    },
  }
}

function intentsAgain(intents: readonly Intent[]): Uint8Array {
  return Buffer.concat(
    intents.map((intent) => {
      const part = Buffer.alloc(encodedIntentBytes(intent))
      encodeIntent(part, 0, intent)
      return part
    }),
  )
}

export function intentDecoder(frames: readonly Uint8Array[]): Decoder {
  const samples = frames.map((frame) => intentsAgain(decodeFrame(frame).intents())).filter(({ length }) => length > 0)
  const counts = samples.map((sample) => countOf(sample))
  return {
    name: 'intent',
    make: (random) => {
      const which = pick(random, samples.length)
      const { bytes, kind } = mutateBytes(samples[which] ?? Buffer.alloc(0), samples, random)
      const count = random() < 0.7 ? (counts[which] ?? 0) : pick(random, 5)
      const decode: Case['decode'] = () => {
        const intents = decodeIntents(Buffer.from(bytes), count)
        return () => same(hex(intentsAgain(intents)), hex(bytes), 'intents that were read and written again')
      }
      return { kind, input: bytes, decode }
    },
  }
}

function countOf(section: Uint8Array): number {
  let count = 0
  for (let at = 0; at < section.length; count++) at += 4 + Buffer.from(section).readUInt32LE(at)
  return count
}

/** The frame written anew from what was read of it. */
function frameAgain(bytes: Uint8Array): Uint8Array {
  const frame = decodeFrame(bytes)
  const builder = new FrameBuilder()
  const settles = frame.settles()
  const cursor = new EventCursor(frame.events)
  for (let i = 0; cursor.next(); i++) {
    builder.addEvent(
      changeAt(cursor),
      Buffer.from(cursor.ulidBytes).toString('latin1'),
      cursor.sequence,
      settles[i] ?? 0,
    )
  }
  for (const intent of frame.intents()) builder.addIntent(intent)
  for (const intent of frame.aborted()) builder.addAbort(intent)
  return Uint8Array.from(builder.finish(frame, SEED))
}

/** Frames in memory that are taken for durable ones. */
function logOf(frames: readonly Uint8Array[]): FrameLog {
  const [first] = frames
  return {
    range: first === undefined ? null : { first: decodeFrame(first).number, last: 0 },
    missing: null,
    room: null,
    append: async () => {},
    read: async function* () {
      yield* frames
    },
    trim: async () => 1,
    apart: () => {},
    close: async () => {},
  }
}

/** Reads a frame as recovery does. */
async function readFrame(bytes: Uint8Array): Promise<void> {
  if (!isWholeFrame(bytes, SEED)) throw corruptFrame('it is no whole frame')
  await recoverState(logOf([bytes]), NOTHING_SEALED)
}

/** Makes the lengths in the header fit the frame, where they can, and the checksum fit its bytes. */
function repairedFrame(bytes: Uint8Array, random: Random): Uint8Array {
  const frame = Buffer.from(bytes)
  if (frame.length < FRAME_HEADER) return frame
  if (random() < 0.7) {
    frame.write('TMF2', 0, 'latin1')
    const body = frame.length - FRAME_HEADER
    frame.writeUInt32LE(body, 16)
    const rest = body - frame.readUInt32LE(32) - (frame.readUInt32LE(20) + frame.readUInt32LE(36)) * 8
    if (rest >= 0) frame.writeUInt32LE(rest, 24)
  }
  frame.writeUInt32LE(crc32(frame.subarray(8), SEED), 4)
  return frame
}

export function frameDecoder(samples: readonly Uint8Array[], foreign: readonly Uint8Array[]): Decoder {
  return {
    name: 'frame',
    make: (random) => {
      const original = choose(random, samples)
      const { bytes: raw, kind } = mutateBytes(original, [...samples, ...foreign], random)
      const isRepaired = random() < 0.7
      const bytes = isRepaired ? repairedFrame(raw, random) : raw
      const decode: Case['decode'] = async () => {
        await readFrame(bytes)
        return () => {
          const intact = samples.some((sample) => Buffer.compare(sample, bytes) === 0)
          if (!isRepaired && !intact) throw new Error('a damaged frame passed for whole')
          same(hex(frameAgain(bytes)), hex(bytes), 'a frame that was read and written again')
        }
      }
      return { kind: isRepaired ? `repaired ${kind}` : kind, input: bytes, decode }
    },
  }
}

const DIRECTORY = 'j'

/** The frames that a journal of these bytes gives. Throws what recovery throws. */
async function recovered(bytes: Uint8Array): Promise<Uint8Array[]> {
  const path = `${DIRECTORY}/${journalFileName(1)}`
  const disk = new SimulatedDisk({ seed: 1 }, new Map([[path, Buffer.from(bytes)]]))
  const files = await recoverFiles(disk, DIRECTORY, STREAM, SEED)
  const frames: Uint8Array[] = []
  const left = files.files.length === 0 ? Buffer.alloc(0) : await disk.read(path, 0, bytes.length)
  for (let at = FILE_HEADER_BYTES; at < (files.end ?? left.length); ) {
    const length = frameLengthAt(left, at)
    // It says that the frames go on in a file that is missing.
    if (length === null && files.end === null) break
    if (length === null) throw new Error('recovery counted bytes that are no frame')
    frames.push(left.subarray(at, at + length))
    at += length
  }
  const state = await recoverState(logOf(frames), NOTHING_SEALED)
  if (frames.length > 0 && state.lastFrame !== frames.length) throw new Error('recovery counted other frames')
  return frames
}

/**
 * A whole journal file. Without repair, only its end may be missing (a torn write looks so), and no frame that is
 * still whole may stand behind what was given up. With a repaired header: the same, or refused.
 */
export function journalFileDecoder(file: Uint8Array, frames: readonly Uint8Array[], foreign: Uint8Array): Decoder {
  const originals = frames.map(hex)
  return {
    name: 'journal-file',
    make: (random) => {
      const { bytes: raw, kind } = mutateBytes(file, [foreign, file], random)
      const isRepaired = random() < 0.3 && raw.length >= FILE_HEADER_BYTES
      const bytes = Buffer.from(raw)
      if (isRepaired) bytes.writeUInt32LE(crc32(bytes.subarray(8, FILE_HEADER_BYTES)), 4)
      const decode: Case['decode'] = async () => {
        const found = await recovered(bytes)
        return () => {
          for (const [i, frame] of found.entries()) same(hex(frame), originals[i] ?? 'none', `frame ${i + 1}`)
          const end = FILE_HEADER_BYTES + found.reduce((sum, { length }) => sum + length, 0)
          for (const [i, frame] of frames.entries()) {
            const given = i < found.length ? -1 : bytes.indexOf(frame, found.length === 0 ? 0 : end)
            if (given >= 0) throw new Error(`frame ${i + 1} is whole at byte ${given}, and was given up`)
          }
        }
      }
      return { kind: isRepaired ? `repaired ${kind}` : kind, input: bytes, decode }
    },
  }
}
