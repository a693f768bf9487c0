import { text } from '../../src/base/bytes.ts'
import type { Event, Image, Item, Kind } from '../../src/model/event.ts'
import type { KnownGap } from '../../src/model/gap.ts'
import type { ItemState } from '../../src/restore/target.ts'
import type { DigestRow } from './digests.ts'

/** Kind, resource, id, JSON text, raw bytes in base64 or null. */
export type StateRow = readonly [Kind, string, string, string, string | null]

/** A moment, what it is as a bound, and what there was; null where it cannot be reached. */
export interface ExpectedState {
  readonly label: string
  readonly moment: number | string | { readonly before: string }
  readonly bound: string
  readonly items: readonly StateRow[] | null
}

/** JSON text, and raw bytes in base64 or null. */
export type ImageText = readonly [string, string | null]

/** What a write changed; `context` is actor, transaction, metadata. */
export interface ToldChange {
  readonly before: ImageText | null
  readonly after: ImageText | null
  readonly context: readonly [string | null, string | null, string | null]
}

/** An event as `expected.json` has it. */
export interface ExpectedEvent extends ToldChange {
  readonly ulid: string
  readonly stream: string
  readonly sequence: number
  readonly operation: string
}

/** An item with its events; without stamps where an alarm keeps the history from being told as a whole. */
export interface ExpectedHistory extends Item {
  readonly events: readonly (ExpectedEvent | ToldChange)[]
}

/** What must be read from a store. */
export interface ExpectedStore {
  readonly head: string
  /** The last moment, as a bound. */
  readonly latest: string
  /** Number, and the bound of what was restored. */
  readonly epochs: readonly (readonly [number, string | null])[]
  /** ULID and records. */
  readonly snapshots: readonly (readonly [string, number])[]
  readonly streams: readonly { readonly id: string; readonly lastSequence: number; readonly chain: string }[]
  readonly gaps: readonly KnownGap[]
  readonly states: readonly ExpectedState[]
  readonly histories: readonly ExpectedHistory[]
  /** Resource, items, hash. */
  readonly drill: { readonly moment: string; readonly hashes: readonly (readonly [string, number, string])[] }
  /** Of every event in the segments. */
  readonly digests: readonly DigestRow[]
}

/** What must be read from the journal of a process that was killed. */
export interface ExpectedJournal {
  /** What the database held then. */
  readonly held: readonly StateRow[]
  readonly gaps: readonly KnownGap[]
  /** In the journal or in the store, with the id of their records. */
  readonly events: readonly (ExpectedEvent & { readonly id: string })[]
  /** Made from intents at the next start. */
  readonly settled: readonly (ToldChange & { readonly id: string; readonly operation: string })[]
}

/** An item with its state. */
export function rowOf({ kind, resource, id, image }: ItemState): StateRow {
  return [kind, resource, id, ...imageOf(image)]
}

/** An event with its stamp. */
export function eventOf({ stamp, operation, before, after, context }: Event): ExpectedEvent {
  const { actor, transaction, metadata } = context
  const images = { before: before && imageOf(before), after: after && imageOf(after) }
  return { ...stamp, operation, ...images, context: [actor, transaction, metadata] }
}

/** An image. */
export function imageOf({ json, raw }: Image): ImageText {
  return [text(json), raw === null ? null : Buffer.from(raw).toString('base64')]
}

/** JSON with a line for each part that fits one: to be read, and compared line by line. */
export function lay(value: unknown, indent = ''): string {
  const whole = JSON.stringify(value)
  if (typeof value !== 'object' || value === null || whole.length + indent.length <= 110) return whole
  const inner = `${indent} `
  const parts = Array.isArray(value)
    ? value.map((one) => lay(one, inner))
    : Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${lay(one, inner)}`)
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}']
  return `${open}\n${parts.map((part) => inner + part).join(',\n')}\n${indent}${close}`
}
