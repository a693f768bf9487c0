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
  if (image instanceof LineImage && image.isOf(id)) {
    const { line } = image
    if (line !== null) return [line]
  }
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

/** Lines by number, from 0. Of many it is only noted where they stand: one that nobody looks at is no object. */
export interface Lines extends Iterable<Line> {
  readonly length: number
  /** The id of a line as UTF-8 is `idData[idStart, idEnd)`. */
  idData(line: number): Uint8Array
  idStart(line: number): number
  idEnd(line: number): number
  image(line: number): Image
  /** Those that have one of these ids. */
  having(ids: ReadonlySet<string>): Lines
}

/** Reads a line with its newline. Errors: `SNAPSHOT_CORRUPT`, of the images' members when they are asked for. */
export function decodeLine(whole: Uint8Array, file: string): Line {
  const lines = new StoredLines(bufferOf(whole), file, 1)
  lines.add(0, whole.length)
  return lines.line(0)
}

/** Reads whole lines (each ended by a newline), of which there should be `expected`. Errors: as `decodeLine`. */
export function decodeLines(whole: Uint8Array, file: string, expected = 1): Lines {
  const bytes = bufferOf(whole)
  const lines = new StoredLines(bytes, file, Math.min(expected, bytes.length / LEAST_LINE))
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(NEWLINE, start)
    const end = newline < 0 ? bytes.length : newline + 1
    lines.add(start, end)
    start = end
  }
  return lines
}

/** One line of an image that was not read from one. */
export function oneLine(id: string, image: Image): Lines {
  const bytes = utf8(id)
  return {
    length: 1,
    idData: () => bytes,
    idStart: () => 0,
    idEnd: () => bytes.length,
    image: () => image,
    having: (ids) => (ids.has(id) ? oneLine(id, image) : NO_LINES),
    [Symbol.iterator]: () => [{ id: bytes, image: () => image }].values(),
  }
}

function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}

/** What is noted of a line: where it and its parts begin and end. */
const WIDTH = 7
const [START, END, JSON_END, ID_START, ID_END, RAW_START, RAW_END] = [0, 1, 2, 3, 4, 5, 6] as const
type Edge = 0 | 1 | 2 | 3 | 4 | 5 | 6
/** No line is shorter. */
const LEAST_LINE = 32

class StoredLines implements Lines {
  readonly #bytes: Buffer
  readonly #file: string
  /** No member is so long that an offset in it would not fit. */
  #edges: Uint32Array
  #length = 0
  /** Ids that do not stand in their lines as they are. */
  readonly #decoded = new Map<number, Uint8Array>()

  /** `expected`: lines for which there is room from the first. */
  constructor(bytes: Buffer, file: string, expected: number) {
    this.#bytes = bytes
    this.#file = file
    this.#edges = new Uint32Array(WIDTH * Math.ceil(Math.max(1, expected)))
  }

  get length(): number {
    return this.#length
  }

  /** Adds the line in `[start, through)` of the bytes. */
  add(start: number, through: number): void {
    const [bytes, file] = [this.#bytes, this.#file]
    const end = through > start && bytes[through - 1] === NEWLINE ? through - 1 : through
    // Read from the end: …,"json":<digits>}}
    let at = end - 3
    let length = 0
    for (let scale = 1; at >= start; at--, scale *= 10) {
      const digit = (bytes[at] ?? 0) - 0x30
      if (digit < 0 || digit > 9) break
      length += digit * scale
    }
    const tailStart = start + (length > 2 ? length : length - 1)
    if (length < 2 || tailStart + MARK.length >= at || !stands(MARK, bytes, tailStart))
      throw corruptLine(file, 'a line does not end as a snapshot line does')
    const idStart = tailStart + MARK.length
    const idEnd = endOfString(bytes, idStart, end)
    const id = decodeId(bytes, idStart, idEnd, file)
    // ,"raw":<value>,"json":<digits>}}
    const [rawAt, rawEnd] = [idEnd + RAW.length, at + 1 - JSON_LENGTH.length]
    const framed =
      rawEnd > rawAt && stands(RAW, bytes, idEnd) && stands(JSON_LENGTH, bytes, rawEnd) && bytes[start] === OPEN
    if (!framed) throw corruptLine(file, 'a line does not end as a snapshot line does')
    if (id !== null) this.#decoded.set(this.#length, id)
    this.#note(start, through, start + length, idStart + 1, idEnd - 1, rawAt, rawEnd)
  }

  #note(...edges: readonly number[]): void {
    const at = this.#length++ * WIDTH
    if (at === this.#edges.length) {
      const more = new Uint32Array(2 * at)
      more.set(this.#edges)
      this.#edges = more
    }
    for (let i = 0; i < WIDTH; i++) this.#edges[at + i] = edges[i] ?? 0
  }

  *[Symbol.iterator](): Generator<Line> {
    for (let line = 0; line < this.#length; line++) yield this.line(line)
  }

  line(line: number): Line {
    return { id: this.idData(line).subarray(this.idStart(line), this.idEnd(line)), image: () => this.image(line) }
  }

  idData(line: number): Uint8Array {
    return this.#decoded.get(line) ?? this.#bytes
  }

  idStart(line: number): number {
    return this.#decoded.has(line) ? 0 : this.edge(line, ID_START)
  }

  idEnd(line: number): number {
    return this.#decoded.get(line)?.length ?? this.edge(line, ID_END)
  }

  image(line: number): Image {
    return new LineImage(this, line)
  }

  having(ids: ReadonlySet<string>): Lines {
    const some = new StoredLines(this.#bytes, this.#file, Math.min(ids.size, this.#length))
    for (let line = 0; line < this.#length; line++) {
      if (ids.has(text(this.line(line).id))) some.add(this.edge(line, START), this.edge(line, END))
    }
    return some
  }

  edge(line: number, edge: Edge): number {
    return this.#edges[line * WIDTH + edge] ?? 0
  }

  part(line: number, from: Edge, to: Edge): Buffer {
    return this.#bytes.subarray(this.edge(line, from), this.edge(line, to))
  }

  /** Whether a line has its newline, and can be copied. */
  isEnded(line: number): boolean {
    return this.#bytes[this.edge(line, END) - 1] === NEWLINE
  }

  raw(line: number): Uint8Array | null {
    return rawOf(this.part(line, RAW_START, RAW_END), this.#file)
  }
}

const NO_LINES: Lines = new StoredLines(Buffer.alloc(0), '', 0)

function stands(mark: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < mark.length; i++) if (bytes[at + i] !== mark[i]) return false
  return true
}

/** Ids up to so many bytes are compared one by one. */
const COMPARED_ID = 64

/** Bytes of a raw part that is kept once it is decoded: a larger one would stand in memory beside its line. */
const KEPT_RAW = 1024 * 1024

/** An image as a line has it: decoded only where somebody looks, since most lines are copied from file to file. */
class LineImage implements Image {
  readonly #lines: StoredLines
  readonly #line: number
  #raw: Uint8Array | null | undefined

  constructor(lines: StoredLines, line: number) {
    this.#lines = lines
    this.#line = line
  }

  /** Whether it is of a line with this id. */
  isOf(id: string): boolean {
    const [lines, line] = [this.#lines, this.#line]
    const [data, start, bytes] = [lines.idData(line), lines.idStart(line), lines.idEnd(line) - lines.idStart(line)]
    if (bytes > COMPARED_ID || bytes !== id.length) return text(data.subarray(start, start + bytes)) === id
    for (let i = 0; i < bytes; i++) if (data[start + i] !== id.charCodeAt(i)) return false
    return true
  }

  /** The whole line, where it is one that can be copied. */
  get line(): Uint8Array | null {
    return this.#lines.isEnded(this.#line) ? this.#lines.part(this.#line, START, END) : null
  }

  get bytes(): number {
    const [lines, line] = [this.#lines, this.#line]
    return (
      lines.edge(line, JSON_END) - lines.edge(line, START) + lines.edge(line, RAW_END) - lines.edge(line, RAW_START)
    )
  }

  /** A copy: the closing brace stands at the end of the line. */
  get json(): Uint8Array {
    const json = Uint8Array.from(this.#lines.part(this.#line, START, JSON_END))
    json[json.length - 1] = CLOSE
    return json
  }

  get raw(): Uint8Array | null {
    if (this.#raw !== undefined) return this.#raw
    const raw = this.#lines.raw(this.#line)
    if (this.#lines.edge(this.#line, RAW_END) - this.#lines.edge(this.#line, RAW_START) <= KEPT_RAW) this.#raw = raw
    return raw
  }
}

/** The id, where it has to be decoded; null where it is what stands between the quotes, as most are. */
function decodeId(bytes: Buffer, start: number, end: number, file: string): Uint8Array | null {
  if (end - start < 2 || bytes[start] !== QUOTE || bytes[end - 1] !== QUOTE)
    throw corruptLine(file, 'a record id is none')
  let at = start + 1
  while (at < end - 1 && isPlain(bytes[at] ?? 0)) at++
  if (at === end - 1) return null
  try {
    return utf8(String(JSON.parse(text(bytes.subarray(start, end)))))
  } catch (error) {
    throw corruptLine(file, 'a record id is none', error)
  }
}

function isPlain(byte: number): boolean {
  return byte >= SPACE && byte < 0x80 && byte !== BACKSLASH && byte !== QUOTE
}

/** Somebody may have made the text: it is no JSON, or too deep to be made a value of. */
function rawOf(json: Buffer, file: string): Uint8Array | null {
  try {
    return rawFromText(json)
  } catch (error) {
    throw corruptLine(file, 'the raw part of a line is no JSON', error)
  }
}

/** Offset behind the JSON string that starts at `start`; `end` where it does not end before. */
function endOfString(bytes: Uint8Array, start: number, end: number): number {
  for (let i = start + 1; i < end; i++) {
    if (bytes[i] === BACKSLASH) i++
    else if (bytes[i] === QUOTE) return i + 1
  }
  return end
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
