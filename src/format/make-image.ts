import { Packr } from 'msgpackr'
import { utf8 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { type Image, SoundImage } from '../model/event.ts'

/** Plain MessagePack without extensions or records: any reader understands it, and equal values are equal bytes. */
const packr = new Packr({ useRecords: false, variableMapSize: true })

/**
 * The image of a state, for adapters: `value` for people and SQL, an object as `JSON.stringify` writes it; and `stored`, what
 * the source needs to put the state back and JSON does not carry, any value that MessagePack has (binary as
 * `Uint8Array`). Without `stored` the JSON is what is put back. Errors: `SOURCE_UNSUPPORTED` where `value` is no object.
 */
export function makeImage(value: object, stored?: unknown): Image {
  const json = JSON.stringify(value)
  if (!json.startsWith('{')) {
    throw new TidemarkError('SOURCE_UNSUPPORTED', 'An image is made of an object, and this is none in JSON.', {
      hint: 'Give an object with the members of the record.',
    })
  }
  return new SoundImage(utf8(json), stored === undefined ? null : new Uint8Array(packr.pack(stored)))
}
