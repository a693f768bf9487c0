import { text } from '../../base/bytes.ts'
import { type Change, changeBetween, type Image, KINDS } from '../../model/event.ts'
import { EventCursor, encodedEventBytes, encodeEvent, FIELD } from '../event-codec.ts'
import type { Keyring } from './keyring.ts'
import { sealImage } from './sealed-image.ts'

/**
 * Events as `encodeEvent` writes them, with the images of records sealed under the keys that `keyring` has for them.
 * All else stays as it is. Errors: `JOURNAL_CORRUPT` where these are no events.
 */
export function sealEvents(keyring: Keyring, region: Uint8Array): Uint8Array {
  const cursor = new EventCursor(region)
  const parts: Buffer[] = []
  while (cursor.next()) {
    const change = sealedChange(cursor, keyring)
    const ulid = Buffer.from(cursor.ulidBytes).toString('latin1')
    const part = Buffer.alloc(encodedEventBytes(change))
    encodeEvent(part, 0, change, ulid, cursor.sequence)
    parts.push(part)
  }
  return Buffer.concat(parts)
}

function sealedChange(cursor: EventCursor, keyring: Keyring): Change {
  const textOf = (field: number): string | null => {
    const bytes = cursor.field(field)
    return bytes === null ? null : text(bytes)
  }
  const item = {
    kind: KINDS[cursor.kindIndex] ?? 'record',
    resource: textOf(FIELD.resource) ?? '',
    id: textOf(FIELD.id) ?? '',
  }
  const imageOf = (json: number, raw: number): Image | null => {
    const bytes = cursor.field(json)
    if (bytes === null) return null
    const image = { json: bytes, raw: cursor.field(raw) }
    return item.kind === 'record' ? sealImage(keyring, item, image) : image
  }
  const context = {
    actor: textOf(FIELD.actor),
    transaction: textOf(FIELD.transaction),
    metadata: textOf(FIELD.metadata),
  }
  const before = imageOf(FIELD.beforeJson, FIELD.beforeRaw)
  const change = changeBetween(item, before, imageOf(FIELD.afterJson, FIELD.afterRaw), context)
  if (change === null) throw new RangeError('an event has neither of its images')
  return change
}
