import { text, utf8 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { type Image, imageBytes } from '../model/event.ts'
import { rawFromText, rawText } from './raw-json.ts'

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
const RAW = Buffer.from(',"raw":')
const JSON_LENGTH = Buffer.from(',"json":')
const NEWLINE = 0x0a
const OPEN = 0x7b
const CLOSE = 0x7d
const BACKSLASH = 0x5c
const QUOTE = 0x22
const SPACE = 0x20

/** Bytes of an image whose line is not joined: it would stand in memory beside both of its parts. */
const JOINED_IMAGE = 1024 * 1024

/**
 * The bytes of a line, newline included, in one part or, of a large one, several. An image that was read from a line of
 * this id is that line as it stands.
 */
export function encodeLine(id: string, image: Image): readonly Uint8Array[] {
  if (image instanceof LineImage && image.line !== null && text(image.id) === id) return [image.line]
  const isLarge = imageBytes(image) > JOINED_IMAGE
  // The raw part first: where an image is decoded anew each time, its bytes are gone when those of the JSON are there.
  const value = rawText(image.raw)
  const { json } = image
  const head = utf8(`${json.length > 2 ? ',' : ''}"_tidemark":{"id":${JSON.stringify(id)},"raw":`)
  const end = utf8(`,"json":${json.length}}}\n`)
  const parts = [json.subarray(0, -1), head, value, end]
  return isLarge ? parts : [Buffer.concat(parts)]
}

/** A line as it stands in the file: the id as UTF-8, and the image on demand. */
export interface Line {
  readonly id: Uint8Array
  image(): Image
}

/** Reads a line with its newline. Errors: `SNAPSHOT_CORRUPT`, of the images' members when they are asked for. */
export function decodeLine(whole: Uint8Array, file: string): Line {
  const ended = whole.at(-1) === NEWLINE
  const line = ended ? whole.subarray(0, -1) : whole
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
  const id = decodeId(line, idStart, idEnd, file)
  // ,"raw":<value>,"json":<digits>}}
  const [rawAt, rawEnd] = [idEnd + RAW.length, at + 1 - JSON_LENGTH.length]
  const framed =
    rawEnd > rawAt &&
    bytes.indexOf(RAW, idEnd) === idEnd &&
    bytes.indexOf(JSON_LENGTH, rawEnd) === rawEnd &&
    line[0] === OPEN
  if (!framed) throw corruptLine(file, 'a line does not end as a snapshot line does')
  const raw = bytes.subarray(rawAt, rawEnd)
  return { id, image: () => new LineImage(id, ended ? whole : null, bytes.subarray(0, length), raw, file) }
}

/** Bytes of a raw part that is kept once it is decoded: a larger one would stand in memory beside its line. */
const KEPT_RAW = 1024 * 1024

/** An image as a line has it: decoded only where somebody looks, since most lines are copied from file to file. */
class LineImage implements Image {
  readonly id: Uint8Array
  /** The whole line, where it is one that can be copied. */
  readonly line: Uint8Array | null
  readonly #json: Uint8Array
  readonly #rawText: Buffer
  readonly #file: string
  #raw: Uint8Array | null | undefined

  constructor(id: Uint8Array, line: Uint8Array | null, json: Uint8Array, rawText: Buffer, file: string) {
    this.id = id
    this.line = line
    this.#json = json
    this.#rawText = rawText
    this.#file = file
  }

  get bytes(): number {
    return this.#json.length + this.#rawText.length
  }

  /** A copy: the closing brace stands at the end of the line. */
  get json(): Uint8Array {
    const json = Uint8Array.from(this.#json)
    json[json.length - 1] = CLOSE
    return json
  }

  get raw(): Uint8Array | null {
    if (this.#raw !== undefined) return this.#raw
    const raw = rawOf(this.#rawText, this.#file)
    if (this.#rawText.length <= KEPT_RAW) this.#raw = raw
    return raw
  }
}

function decodeId(line: Uint8Array, start: number, end: number, file: string): Uint8Array {
  const quoted = line.subarray(start, end)
  if (quoted[0] !== QUOTE || quoted.at(-1) !== QUOTE || quoted.length < 2)
    throw corruptLine(file, 'a record id is none')
  const plain = quoted.subarray(1, -1)
  // Most ids are plain: only where something else stands in one is it parsed.
  if (plain.every((byte) => byte >= SPACE && byte < 0x80 && byte !== BACKSLASH)) return plain
  try {
    return utf8(String(JSON.parse(text(quoted))))
  } catch (error) {
    throw corruptLine(file, 'a record id is none', error)
  }
}

/** Somebody may have made the text: it is no JSON, or too deep to be made a value of. */
function rawOf(json: Buffer, file: string): Uint8Array | null {
  try {
    return rawFromText(json)
  } catch (error) {
    throw corruptLine(file, 'the raw part of a line is no JSON', error)
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

/** Splits whole lines (each ended by a newline) into views, newlines included. */
export function* splitLines(bytes: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(NEWLINE, start)
    const end = newline < 0 ? bytes.length : newline + 1
    yield bytes.subarray(start, end)
    start = end
  }
}
