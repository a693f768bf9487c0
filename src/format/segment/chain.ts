import { createHash, hash } from 'node:crypto'
import { EMPTY } from '../../base/bytes.ts'
import { type Change, type Event, type Image, imageBytes } from '../../model/event.ts'
import { isUlid, type Ulid } from '../../model/ulid.ts'
import { EVENT_HEADER_BYTES, encodedEventBytes, encodeEvent } from '../event-codec.ts'
import { ChainRows } from './chain-rows.ts'
import type { EventColumns } from './columns.ts'
import { expect } from './corrupt.ts'
import { SALT_BYTES, Salts } from './salts.ts'

/*
 * The hash chain of a stream goes over its events, in the order of their sequences, whatever files they are in:
 *
 *   digest of an event = SHA-256(salt, the event as encodeEvent writes it)
 *   a link             = SHA-256(the link before it, then of every event: u64 sequence, 26 bytes of ULID, digest)
 *
 * The link before the first is SHA-256(id of the stream). A sealed segment is one link; a file that holds more of the
 * stream lists the links at which its parts end. Who erases an event leaves its digest, but not its salt.
 */
const ULID_BYTES = 26
const HASH = /^[0-9a-f]{64}$/

/** An event whose content was erased: what is left of it for the chain. */
export interface ErasedEvent {
  readonly sequence: number
  readonly ulid: Ulid
  /** Lower-case hex. */
  readonly digest: string
}

/** What a segment knows of the chain of its stream. Hashes are lower-case hex. */
export interface SegmentChain {
  /** The link before the first event of the segment. */
  readonly previous: string
  /** Last sequence and hash of each link that ends in the segment, the last at its end. */
  readonly links: readonly (readonly [number, string])[]
  readonly salts: Salts
  /** By sequence. */
  readonly erased: readonly ErasedEvent[]
}

/** The link before the first event of a stream, lower-case hex. */
export function chainStart(stream: string): string {
  return hash('sha256', stream)
}

/** Bytes of images that are not copied to be hashed. */
export const LARGE_BYTES: number = 1024 * 1024
/** In the order in which they stand at the end of an encoded event, each with its length at the end of its header. */
const IMAGE_FIELDS = 4

/** SHA-256 of a salt with its event behind it, as Latin-1: a text of 32 units costs half of what a buffer does. */
export function digestBytes(salted: Uint8Array): string {
  return hash('sha256', salted, 'binary')
}

/** Digest of an event with its salt. */
export function digestEvent(salt: Uint8Array, event: Event): Uint8Array {
  const { before, after } = event
  if (imageBytes(before) + imageBytes(after) > LARGE_BYTES) return digestLarge(salt, event)
  const salted = Buffer.alloc(SALT_BYTES + encodedEventBytes(event))
  salted.set(salt)
  encodeEvent(salted, SALT_BYTES, event, event.stamp.ulid, event.stamp.sequence)
  return hash('sha256', salted, 'buffer')
}

/** The same, with the images where they are: what stands before them is encoded by itself. */
function digestLarge(salt: Uint8Array, event: Event): Uint8Array {
  const { before, after } = event
  const images = [before?.json, before?.raw, after?.json, after?.raw].map((part) => part ?? EMPTY)
  const change = { ...event, before: emptied(before), after: emptied(after) } as Change
  const start = Buffer.alloc(encodedEventBytes(change))
  encodeEvent(start, 0, change, event.stamp.ulid, event.stamp.sequence)
  let bytes = start.length - 4
  for (const [i, { length }] of images.entries()) {
    start.writeUInt32LE(length, EVENT_HEADER_BYTES - 4 * (IMAGE_FIELDS - i))
    bytes += length
  }
  start.writeUInt32LE(bytes, 0)
  const digest = createHash('sha256').update(salt).update(start)
  for (const part of images) digest.update(part)
  return digest.digest()
}

function emptied(image: Image | null): Image | null {
  return image === null ? null : { json: EMPTY, raw: image.raw === null ? null : EMPTY }
}

/** The chain of a segment as it is sealed: the gapless events of one stream, one link. */
export function chainOf(columns: EventColumns, previous: string, salts: Salts): SegmentChain {
  const [first, last] = [columns.sequence[0] ?? 0, columns.sequence[columns.count - 1] ?? 0]
  const rows = new ChainRows(salts, first, last)
  let salted = Buffer.alloc(64 * 1024)
  for (let event = 0; event < columns.count; event++) {
    const sequence = columns.sequence[event] ?? 0
    const [start, end] = [columns.encodedStart(event), columns.encodedEnd(event)]
    const length = SALT_BYTES + end - start
    if (length > salted.length) salted = Buffer.alloc(length * 2)
    if (!rows.putSalt(sequence, salted)) throw new RangeError(`event ${sequence} has no salt`)
    columns.bufferAt(event).copy(salted, SALT_BYTES, start, end)
    rows.set(sequence, columns.ulids, event * ULID_BYTES, digestBytes(salted.subarray(0, length)))
  }
  return { previous, links: [[last, rows.link(previous, first, last)]], salts, erased: [] }
}

/** The last link of a chain: that of the stream up to the end of the segment. */
export function chainValue({ previous, links }: SegmentChain): string {
  return links.at(-1)?.[1] ?? previous
}

/** A chain as it stands in JSON. */
export function chainJson({ previous, links, salts, erased }: SegmentChain): object {
  const gone = erased.map(({ sequence, ulid, digest }) => [sequence, ulid, digest])
  return { previous, links, salts: salts.stored, erased: gone }
}

/** Errors: a decoding error where the value is none that `chainJson` gives. */
export function parseChain(value: unknown): SegmentChain {
  expect(typeof value === 'object' && value !== null, 'its chain is no object')
  const { previous, links, salts, erased } = value as Record<string, unknown>
  expect(isHash(previous), 'its chain has no beginning')
  expect(Array.isArray(links) && links.length > 0 && links.every(isLink), 'its links are malformed')
  expect(Array.isArray(erased) && erased.every(isErased), 'its erased events are malformed')
  const gone = erased.map(([sequence, ulid, digest]): ErasedEvent => ({ sequence, ulid, digest }))
  return { previous, links, salts: Salts.parse(salts), erased: gone }
}

function isHash(value: unknown): value is string {
  return typeof value === 'string' && HASH.test(value)
}

function isLink(value: unknown): value is [number, string] {
  return Array.isArray(value) && value.length === 2 && Number.isSafeInteger(value[0]) && isHash(value[1])
}

function isErased(value: unknown): value is [number, string, string] {
  if (!Array.isArray(value) || value.length !== 3) return false
  const [sequence, ulid, digest]: unknown[] = value
  return Number.isSafeInteger(sequence) && typeof ulid === 'string' && isUlid(ulid) && isHash(digest)
}
