import { text, utf8 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Image } from '../model/event.ts'
import { rawFromJson, rawToJson } from './raw-json.ts'

/*
 * One line of a snapshot file: the record's JSON object with one member more, the last one:
 *
 *   {"id":"u1","name":"Ann", … ,"_tidemark":{"id":"u1","raw":{…},"json":345}}
 *
 * `id` is the record id, `raw` the raw image (see raw-json.ts) or null, `json` the length in bytes of the record's
 * own JSON object, which lets a reader split the line without parsing it and without guessing where a record of
 * ours has an attribute of that name.
 */
const MARK = Buffer.from('"_tidemark":{"id":')
const NEWLINE = 0x0a
const CLOSE = 0x7d
const COMMA = 0x2c
const BACKSLASH = 0x5c
const QUOTE = 0x22

/** The bytes of a line, newline included. */
export function encodeLine(id: string, image: Image): Uint8Array {
  const { json, raw } = image
  const tail = `"_tidemark":{"id":${JSON.stringify(id)},"raw":${rawToJson(raw)},"json":${json.length}}}\n`
  const separated = json.length > 2
  const line = Buffer.allocUnsafe(json.length - 1 + (separated ? 1 : 0) + Buffer.byteLength(tail))
  line.set(json.subarray(0, -1))
  let at = json.length - 1
  if (separated) line[at++] = COMMA
  line.write(tail, at)
  return line
}

/** A line as it stands in the file: the id as UTF-8, and the image on demand. */
export interface Line {
  readonly id: Uint8Array
  image(): Image
}

/** Reads a line without its newline. Errors: `SNAPSHOT_CORRUPT`. */
export function decodeLine(line: Uint8Array, file: string): Line {
  // Read from the end: …,"json":<digits>}}
  let at = line.length - 3
  let length = 0
  for (let scale = 1; at >= 0; at--, scale *= 10) {
    const digit = (line[at] ?? 0) - 0x30
    if (digit < 0 || digit > 9) break
    length += digit * scale
  }
  const tailStart = length > 2 ? length : length - 1
  const bytes = Buffer.from(line.buffer, line.byteOffset, line.byteLength)
  const marked =
    length >= 2 &&
    tailStart + MARK.length < at &&
    bytes.compare(MARK, 0, MARK.length, tailStart, tailStart + MARK.length) === 0
  if (!marked) throw corruptLine(file, 'a line does not end as a snapshot line does')
  const idStart = tailStart + MARK.length
  const idEnd = endOfString(line, idStart)
  return {
    id: decodeId(line, idStart, idEnd, file),
    image: () => {
      const json = new Uint8Array(length)
      json.set(line.subarray(0, length - 1))
      json[length - 1] = CLOSE
      // ,"raw":<value>,"json":<digits>}}
      const rawText = bytes.toString('utf8', idEnd + ',"raw":'.length, at - ',"json"'.length)
      return { json, raw: rawText === 'null' ? null : rawFromJson(parse(rawText, file)) }
    },
  }
}

function decodeId(line: Uint8Array, start: number, end: number, file: string): Uint8Array {
  const quoted = line.subarray(start, end)
  if (!quoted.includes(BACKSLASH)) return quoted.subarray(1, -1)
  const id = parse(text(quoted), file)
  if (typeof id !== 'string') throw corruptLine(file, 'a record id is no string')
  return utf8(id)
}

function parse(json: string, file: string): unknown {
  try {
    return JSON.parse(json)
  } catch (error) {
    throw corruptLine(file, 'a line is no JSON', error)
  }
}

/** Offset behind the JSON string that starts at `start`. */
function endOfString(line: Uint8Array, start: number): number {
  for (let i = start + 1; i < line.length; i++) {
    if (line[i] === BACKSLASH) i++
    else if (line[i] === QUOTE) return i + 1
  }
  return line.length
}

function corruptLine(file: string, what: string, cause?: unknown): TidemarkError {
  return new TidemarkError(
    'SNAPSHOT_CORRUPT',
    `The snapshot file ${file} is damaged: ${what}. Nothing of it was used.`,
    {
      hint: 'Run `tidemark verify` to see what else is damaged; an earlier moment can be restored from an earlier snapshot.',
      details: { key: file },
      cause,
    },
  )
}

/** Splits whole lines (each ended by a newline) into views without the newline. */
export function* splitLines(bytes: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(NEWLINE, start)
    if (end < 0) {
      yield bytes.subarray(start)
      return
    }
    yield bytes.subarray(start, end)
    start = end + 1
  }
}
