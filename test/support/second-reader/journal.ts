import { crc32 } from 'node:zlib'
import { hex, must, u64 } from './bytes.ts'
import { decodeEvent, type Event, fieldsOf, type Image, type Item, KINDS } from './events.ts'

export interface Intent extends Item {
  intent: number
  isAssumed: boolean
  context: Event['context']
  before: Image | null
  /** Of what the write leaves, hexadecimal; empty where it deletes, null where that is not known. */
  meant: string | null
}

interface Frame {
  number: number
  sealedThrough: number
  keepFrom: number
  events: Event[]
  settles: number[]
  intents: Intent[]
  aborted: number[]
}

export interface Journal {
  frames: Frame[]
  /** Bytes behind the last whole frame that are no whole frame and not zero. */
  tornBytes: number
}

/** Gives a frame with its body in clear (9.3). */
export type FrameOpener = (frame: Buffer) => Buffer

/** A journal (5): its files by name, whose first ones may be gone. */
export function readJournal(
  stream: string,
  files: ReadonlyMap<string, Uint8Array>,
  open: FrameOpener = (frame) => frame,
): Journal {
  const names = [...files.keys()].filter((name) => /^\d{8}\.journal$/.test(name)).sort()
  const used = names.filter((name) => files.get(name)?.some((byte) => byte !== 0))
  const frames: Frame[] = []
  let [tornBytes, ended] = [0, false]
  for (const [i, name] of used.entries()) {
    const bytes = Buffer.from(files.get(name) ?? [])
    const first = headerOf(bytes, stream, Number(name.slice(0, 8)))
    while (frames.at(-1) !== undefined && Number(frames.at(-1)?.number) >= first) frames.pop()
    let at = 64
    for (let frame = frameAt(bytes, at, stream, open); frame !== null; frame = frameAt(bytes, at, stream, open)) {
      must(frames.length === 0 || frame.number === Number(frames.at(-1)?.number) + 1, 'a frame is missing')
      frames.push(frame)
      at += 96 + bytes.readUInt32LE(at + 16)
    }
    const isLast = i === used.length - 1
    if (ended) must(at > 64, `the first frame of ${name} was durable, and is damaged`)
    ended = bytes.toString('latin1', at, at + 4) === 'TMJE'
    if (ended) at = endAt(bytes, at, stream, Number(name.slice(0, 8)) + 1)
    must(!ended || !isLast, `the file behind ${name} is missing`)
    tornBytes = bytes.subarray(at).findLastIndex((byte) => byte !== 0) + 1
  }
  const keepFrom = frames.at(-1)?.keepFrom ?? 0
  must(frames.length > 0 && Number(frames[0]?.number) <= Math.max(1, keepFrom), 'a frame that is needed is missing')
  return { frames, tornBytes }
}

/** A journal that is in the store (1, 5): its frames by key. What is below the last one's `keep from` is left from a trim. */
export function readStoreJournal(stream: string, files: ReadonlyMap<string, Uint8Array>): Journal {
  const prefix = `journal/${stream}/`
  const last = Math.max(
    ...[...files.keys()].filter((key) => key.startsWith(prefix)).map((key) => numberIn(key, prefix)),
  )
  const frameOf = (number: number): Frame => {
    const bytes = Buffer.from(files.get(`${prefix}${String(number).padStart(16, '0')}.frame`) ?? [])
    const frame = frameAt(bytes, 0, stream, (one) => one)
    must(
      frame?.number === number && bytes.length === 96 + bytes.readUInt32LE(16),
      `frame ${number} is missing or damaged`,
    )
    return frame
  }
  const first = Math.max(1, frameOf(last).keepFrom)
  return { frames: Array.from({ length: last - first + 1 }, (_, i) => frameOf(first + i)), tornBytes: 0 }
}

function numberIn(key: string, prefix: string): number {
  return Number(/^(\d{16})\.frame$/.exec(key.slice(prefix.length))?.[1])
}

/** Intents that no event settles and that were not aborted. */
export function openIntents({ frames }: Journal): Intent[] {
  const closed = new Set(frames.flatMap(({ settles, aborted }) => [...settles, ...aborted]))
  const open = new Map(frames.flatMap(({ intents }) => intents).map((one) => [one.intent, one]))
  return [...open.values()].filter(({ intent }) => !closed.has(intent))
}

/** What an open intent comes to where one process writes and the database holds `now`: the context of its event, or null for none. */
export function settle({ before, meant, isAssumed, context }: Intent, now: Image | null): Event['context'] | null {
  const same = (a: Image | null, b: Image | null): boolean => printOf(a) === printOf(b)
  if (same(before, now)) return null
  if (meant === null || meant === printOf(now)) return context
  if (isAssumed) return null
  return [null, null, '{"tidemark":"observed after a concurrent write of another process"}']
}

function printOf(image: Image | null): string {
  return image === null ? '' : hex(image.raw ?? image.json)
}

function headerOf(bytes: Buffer, stream: string, number: number): number {
  must(bytes.toString('latin1', 0, 4) === 'TMJ2' && bytes.readUInt32LE(4) === crc32(bytes.subarray(8, 64)), 'header')
  must(bytes.readBigUInt64LE(8) === BigInt(number) && bytes.toString('latin1', 24, 50) === stream, 'another file')
  return Number(bytes.readBigUInt64LE(16))
}

/** Passes over the end of a file that another follows. */
function endAt(bytes: Buffer, at: number, stream: string, next: number): number {
  const sum = crc32(Buffer.concat([Buffer.from(stream), u64(next)]))
  must(bytes.readUInt32LE(at + 4) === sum, 'no end')
  must(bytes.readBigUInt64LE(at + 8) === BigInt(next), 'another file follows')
  return at + 16
}

/** The frame that begins there; null where none that is whole does. */
function frameAt(bytes: Buffer, at: number, stream: string, open: FrameOpener): Frame | null {
  if (at + 96 > bytes.length || !/^TMF[2E]$/.test(bytes.toString('latin1', at, at + 4))) return null
  const end = at + 96 + bytes.readUInt32LE(at + 16)
  if (end > bytes.length) return null
  const stored = bytes.subarray(at, end)
  if (stored.readUInt32LE(4) !== crc32(Buffer.concat([Buffer.from(stream), stored.subarray(8)]))) return null
  const frame = open(stored)
  const [eventCount, eventBytes] = [frame.readUInt32LE(20), frame.readUInt32LE(24)]
  const [intentCount, intentBytes, abortedCount] = [28, 32, 36].map((field) => frame.readUInt32LE(field))
  const numbers = (from: number, count: number): number[] =>
    Array.from({ length: count }, (_, i) => Number(frame.readBigUInt64LE(from + 8 * i)))
  const settlesAt = 96 + eventBytes
  const intentsAt = settlesAt + 8 * eventCount
  const abortedAt = intentsAt + Number(intentBytes)
  const events = partsOf(frame.subarray(96, settlesAt)).map((part) => decodeEvent(part, stream))
  const intents = partsOf(frame.subarray(intentsAt, abortedAt)).map(intentOf)
  must(events.length === eventCount && intents.length === intentCount, 'other counts')
  must(abortedAt + 8 * Number(abortedCount) === frame.length, 'a body of another length')
  const first = Number(frame.readBigUInt64LE(40))
  must(
    events.every(({ sequence }, i) => sequence === first + i),
    'other sequences',
  )
  return {
    number: Number(frame.readBigUInt64LE(8)),
    sealedThrough: Number(frame.readBigUInt64LE(48)),
    keepFrom: Number(frame.readBigUInt64LE(56)),
    events,
    settles: numbers(settlesAt, eventCount),
    intents,
    aborted: numbers(abortedAt, Number(abortedCount)),
  }
}

/** Parts that begin with the length of what follows. */
function partsOf(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 + bytes.readUInt32LE(at)
    parts.push(bytes.subarray(at, end))
    at = end
  }
  return parts
}

function intentOf(bytes: Buffer): Intent {
  const fields = fieldsOf(bytes, bytes.readUInt16LE(6), 16, 8)
  const [resource, id, actor, transaction, metadata, json] = fields.map((one) => one?.toString() ?? null)
  return {
    kind: KINDS[bytes.readUInt8(4)] ?? 'record',
    resource: resource ?? '',
    id: id ?? '',
    intent: Number(bytes.readBigUInt64LE(8)),
    isAssumed: (bytes.readUInt8(5) & 1) === 1,
    context: [actor ?? null, transaction ?? null, metadata ?? null],
    before: json == null ? null : { json, raw: fields[6] ?? null },
    meant: fields[7]?.toString('hex') ?? null,
  }
}
