import { isUtf8 } from 'node:buffer'
import { TidemarkError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { encodedEventBytes, mostEventBytes } from '../format/event-codec.ts'
import { FINGERPRINT_BYTES } from '../format/intent-codec.ts'
import { isMessagePack } from '../format/message-pack.ts'
import { type Change, type Context, type Image, type Item, KINDS, NO_CONTEXT, SoundImage } from '../model/event.ts'
import { compareItems } from '../model/order.ts'
import type { Images, Source } from './source.ts'

/*
 * What comes in from a source is checked where it enters, so that it can be sealed, read and restored later: bytes that
 * stop a reader would stop the sealing of everything behind them. All errors are `SOURCE_UNSUPPORTED`, and are thrown
 * before anything of the call is journalled.
 */

/** Checks a batch of what a source lists: the items, and that they go on behind `last` in the order of `compareItems`. */
export function checkListed(items: readonly Item[], last: Item | null): void {
  if (!Array.isArray(items)) throw refused('The source listed something that is no list of items.')
  let before = last
  for (const item of items) {
    if (!isObject(item)) throw refused('The source listed something that is no item.')
    checkItem(item, NO_CONTEXT)
    if (before !== null && compareItems(before, item) >= 0) {
      throw unsupported(
        item,
        `it was listed behind ${before.kind} ${before.resource}/${before.id}, which is not the order of compareItems()`,
      )
    }
    before = item
  }
}

/** The present state of an item of a source, checked. */
export async function readState(source: Source, item: Item): Promise<Image | null> {
  const image = await source.read(item)
  checkState(item, image)
  return image
}

/** Checks what a write is meant to leave: a fingerprint of another length would stop whoever reads the journal. */
export function checkMeant(meant: Uint8Array | null): void {
  if (meant === null || (meant instanceof Uint8Array && [0, FINGERPRINT_BYTES].includes(meant.length))) return
  throw refused('The source gave a write that is meant to leave something of which meant() is no fingerprint.')
}

/** Checks a state that was read of the source. */
export function checkState(item: Item, image: Image | null): void {
  checkImage(item, image)
}

/** Checks what a capture is called with, before anything is locked, read or done. */
export function checkCapture(items: readonly Item[], context: Context, write: object): void {
  if (!Array.isArray(items)) throw refused('The source gave no list of items to be captured.')
  if (!isObject(context)) throw refused('The source gave a capture without a context.')
  for (const item of items) {
    if (!isObject(item)) throw refused('The source gave something to be captured that is no item.')
    checkItem(item, context)
  }
  for (const name of ['read', 'perform', 'after']) {
    if (isObject(write) && typeof Reflect.get(write, name) === 'function') continue
    throw refused(`The source gave a write without ${name}().`)
  }
}

/** Checks the states of the items of a capture, one for each in their order: what is left out is not "nothing there". */
export function checkImages(items: readonly Item[], images: Images): Images {
  if (!Array.isArray(images) || images.length !== items.length) {
    const given = Array.isArray(images) ? `${images.length} images` : 'no list of images'
    throw refused(`The source gave ${given} for ${items.length} items.`)
  }
  for (const [i, item] of items.entries()) checkImage(item, images[i])
  return images
}

/** Checks what one capture did, and that it fits one frame of the journal. */
export function checkOutcomes(outcomes: readonly { readonly change: Change | null }[]): void {
  let most = 0
  for (const { change } of outcomes) {
    if (change === null) continue
    checkItem(change, change.context)
    checkImage(change, change.before)
    checkImage(change, change.after)
    most += mostEventBytes(change)
  }
  if (most <= LIMITS.frameBytes / 2) return
  const bytes = outcomes.reduce((sum, { change }) => sum + (change === null ? 0 : encodedEventBytes(change)), 0)
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
function checkImage(item: Item, image: Image | null | undefined): void {
  if (image === null) return
  if (image === undefined || !isObject(image)) throw unsupported(item, 'its state is neither an image nor null')
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

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null
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
  const names = [resource, id].map((name) => (typeof name === 'string' ? JSON.stringify(name) : String(name)))
  return refused(`The source gave ${String(kind)} ${names.join('/')} to be captured, and ${why}.`)
}

function refused(what: string): TidemarkError {
  return new TidemarkError('SOURCE_UNSUPPORTED', `${what} It was not journalled.`, {
    hint: 'This is a defect of the adapter: it must give what `Write`, `Image`, `Item` and `Context` describe; makeImage() makes images that do.',
  })
}
