import { CONTENT_TYPE_DICT, STATUS_MESSAGE_DICT } from 's3db.js/concerns/dictionary-encoding'
import { metadataDecode, metadataEncode } from 's3db.js/concerns/metadata-encoding'
import { KeyOrders } from './key-orders.ts'

/** Texts for which s3db.js stores a letter. */
const ABBREVIATED = new Set([CONTENT_TYPE_DICT, STATUS_MESSAGE_DICT].flatMap((dictionary) => Object.keys(dictionary)))
/** What s3db.js stores as it is: printable ASCII without a mark of its encodings and not below a prefix that it shortens. */
const PLAIN = /^(?![dubz]:|z85:|\/|http)[\x20-\x7e]*$/
const PRINTABLE = /^[\x20-\x7e]*$/

/** The keys of what a put is given, as s3db.js stores them. */
const orders = new KeyOrders((key) =>
  /^[a-z0-9_-]*$/.test(key) ? key : key.replace(/[^a-zA-Z0-9\-_]/g, '_').toLowerCase(),
)

/**
 * The metadata that an object has when it is read, from what a put is given, in the order of their keys; null where only
 * reading it back tells. s3db.js encodes values and does not decode each to what it was. `inHeaders`: it is stored in
 * headers of HTTP.
 */
export function storedMetadata(
  metadata: Readonly<Record<string, unknown>>,
  inHeaders: boolean,
): readonly (readonly [key: string, value: string])[] | null {
  const entries: [string, string][] = []
  for (const { given, stored } of orders.of(Object.keys(metadata))) {
    const text = storedValue(String(metadata[given]), inHeaders)
    // s3db.js sets names on a plain object, where this one is no name.
    if (text === null || stored === '__proto__') return null
    entries.push([stored, text])
  }
  return entries
}

function storedValue(text: string, inHeaders: boolean): string | null {
  // It looks texts up in plain objects, where it finds the inherited members too, and stores their code or nothing.
  if (text in Object.prototype) return null
  if (PLAIN.test(text) && !ABBREVIATED.has(text)) return inHeaders ? fromHeader(text) : text
  const encoded = encode(text)
  if (encoded === null) return null
  const received = inHeaders ? fromHeader(encoded) : encoded
  return received === null ? null : String(metadataDecode(received))
}

function encode(text: string): string | null {
  try {
    return metadataEncode(text).encoded
  } catch (error) {
    if (error instanceof URIError) return null // half of a surrogate pair: the put will fail on it as well
    throw error
  }
}

/**
 * A value behind a header: it loses spaces at both ends. What servers make of bytes that are no ASCII, and of what looks
 * like an encoded word (RFC 2047), differs.
 */
export function fromHeader(value: string): string | null {
  return PRINTABLE.test(value) && !value.includes('=?') ? value.replace(/^ +| +$/g, '') : null
}
