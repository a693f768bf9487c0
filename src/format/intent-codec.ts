import { text } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { type Context, type Image, type Item, KINDS } from '../model/event.ts'

/*
 * One intent as bytes, in the intents section of a journal frame. Little endian.
 *
 *   0  u32  length of everything after this field
 *   4  u8   kind (index in KINDS)
 *   5  u8   bit 0: the state before was assumed and not read; bit 1: carried over from an earlier frame
 *   6  u16  bit i set: variable field i is present (absent and empty are different)
 *   8  u64  intent id
 *  16  u32  x 8, length of each variable field, 0 where absent
 *  48       the variable fields: resource, id, actor, transaction, metadata (UTF-8), before JSON, before raw, meant.
 *           Without a before JSON the item did not exist before the write. `meant` is the fingerprint of what the write
 *           leaves: 32 bytes, or none where it deletes; absent where that is not known.
 */
const HEADER_BYTES = 48
const LENGTHS_AT = 16
const FIELD_COUNT = 8
/** Of `fingerprint` in an intent; none at all of an item that is meant to go. */
export const FINGERPRINT_BYTES = 32
const ASSUMED = 1
const CARRIED = 2
const REQUIRED_FIELDS = 0b11

/** What is about to be written: the item, its state before (null where it does not exist), and who writes. */
export interface Intent {
  /** Unique among the intents that the journal of the stream still holds. A safe integer above 0. */
  readonly intent: number
  readonly item: Item
  readonly before: Image | null
  /** Whether `before` is what has to be so for the write to succeed, and was not read. */
  readonly isAssumed: boolean
  /** `fingerprint` of what the write leaves; null where that is not known. */
  readonly meant: Uint8Array | null
  readonly context: Context
  /** Whether it was in an earlier frame already, that was let go of: what its journal had stamped before it is not known. */
  readonly isCarried?: boolean
}

type Fields = readonly [
  string,
  string,
  string | null,
  string | null,
  string | null,
  Uint8Array | null,
  Uint8Array | null,
  Uint8Array | null,
]

function fieldsOf({ item, context, before, meant }: Omit<Intent, 'intent'>): Fields {
  const { actor, transaction, metadata } = context
  return [item.resource, item.id, actor, transaction, metadata, before?.json ?? null, before?.raw ?? null, meant]
}

function fieldBytes(field: string | Uint8Array | null): number {
  if (field === null) return 0
  return typeof field === 'string' ? Buffer.byteLength(field) : field.length
}

/** Bytes that `encodeIntent` will write. */
export function encodedIntentBytes(intent: Omit<Intent, 'intent'>): number {
  return fieldsOf(intent).reduce((sum, field) => sum + fieldBytes(field), HEADER_BYTES)
}

/** Writes an intent at `offset`, where `encodedIntentBytes` must fit, and returns the offset behind it. */
export function encodeIntent(target: Buffer, offset: number, intent: Intent): number {
  let at = offset + HEADER_BYTES
  let present = 0
  fieldsOf(intent).forEach((field, index) => {
    let length = 0
    if (field !== null) {
      present |= 1 << index
      if (typeof field === 'string') length = target.write(field, at, 'utf8')
      else {
        target.set(field, at)
        length = field.length
      }
    }
    target.writeUInt32LE(length, offset + LENGTHS_AT + index * 4)
    at += length
  })
  target.writeUInt32LE(at - offset - 4, offset)
  target[offset + 4] = KINDS.indexOf(intent.item.kind)
  target[offset + 5] = (intent.isAssumed ? ASSUMED : 0) | (intent.isCarried === true ? CARRIED : 0)
  target.writeUInt16LE(present, offset + 6)
  target.writeBigUInt64LE(BigInt(intent.intent), offset + 8)
  return at
}

/** Every intent of an intents section; images are copied. Errors: `JOURNAL_CORRUPT` where a length does not fit. */
export function decodeIntents(section: Buffer, count: number): Intent[] {
  const intents: Intent[] = []
  let offset = 0
  while (offset < section.length) {
    if (section.length - offset < HEADER_BYTES) throw corruptIntent(offset)
    const end = offset + 4 + section.readUInt32LE(offset)
    if (end > section.length || end < offset + HEADER_BYTES) throw corruptIntent(offset)
    intents.push(decodeIntent(section, offset, end))
    offset = end
  }
  if (intents.length !== count) throw corruptIntent(offset)
  return intents
}

function decodeIntent(section: Buffer, offset: number, end: number): Intent {
  const present = section.readUInt16LE(offset + 6)
  const kind = KINDS[section.readUInt8(offset + 4)]
  const intent = Number(section.readBigUInt64LE(offset + 8))
  if (kind === undefined || !Number.isSafeInteger(intent) || intent < 1) throw corruptIntent(offset)
  const flags = section.readUInt8(offset + 5)
  if (flags > (ASSUMED | CARRIED)) throw corruptIntent(offset)
  if ((present & REQUIRED_FIELDS) !== REQUIRED_FIELDS || present >= 1 << FIELD_COUNT) throw corruptIntent(offset)
  let at = offset + HEADER_BYTES
  const fields: (Buffer | null)[] = []
  for (let index = 0; index < FIELD_COUNT; index++) {
    const length = section.readUInt32LE(offset + LENGTHS_AT + index * 4)
    const isPresent = (present & (1 << index)) !== 0
    if (length > LIMITS.fieldBytes || at + length > end || (!isPresent && length > 0)) throw corruptIntent(offset)
    fields.push(isPresent ? section.subarray(at, at + length) : null)
    at += length
  }
  const textOf = (field: Buffer | null | undefined): string | null => (field ? decodeText(field, offset) : null)
  if (at !== end) throw corruptIntent(offset)
  const [resource, id, actor, transaction, metadata, json, raw, meant] = fields.map((field) => field ?? null)
  if (raw && !json) throw corruptIntent(offset)
  if (meant && meant.length !== 0 && meant.length !== FINGERPRINT_BYTES) throw corruptIntent(offset)
  return {
    intent,
    item: { kind, resource: textOf(resource) ?? '', id: textOf(id) ?? '' },
    before: json ? { json: Uint8Array.from(json), raw: raw ? Uint8Array.from(raw) : null } : null,
    isAssumed: (flags & ASSUMED) !== 0,
    ...((flags & CARRIED) === 0 ? {} : { isCarried: true }),
    meant: meant ? Uint8Array.from(meant) : null,
    context: { actor: textOf(actor), transaction: textOf(transaction), metadata: textOf(metadata) },
  }
}

function decodeText(field: Buffer, offset: number): string {
  try {
    return text(field)
  } catch {
    throw corruptIntent(offset) // it is not UTF-8
  }
}

function corruptIntent(offset: number): TidemarkError {
  return new TidemarkError(
    'JOURNAL_CORRUPT',
    `The journal holds an intent at byte ${offset} that does not fit its frame.`,
    {
      hint: 'Keep the journal directory as it is and run `tidemark verify`; events already in the store are not affected.',
    },
  )
}
