import { KINDS, type Kind } from '../model/event.ts'
import type { Gap } from '../model/gap.ts'
import type { Ulid } from '../model/ulid.ts'
import { parseDrillKey } from './keys.ts'
import { sealJson, unsealJson } from './sealed-json.ts'
import { dateTime, hash, isText, isUlidText, listOf, oneOf, orNull, shaped, wholeFrom } from './shape.ts'
import { gap } from './timeline-shape.ts'

/** An item that a drill restored otherwise than the events say. */
export interface DrillDifference {
  readonly kind: Kind
  readonly resource: string
  /** Absent in the store: a proof stays when a record is erased. */
  readonly id?: string
  readonly what: 'missing' | 'different' | 'not there' | 'twice there'
}

/** What a drill found of one resource; the schema and objects of the database are those of the resource without a name. */
export interface DrilledResource {
  readonly resource: string
  readonly items: number
  /** Of all its items, in whatever order: the XOR of the SHA-256 of each. Lower-case hex. */
  readonly hash: string
}

/** `drill/<ulid>.json`: that the state of a moment was restored, read back, and found to be what the events say, or not. */
export interface DrillProof {
  readonly format: 1
  readonly ulid: Ulid
  /** RFC 3339. */
  readonly startedAt: string
  readonly moment: Ulid
  /** Of the choice of the moment; null where it was given. */
  readonly seed: number | null
  readonly passed: boolean
  /** What was read for the restore, and the snapshot that the reckoning began with. */
  readonly plan: {
    readonly snapshot: Ulid
    readonly reckonedFrom: Ulid
    readonly segments: number
    readonly bytes: number
    readonly rows: number
  }
  readonly restoreMs: number
  readonly compareMs: number
  /** As the events say. */
  readonly resources: readonly DrilledResource[]
  /** The acknowledged gaps without whose events it was done. */
  readonly except: readonly Gap[]
  /** The first of them, and how many there are. */
  readonly differences: readonly DrillDifference[]
  readonly differing: number
  /** What stopped it. */
  readonly failure: { readonly code: string; readonly message: string } | null
}

/** The bytes of a proof, without the ids of records: whoever drills is told them, and nothing of them has to be erased. */
export function encodeProof(proof: DrillProof): Uint8Array {
  return sealJson({ ...proof, differences: proof.differences.map(({ id: _, ...difference }) => difference) })
}

/** Reads a proof; null where its checksum is wrong, or it is not what its key says. */
export function decodeProof(key: string, bytes: Uint8Array): DrillProof | null {
  const value = unsealJson(bytes)
  return value !== null && isProof(value) && value.ulid === parseDrillKey(key) ? value : null
}

const count = wholeFrom(0)

const proof = shaped({
  format: oneOf(1),
  ulid: isUlidText,
  startedAt: dateTime,
  moment: isUlidText,
  seed: orNull(count),
  passed: oneOf(true, false),
  plan: shaped({ snapshot: isUlidText, reckonedFrom: isUlidText, segments: count, bytes: count, rows: count }),
  restoreMs: count,
  compareMs: count,
  resources: listOf(shaped({ resource: isText, items: count, hash })),
  except: listOf(gap),
  differences: listOf(
    shaped({
      kind: oneOf(...KINDS),
      resource: isText,
      what: oneOf('missing', 'different', 'not there', 'twice there'),
    }),
  ),
  differing: count,
  failure: orNull(shaped({ code: isText, message: isText })),
})

function isProof(value: object): value is DrillProof {
  return proof(value)
}
