import { isUtf8 } from 'node:buffer'
import { TidemarkError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { encodedEventBytes } from '../format/event-codec.ts'
import type { Intent } from '../format/intent-codec.ts'
import { isMessagePack } from '../format/message-pack.ts'
import { type Change, type Context, type Image, type Item, KINDS, NO_CONTEXT, SoundImage } from '../model/event.ts'

/*
 * What comes in from a source is checked where it enters, so that it can be sealed, read and restored later: bytes that
 * stop a reader would stop the sealing of everything behind them. All errors are `SOURCE_UNSUPPORTED`, and are thrown
 * before anything of the call is journalled.
 */

/** Checks a state that was read of the source. */
export function checkState(item: Item, image: Image | null): void {
  checkItem(item, NO_CONTEXT)
  checkImage(item, image)
}

/** Checks an intent. */
export function checkIntent({ item, context, before }: Omit<Intent, 'intent'>): void {
  checkItem(item, context)
  checkImage(item, before)
}

/** Checks what one capture did, and that it fits one frame of the journal. */
export function checkOutcomes(outcomes: readonly { readonly change: Change | null }[]): void {
  let bytes = 0
  for (const { change } of outcomes) {
    if (change === null) continue
    checkItem(change, change.context)
    checkImage(change, change.before)
    checkImage(change, change.after)
    bytes += encodedEventBytes(change)
  }
  if (bytes <= LIMITS.frameBytes / 2) return
  throw new TidemarkError(
    'SOURCE_UNSUPPORTED',
    `A capture of ${outcomes.length} items has ${bytes} bytes of events, more than one frame of the journal can hold; it was not stamped.`,
    {
      hint: `Write less than ${LIMITS.frameBytes / 2} bytes together; what was written is recorded item by item.`,
      details: { items: outcomes.length, bytes },
    },
  )
}

function checkItem(item: Item, { actor, transaction, metadata }: Context): void {
  const { kind, resource, id } = item
  if (!KINDS.includes(kind)) throw unsupported(item, `its kind is none of ${KINDS.join(', ')}`)
  if (!isText(resource) || !isText(id)) throw unsupported(item, 'its names are not Unicode text')
  if (!isTextOrNull(actor) || !isTextOrNull(transaction)) throw unsupported(item, 'its actor or transaction is no text')
  if (metadata !== null && !(isText(metadata) && isJson(metadata)))
    throw unsupported(item, 'its metadata is no JSON text')
}

/** What is made by `makeImage` is known to be sound, and costs nothing. */
function checkImage(item: Item, image: Image | null): void {
  if (image === null) return
  const { json, raw } = image
  if (!(json instanceof Uint8Array)) throw unsupported(item, 'its JSON is not bytes')
  if (raw !== null && !(raw instanceof Uint8Array)) throw unsupported(item, 'its raw image is neither bytes nor null')
  const largest = Math.max(json.length, raw?.length ?? 0)
  if (largest > LIMITS.imageBytes) {
    throw unsupported(item, `it has ${largest} bytes, more than the ${LIMITS.imageBytes} that the journal can hold`)
  }
  if (image instanceof SoundImage) return
  if (!isObjectOnOneLine(json)) throw unsupported(item, 'its JSON is not one object in UTF-8 on one line')
  if (raw !== null && !isMessagePack(raw)) throw unsupported(item, 'its raw image is not one MessagePack value')
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.isWellFormed()
}

function isTextOrNull(value: unknown): boolean {
  return value === null || isText(value)
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch (error) {
    if (error instanceof SyntaxError) return false
    throw error
  }
}

const [NEWLINE, RETURN, OPEN, CLOSE] = [0x0a, 0x0d, 0x7b, 0x7d]

/** Lines of snapshots put a member behind the last one: an object without members is `{}`. */
function isObjectOnOneLine(json: Uint8Array): boolean {
  if (json[0] !== OPEN || json.at(-1) !== CLOSE || !isUtf8(json)) return false
  if (json.includes(NEWLINE) || json.includes(RETURN)) return false
  const text = Buffer.from(json.buffer, json.byteOffset, json.byteLength).toString('utf8')
  return isJson(text) && (json.length === 2 || /^\{\s*"/.test(text))
}

function unsupported({ kind, resource, id }: Item, why: string): TidemarkError {
  return new TidemarkError(
    'SOURCE_UNSUPPORTED',
    `The source gave ${String(kind)} ${JSON.stringify(resource)}/${JSON.stringify(id)} to be captured, and ${why}. It was not journalled.`,
    {
      hint: 'This is a defect of the adapter: it must give what `Image`, `Item` and `Context` describe; makeImage() makes images that do.',
    },
  )
}
