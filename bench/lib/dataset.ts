import { encodeEvent } from '../../src/format/event-codec.ts'
import { type Change, changeBetween, type Image } from '../../src/model/event.ts'
import { type Ulid, UlidGenerator } from '../../src/model/ulid.ts'

/** What the benches run on; the same options give the same events, byte for byte. */
export interface DatasetOptions {
  readonly events: number
  /** Distinct records; which one an event is about follows a Zipf distribution with exponent 0.99. */
  readonly records?: number
  readonly chunk?: number
  readonly seed?: number
}

/** Consecutive events of one stream. */
export interface Chunk {
  readonly changes: readonly Change[]
  readonly ulids: readonly Ulid[]
  /** Sequence of the first change. */
  readonly firstSequence: number
  /** Bytes of the before- and after-images. */
  readonly imageBytes: number
}

const RESOURCES = ['users', 'orders', 'products', 'sessions', 'invoices']
const WRITERS = 20
const WORDS = (
  'time year people way day man thing woman life child world school state family student group country problem hand ' +
  'part place case week company system program question work government number night point home water room mother ' +
  'area money story fact month lot right study book eye job word business issue side kind head house service friend ' +
  'father power hour game line end member law car city community name president team minute idea kid body information ' +
  'back parent face others level office door health person art war history party result change morning reason research'
).split(' ')

/** Yields the chunks of the data set. An update's before is the after of the event before it on the same record. */
export function* dataset(options: DatasetOptions): Generator<Chunk> {
  const { events, records = 100_000, chunk = 50_000, seed = 42 } = options
  const random = generator(seed)
  const pick = zipf(records, 0.99, random)
  const names = permutation(records, random)
  const states = new Map<number, { version: number; image: Image; row: Row }>()
  let now = 1_790_000_000_000
  const entropy = Uint8Array.from({ length: 8 }, () => Math.floor(random() * 256))
  const ulids = new UlidGenerator(() => now, entropy)
  for (let first = 1; first <= events; first += chunk) {
    const changes: Change[] = []
    const stamps: Ulid[] = []
    let imageBytes = 0
    for (let i = first; i < first + chunk && i <= events; i++) {
      // Each of the writers completes one write about every 2 ms, so the stream advances by a fraction of that.
      now += (random() * 4) / WRITERS
      const number = names[pick()] ?? 0
      const resource = RESOURCES[number % RESOURCES.length] ?? ''
      const id = `${resource.slice(0, 3)}_${((number * 2_654_435_761) % 2 ** 32).toString(36).padStart(7, '0')}${number.toString(36).padStart(4, '0')}`
      const state = states.get(number)
      const dies = state !== undefined && random() < 0.02
      const row = dies ? null : state === undefined ? newRow(id, now, random) : nextRow(state.row, now, random)
      const after = row === null ? null : { json: Buffer.from(JSON.stringify(row)), raw: null }
      const context = {
        actor: random() < 0.9 ? `user-${Math.floor(random() * 200)}` : null,
        transaction: random() < 0.5 ? hex(random, 16) : null,
        metadata: null,
      }
      const change = changeBetween({ kind: 'record', resource, id }, state?.image ?? null, after, context)
      if (change === null) continue
      if (row === null || after === null) states.delete(number)
      else states.set(number, { version: (state?.version ?? 0) + 1, image: after, row })
      imageBytes += (change.before?.json.length ?? 0) + (change.after?.json.length ?? 0)
      changes.push(change)
      stamps.push(ulids.next())
    }
    yield { changes, ulids: stamps, firstSequence: first, imageBytes }
  }
}

const FRAME_BYTES = 1 << 20
const reused: Buffer[] = []

/**
 * The events of a chunk as the journal holds them, in buffers of a megabyte, as the sealer gets them. Like the
 * journal's, the buffers are used again: they are valid until the next call.
 */
export function encodeChunk(chunk: Chunk): Uint8Array[] {
  const frames: Uint8Array[] = []
  let frame = reused[0] ?? Buffer.allocUnsafeSlow(FRAME_BYTES)
  let at = 0
  chunk.changes.forEach((change, i) => {
    const length = upperBound(change)
    if (at + length > frame.length) {
      reused[frames.length] = frame
      if (at > 0) frames.push(frame.subarray(0, at))
      const next = reused[frames.length]
      const fits = next !== undefined && next.length >= length
      frame = fits ? next : Buffer.allocUnsafeSlow(Math.max(FRAME_BYTES, length))
      at = 0
    }
    at = encodeEvent(frame, at, change, chunk.ulids[i] ?? '', chunk.firstSequence + i)
  })
  reused[frames.length] = frame
  frames.push(frame.subarray(0, at))
  return frames
}

/** At least the bytes that the event needs: three for a UTF-16 unit. */
function upperBound({ resource, id, context, before, after }: Change): number {
  const { actor, transaction, metadata } = context
  const units =
    resource.length + id.length + [actor, transaction, metadata].reduce((n, text) => n + (text?.length ?? 0), 0)
  const images = [before?.json, before?.raw, after?.json, after?.raw].reduce((n, part) => n + (part?.length ?? 0), 0)
  return 100 + 3 * units + images
}

interface Row {
  readonly id: string
  readonly name: string
  readonly email: string
  readonly status: string
  readonly score: number
  readonly balance: number
  readonly city: string
  readonly tags: readonly string[]
  readonly note: string
  readonly createdAt: string
  readonly updatedAt: string
}

function newRow(id: string, now: number, random: () => number): Row {
  const [a, b] = [word(random), word(random)]
  const date = new Date(now).toISOString()
  return {
    id,
    name: `${a} ${b}`,
    email: `${a}.${b}${Math.floor(random() * 1000)}@example.com`,
    status: 'active',
    score: Math.floor(random() * 1000),
    balance: Math.round(random() * 1e6) / 100,
    city: word(random),
    tags: [word(random), word(random)],
    note: words(random, 9 + Math.floor(random() * 14)),
    createdAt: date,
    updatedAt: date,
  }
}

/** A write changes two or three attributes, as writes do. */
function nextRow(row: Row, now: number, random: () => number): Row {
  const next = { ...row, updatedAt: new Date(now).toISOString(), score: Math.floor(random() * 1000) }
  const which = random()
  if (which < 0.3) next.balance = Math.round(random() * 1e6) / 100
  else if (which < 0.5) next.status = ['active', 'paused', 'closed', 'pending'][Math.floor(random() * 4)] ?? ''
  else if (which < 0.6) next.tags = [word(random), word(random)]
  else if (which < 0.8) next.note = words(random, 9 + Math.floor(random() * 14))
  return next
}

function word(random: () => number): string {
  return WORDS[Math.floor(random() * WORDS.length)] ?? ''
}

function words(random: () => number, count: number): string {
  return Array.from({ length: count }, () => word(random)).join(' ')
}

function hex(random: () => number, length: number): string {
  let out = ''
  while (out.length < length)
    out += Math.floor(random() * 2 ** 32)
      .toString(16)
      .padStart(8, '0')
  return out.slice(0, length)
}

/** Mulberry32 (public domain): 32 bits of state, good enough for test data. */
function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Ranks from 0, the first the most frequent, by the inverse of the cumulative distribution. */
function zipf(count: number, exponent: number, random: () => number): () => number {
  const cumulative = new Float64Array(count)
  let sum = 0
  for (let i = 0; i < count; i++) cumulative[i] = sum += (i + 1) ** -exponent
  return () => {
    const wanted = random() * sum
    let low = 0
    let high = count - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if ((cumulative[middle] ?? 0) < wanted) low = middle + 1
      else high = middle
    }
    return low
  }
}

function permutation(count: number, random: () => number): Uint32Array {
  const out = Uint32Array.from({ length: count }, (_, i) => i)
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    const swap = out[i] ?? 0
    out[i] = out[j] ?? 0
    out[j] = swap
  }
  return out
}
