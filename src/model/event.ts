import { EMPTY, equalBytes, sha256Bytes, text, utf8 } from '../base/bytes.ts'
import type { Ulid } from './ulid.ts'

/**
 * What kind of thing an event is about: a record of a resource; the schema of a resource (or, with an empty resource
 * name, of the database itself); or another stored object that a restore needs, such as a sequence.
 */
export type Kind = 'schema' | 'object' | 'record'
/** Kinds in the order in which they stand in segments and in which a restore applies them. */
export const KINDS: readonly Kind[] = ['schema', 'object', 'record']

/** What a change did to its item. */
export type Operation = 'insert' | 'update' | 'delete'
/** Operations in the order of their numbers in the event codec. */
export const OPERATIONS: readonly Operation[] = ['insert', 'update', 'delete']

/** What an event is about. Names and ids are opaque: any string, never joined with a delimiter. */
export interface Item {
  readonly kind: Kind
  /** The resource (table, collection); empty for the database as a whole. */
  readonly resource: string
  /** The record id; empty for the schema of a resource. */
  readonly id: string
}

/**
 * A state of an item. `json` is one JSON object (UTF-8) for people and SQL. `raw` is one MessagePack value, the object
 * as the source stores it, where the JSON alone does not put it back byte for byte; null where it does. Two images with
 * the same `raw` are the same object: how it reads as JSON may depend on the schema it is read by.
 */
export interface Image {
  readonly json: Uint8Array
  readonly raw: Uint8Array | null
  /** About the bytes of both, of an image that decodes them only where somebody looks. */
  readonly bytes?: number
  /** What such an image was read from, where that is whole: where two of an item are equal, so are the images. */
  readonly line?: Uint8Array | null
}

/** An image that is known to be sound because of how it was made: by `makeImage`, or copied from one that was. */
export class SoundImage implements Image {
  readonly json: Uint8Array
  readonly raw: Uint8Array | null

  constructor(json: Uint8Array, raw: Uint8Array | null) {
    this.json = json
    this.raw = raw
  }
}

/** Who wrote, in which transaction, and what the application noted (JSON text). */
export interface Context {
  readonly actor: string | null
  readonly transaction: string | null
  readonly metadata: string | null
}

/** Bytes of both forms of an image, without decoding it; 0 of none. */
export function imageBytes(image: Image | null): number {
  return image === null ? 0 : (image.bytes ?? image.json.length + (image.raw?.length ?? 0))
}

/**
 * Whether two images are of the same object: by what the source needs to put it back, else by the JSON. How the same
 * object reads as JSON may change with the schema of its resource.
 */
export function sameImage(a: Image | null, b: Image | null): boolean {
  if (a === null || b === null) return a === b
  const [line, other] = [a.line ?? null, b.line ?? null]
  if (line !== null && other !== null && equalBytes(line, other)) return true
  const [raw, otherRaw] = [a.raw, b.raw]
  if (raw !== null && otherRaw !== null) return equalBytes(raw, otherRaw)
  return raw === otherRaw && equalBytes(a.json, b.json)
}

/**
 * What tells one state of an item from another in 32 bytes: SHA-256 of `raw`, or of the JSON where there is none; no bytes
 * where the item does not exist. States that are the same by `sameImage` have the same.
 */
export function fingerprint(image: Image | null): Uint8Array {
  return image === null ? EMPTY : sha256Bytes(image.raw ?? image.json)
}

/** Stands for a state before that nobody could read, where an event has to have one. */
export function unknownImage({ id }: Item): Image {
  return { json: utf8(JSON.stringify({ id, _unknown: true })), raw: null }
}

/** Characters of a reason, and bytes of the image that has it: a larger one need not be decoded to see that it is none. */
const MOST_REASON = 10_000
const MOST_UNREADABLE = 1024 * 1024

/**
 * The state of an item that is in the database and that nobody can read, because it is damaged there. It stands where a
 * state has to stand, and is never put back.
 */
export function unreadableImage({ id }: Item, reason: string): Image {
  return { json: utf8(JSON.stringify({ id, _unreadable: { reason: reason.slice(0, MOST_REASON) } })), raw: null }
}

/** Whether an image is one of `unreadableImage`. */
export function isUnreadable(image: Image): boolean {
  if (imageBytes(image) > MOST_UNREADABLE) return false
  // What it was read from is not decoded to see that.
  const { line } = image
  if (line !== undefined && line !== null && !isNamed(line)) return false
  const { json, raw } = image
  if (raw !== null || !isNamed(json)) return false
  const value: unknown = JSON.parse(text(json))
  return typeof value === 'object' && value !== null && '_unreadable' in value
}

const UNREADABLE = Buffer.from('"_unreadable":')

function isNamed({ buffer, byteOffset, byteLength }: Uint8Array): boolean {
  return Buffer.from(buffer, byteOffset, byteLength).includes(UNREADABLE)
}

/** Nothing is known of who wrote. */
export const NO_CONTEXT: Context = { actor: null, transaction: null, metadata: null }

interface ChangeBase extends Item {
  readonly context: Context
}
/** The item did not exist before. */
export interface InsertChange extends ChangeBase {
  readonly operation: 'insert'
  readonly before: null
  readonly after: Image
}
/** The item existed before and after. */
export interface UpdateChange extends ChangeBase {
  readonly operation: 'update'
  readonly before: Image
  readonly after: Image
}
/** The item does not exist any more. */
export interface DeleteChange extends ChangeBase {
  readonly operation: 'delete'
  readonly before: Image
  readonly after: null
}

/** What a source saw, before it is durable. An insert has no before, a delete has no after. */
export type Change = InsertChange | UpdateChange | DeleteChange

/** Where an event stands: nothing ever changes it. */
export interface Stamp {
  readonly ulid: Ulid
  readonly stream: string
  /** Gapless from 1 in its stream. A safe integer. */
  readonly sequence: number
}

/** A change that is durable. */
export type Event = Change & { readonly stamp: Stamp }

/** The change between two states of an item, or null where both say that it does not exist. */
export function changeBetween(item: Item, before: Image | null, after: Image | null, context: Context): Change | null {
  const { kind, resource, id } = item
  if (before === null) {
    return after === null ? null : { kind, resource, id, context, operation: 'insert', before, after }
  }
  return after === null
    ? { kind, resource, id, context, operation: 'delete', before, after }
    : { kind, resource, id, context, operation: 'update', before, after }
}
