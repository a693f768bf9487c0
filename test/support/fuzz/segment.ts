import { zstdCompressSync } from 'node:zlib'
import { crc32 } from '../../../src/base/bytes.ts'
import { decoding } from '../../../src/format/segment/corrupt.ts'
import { decodeBytes, decodeCodes, decodeFlags, decodeNumbers } from '../../../src/format/segment/decode.ts'
import { eventsOf } from '../../../src/format/segment/events.ts'
import { type ColumnChunk, footerLength, parseFooter } from '../../../src/format/segment/footer.ts'
import { CHAIN_KEY, CHECKSUMS_KEY, INDEX_KEY, SEGMENT_KEY } from '../../../src/format/segment/metadata.ts'
import { type Page, readPages } from '../../../src/format/segment/pages.ts'
import { openSegment } from '../../../src/format/segment/read.ts'
import { COLUMNS, type ColumnDeclaration } from '../../../src/format/segment/schema.ts'
import { type Event, KINDS } from '../../../src/model/event.ts'
import { isUlid } from '../../../src/model/ulid.ts'
import { showEvent } from '../segments.ts'
import { type Case, type Decoder, same } from './case.ts'
import { choose, mutateBytes, mutateJson, pick, type Random, varint } from './mutate.ts'

const NAME = 'segment/fuzz.parquet'

interface Footer {
  readonly bytes: number
  readonly crc32: number
}

function footerOf(file: Uint8Array): Footer {
  const length = footerLength(file.subarray(-8), file.length)
  return { bytes: length, crc32: crc32(file.subarray(file.length - length)) }
}

/** Everything that a reader can get of a segment. */
async function readSegment(file: Uint8Array, footer: Footer | null): Promise<Event[]> {
  const read = async (start: number, end: number): Promise<Uint8Array> => file.subarray(start, end)
  const reader = await openSegment({ name: NAME, bytes: file.length, footer, read })
  const chain = reader.chain()
  const events: Event[] = []
  for (const index of reader.rowGroups.keys()) {
    const group = await reader.readRowGroup(
      index,
      COLUMNS.map(({ name }) => name),
    )
    group.numbers('time')
    events.push(...eventsOf(group))
  }
  for (const { kind, resource, id, stamp } of events) {
    reader.mayContain({ kind, resource, id })
    reader.rowGroupsOf({ kind, resource, id })
    chain.salts.of(stamp.sequence)
  }
  return events
}

function shown(events: readonly Event[]): string {
  return events.map(showEvent).join('\n')
}

/** Throws where an event was accepted that none can be. */
function checkEvent(event: Event): void {
  const { stamp, kind, operation, before, after } = event
  const fits = isUlid(stamp.ulid) && Number.isSafeInteger(stamp.sequence) && stamp.sequence > 0 && KINDS.includes(kind)
  if (!fits) throw new Error(`an event was accepted with the stamp ${JSON.stringify(stamp)}`)
  const images = `${before === null ? '-' : 'b'}${after === null ? '-' : 'a'}`
  if (images !== { insert: '-a', update: 'ba', delete: 'b-' }[operation])
    throw new Error(`an ${operation} was accepted with the images ${images}`)
}

/** Changes the bytes of one column and puts the checksum of the changed bytes into the footer. */
function changedColumn(file: Uint8Array, donors: readonly Uint8Array[], random: Random): Uint8Array {
  const length = footerLength(file.subarray(-8), file.length)
  const { rowGroups, metadata } = parseFooter(file.subarray(file.length - length), file.length)
  const out = Buffer.from(file)
  const group = pick(random, rowGroups.length)
  const column = pick(random, COLUMNS.length)
  const chunk = rowGroups[group]?.chunks[column]
  const digits = metadata.get(CHECKSUMS_KEY)
  if (chunk === undefined || digits === undefined) throw new Error('no such column')
  const { bytes } = mutateBytes(file.subarray(chunk.start, chunk.end), donors, random)
  out.set(bytes.subarray(0, chunk.end - chunk.start), chunk.start)
  const at = digits.byteOffset - file.byteOffset + (group * COLUMNS.length + column) * 8
  const sum = crc32(out.subarray(chunk.start, chunk.end)).toString(16).padStart(8, '0')
  out.write(sum, at, 'latin1')
  return out
}

/** Changes the footer, and makes its length fit. */
function changedFooter(file: Uint8Array, donors: readonly Uint8Array[], random: Random): Uint8Array {
  const length = footerLength(file.subarray(-8), file.length)
  const donated = donors.map((donor) => donor.subarray(donor.length - footerLength(donor.subarray(-8), donor.length)))
  const { bytes } = mutateBytes(file.subarray(file.length - length, file.length - 8), donated, random)
  return withFooter(file, length, bytes)
}

function withFooter(file: Uint8Array, length: number, footer: Uint8Array): Uint8Array {
  const trailer = Buffer.from('\0\0\0\0PAR1', 'latin1')
  trailer.writeUInt32LE(footer.length)
  return Buffer.concat([file.subarray(0, file.length - length), footer, trailer])
}

/** Changes one of the JSON texts in the footer, with the length in front of it. */
function changedMetadata(file: Uint8Array, donors: readonly Uint8Array[], random: Random): Uint8Array {
  const length = footerLength(file.subarray(-8), file.length)
  const key = choose(random, [SEGMENT_KEY, INDEX_KEY, CHAIN_KEY])
  const textOf = (bytes: Uint8Array): Uint8Array => {
    const size = footerLength(bytes.subarray(-8), bytes.length)
    return parseFooter(bytes.subarray(bytes.length - size), bytes.length).metadata.get(key) ?? new Uint8Array(0)
  }
  const old = textOf(file)
  const json = (bytes: Uint8Array): unknown => JSON.parse(Buffer.from(bytes).toString('utf8'))
  const text = Buffer.from(JSON.stringify(mutateJson(json(old), donors.map(textOf).map(json), random).value) ?? 'null')
  const start = old.byteOffset - file.byteOffset
  const front = start - varint(BigInt(old.length)).length
  const from = file.length - length
  const footer = [file.subarray(from, front), varint(BigInt(text.length)), text, file.subarray(start + old.length, -8)]
  return withFooter(file, length, Buffer.concat(footer))
}

const REPAIRS = { column: changedColumn, footer: changedFooter, metadata: changedMetadata }
type Repair = keyof typeof REPAIRS

/** A whole segment, with its footer's checksum as the timeline has it, without one, or repaired. */
export async function segmentDecoder(samples: readonly Uint8Array[]): Promise<Decoder> {
  const originals = await Promise.all(samples.map(async (file) => shown(await readSegment(file, footerOf(file)))))
  return {
    name: 'segment',
    make: (random) => {
      const which = pick(random, samples.length)
      const file = samples[which] ?? new Uint8Array(0)
      const repair = random() < 0.75 ? choose<Repair>(random, ['column', 'footer', 'metadata']) : null
      if (repair !== null) {
        const bytes = REPAIRS[repair](file, samples, random)
        const decode: Case['decode'] = async () => {
          const events = await readSegment(bytes, random() < 0.5 ? footerOf(bytes) : null)
          return () => {
            for (const event of events) checkEvent(event)
          }
        }
        return { kind: `repaired ${repair}`, input: bytes, decode }
      }
      const { bytes, kind } = mutateBytes(file, samples, random)
      const decode: Case['decode'] = async () => {
        const events = await readSegment(bytes, footerOf(file))
        return () => same(shown(events), originals[which] ?? '', 'a damaged segment gave')
      }
      return { kind, input: bytes, decode }
    },
  }
}

interface Chunk {
  readonly bytes: Uint8Array
  readonly chunk: ColumnChunk
  readonly column: ColumnDeclaration
}

function chunksOf(file: Uint8Array): Chunk[] {
  const length = footerLength(file.subarray(-8), file.length)
  const { rowGroups } = parseFooter(file.subarray(file.length - length), file.length)
  return rowGroups.flatMap(({ chunks }) =>
    COLUMNS.flatMap((column, i) => {
      const chunk = chunks[i]
      return chunk === undefined ? [] : [{ bytes: file.subarray(chunk.start, chunk.end), chunk, column }]
    }),
  )
}

const zigzag = (value: number): Uint8Array => varint(BigInt(value) * 2n)

/** A page with its head in Thrift's compact protocol. */
function pageBytes(page: Page, isDictionary: boolean, compressed: boolean): Uint8Array {
  const body = compressed ? zstdCompressSync(page.body) : page.body
  const inner = [0x15, ...zigzag(page.values), 0x15, ...zigzag(page.encoding)]
  const levels = isDictionary ? [] : [0x15, ...zigzag(3), 0x15, ...zigzag(3)]
  const head = [0x15, ...zigzag(isDictionary ? 2 : 0), 0x15, ...zigzag(page.body.length), 0x15, ...zigzag(body.length)]
  const place = isDictionary ? 0x4c : 0x2c
  return Buffer.concat([Uint8Array.from([...head, place, ...inner, ...levels, 0, 0]), body])
}

/** Changes the contents of a page behind its compression and its head, which are made to fit again. */
function changedPage({ bytes, chunk, column }: Chunk, donors: readonly Uint8Array[], random: Random): Chunk {
  const { dictionary, data } = readPages(bytes, chunk)
  const pages = [...(dictionary === null ? [] : [dictionary]), ...data]
  const changed = pick(random, pages.length)
  const parts = pages.map((page, i) => {
    const body = i === changed ? mutateBytes(page.body, donors, random).bytes : page.body
    return pageBytes({ ...page, body }, dictionary !== null && i === 0, chunk.compressed)
  })
  const joined = Buffer.concat(parts)
  const uncompressedBytes = chunk.uncompressedBytes + (random() < 0.9 ? 1 << 16 : 0)
  return { bytes: joined, chunk: { ...chunk, uncompressedBytes }, column }
}

/** Decodes a column in every way in which readers do, and looks at every value. */
function readColumn({ bytes, chunk, column }: Chunk): void {
  if (column.type === 'boolean') decodeFlags(bytes, chunk)
  else if (column.type === 'int64' || column.type === 'time') checkNumbers(decodeNumbers(bytes, chunk))
  else {
    const values = decodeBytes(bytes, chunk, column)
    for (let i = 0; i < chunk.values; i++) {
      const end = values.ends[i] ?? 0
      if (end > values.data.length || (values.starts[i] ?? 0) > end) throw new Error('a value lies outside its column')
      values.text(i)
    }
    if (column.encoding !== 'dictionary') return
    const { codes, values: texts } = decodeCodes(bytes, chunk, column)
    if (codes.some((code) => code >= texts.length || code < -1)) throw new Error('a code without a value was accepted')
  }
}

function checkNumbers(numbers: Float64Array): void {
  if (!numbers.every(Number.isSafeInteger)) throw new Error('a number was accepted that is not exact')
}

/** The pages of one column, with no checksum around them. */
export function pagesDecoder(samples: readonly Uint8Array[]): Decoder {
  const chunks = samples.flatMap(chunksOf)
  const donors = chunks.map(({ bytes }) => bytes)
  return {
    name: 'segment-pages',
    make: (random) => {
      const chunk = choose(random, chunks)
      const isRepaired = random() < 0.7
      const { bytes, kind } = mutateBytes(chunk.bytes, donors, random)
      const changed = isRepaired ? changedPage(chunk, donors, random) : { ...chunk, bytes }
      const decode: Case['decode'] = () => {
        decoding(NAME, () => readColumn(changed))
        return () => {}
      }
      const what = isRepaired ? 'repaired page' : kind
      return { kind: `${what} of ${chunk.column.type}`, input: changed.bytes, decode }
    },
  }
}
