import { createCipheriv } from 'node:crypto'
import { crc32, gunzipSync, zstdDecompressSync } from 'node:zlib'
import { type Compressors, parquetMetadata, parquetReadObjects } from 'hyparquet'
import { hex, must, sealed, sha, u64 } from './bytes.ts'
import { type Event, encodeEvent, type Image, KINDS, nameOf, order } from './events.ts'
import { timeOf } from './moments.ts'
import type { Segment } from './timeline.ts'

const compressors: Compressors = {
  ZSTD: (input, length) => (length === 0 ? new Uint8Array(0) : Uint8Array.from(zstdDecompressSync(input))),
}

type Row = Awaited<ReturnType<typeof parquetReadObjects>>[number]

type Digest = [stream: string, sequence: number, digest: string]

interface Chain {
  previous: string
  links: [number, string][]
  salts: { secret?: string; blocks?: [number, string][]; events?: [number, string][] }
  erased: [number, string, string][]
}

/** Stream, sequence and digest of every event of a segment of level 0 that was read. */
export function digestsIn({ stream }: Segment, bytes: Uint8Array, events: readonly Event[]): Digest[] {
  const chain: Chain = JSON.parse(textOf(Uint8Array.from(bytes).buffer, 'chain'))
  return [...digestsOf(events, chain)].map(([sequence, [, digest]]) => [stream, sequence, digest.toString('hex')])
}

/** The same of a run (6.4), by its chain file. */
export function digestsInRun(bytes: Uint8Array, events: readonly Event[]): Digest[] {
  return sealed<RunChains>(gunzipSync(bytes)).chains.flatMap(([stream, first, last, , , chain]) => {
    const own = events.filter((one) => one.stream === stream && one.sequence >= first && one.sequence <= last)
    return [...digestsOf(own, chain)].map(
      ([sequence, [, digest]]): Digest => [stream, sequence, digest.toString('hex')],
    )
  })
}

/** The events of a segment (6), in the order of its rows; everything that can be checked is. */
export async function readSegment(bytes: Uint8Array, entry: Segment): Promise<Event[]> {
  must(hex(bytes) === entry.sha256 && bytes.length === entry.bytes, `${entry.key} is another file`)
  const footer = bytes.subarray(-entry.footer.bytes)
  must(crc32(footer) === entry.footer.crc32, `${entry.key} has another footer`)
  const file = Uint8Array.from(bytes).buffer
  const rows = await parquetReadObjects({ file, compressors, utf8: false })
  const events: Event[] = []
  for (const row of rows) events.push(eventOf(row, events.at(-1)))
  const sorted = events.toSorted((a, b) => order(a, b) || (a.ulid < b.ulid ? -1 : 1))
  must(
    sorted.every((event, i) => event === events[i]),
    `${entry.key} is in another order`,
  )
  must(rows.length === entry.events, `${entry.key} has ${rows.length} events`)
  checkIndex(file, events)
  if (entry.run === undefined) checkChain(entry, events, JSON.parse(textOf(file, 'chain')))
  return events
}

function eventOf(row: Row, above: Event | undefined): Event {
  const { ulid, stream, kind, resource, record_id: id, operation } = row
  must(row.time.getTime() === timeOf(ulid), `${ulid} has another time`)
  const elided = row.before_elided ? (above?.after ?? null) : null
  must(!row.before_elided || (above !== undefined && nameOf(above) === nameOf({ kind, resource, id })), 'elided')
  return {
    ...{ ulid, stream, sequence: Number(row.sequence), kind, resource, id, operation },
    context: [row.actor ?? null, row.transaction ?? null, row.metadata ?? null],
    before: elided ?? imageOf(row.before, row.before_raw),
    after: imageOf(row.after, row.after_raw),
  }
}

function imageOf(json: string | null, raw: Uint8Array | null): Image | null {
  return json == null ? null : { json, raw: raw ?? null }
}

function textOf(file: ArrayBuffer, name: string): string {
  const { key_value_metadata: pairs = [] } = parquetMetadata(file)
  return pairs.find(({ key }) => key === `tidemark.${name}`)?.value ?? ''
}

function mix(value: number): number {
  let h = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** MurmurHash3 x86 32-bit, from its definition. */
function murmur(text: string, seed: number): number {
  const bytes = Buffer.from(text)
  let h = seed
  for (let at = 0; at < bytes.length; at += 4) {
    const part = Buffer.alloc(4)
    bytes.copy(part, 0, at, at + 4)
    const k = Math.imul(part.readUInt32LE(), 0xcc9e2d51)
    h ^= Math.imul((k << 15) | (k >>> 17), 0x1b873593)
    if (at + 4 <= bytes.length) h = (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0
  }
  return mix(h ^ bytes.length)
}

const SALTS = [0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31]

/** The filter, the row groups and the checksum of every column chunk. */
function checkIndex(file: ArrayBuffer, events: readonly Event[]): void {
  const items = new Map(events.map((event) => [nameOf(event), event]))
  const blocks = Math.max(1, Math.ceil((12 * items.size) / 256))
  const filter = Buffer.alloc(blocks * 32)
  for (const { kind, resource, id } of items.values()) {
    const h = murmur(id, murmur(resource, KINDS.indexOf(kind)))
    for (const [i, salt] of SALTS.entries()) {
      const at = Math.floor((h * blocks) / 2 ** 32) * 32 + 4 * i
      filter.writeUInt32LE((filter.readUInt32LE(at) | (1 << (Math.imul(mix(h), salt) >>> 27))) >>> 0, at)
    }
  }
  const index = JSON.parse(textOf(file, 'index'))
  must(index.bloom === filter.toString('base64'), 'another filter')
  let row = 0
  for (const [rows, kind, resource, id] of index.rowGroups) {
    const first = events[row]
    must(first !== undefined && nameOf(first) === nameOf({ kind, resource, id }), 'another first item')
    row += rows
  }
  must(row === events.length, 'row groups that do not add up')
  const sums = parquetMetadata(file).row_groups.flatMap(({ columns }) =>
    columns.map(({ meta_data: chunk }) => {
      const start = Number(chunk?.dictionary_page_offset ?? chunk?.data_page_offset)
      return crc32(new Uint8Array(file, start, Number(chunk?.total_compressed_size)))
    }),
  )
  must(textOf(file, 'checksums') === sums.map((sum) => sum.toString(16).padStart(8, '0')).join(''), 'another checksum')
}

/** ULID and digest of every event by its sequence, also of those that were erased (6.1). */
function digestsOf(events: readonly Event[], { salts, erased }: Chain): Map<number, [string, Buffer]> {
  const digests = new Map<number, [string, Buffer]>()
  for (const event of events) {
    const { sequence, ulid } = event
    digests.set(sequence, [ulid, sha(saltOf(salts, sequence), encodeEvent(event))])
  }
  for (const [sequence, ulid, digest] of erased) digests.set(sequence, [ulid, Buffer.from(digest, 'hex')])
  return digests
}

/** One link after the other (6.1). */
function checkChain(
  { key, chain: known }: Pick<Segment, 'key' | 'chain'>,
  events: readonly Event[],
  chain: Chain,
): void {
  const digests = digestsOf(events, chain)
  let value = chain.previous
  const sequences = [...digests.keys()].sort((a, b) => a - b)
  for (const [last, expected] of chain.links) {
    const own = sequences.splice(0, sequences.filter((sequence) => sequence <= last).length)
    const parts = own.flatMap((sequence) => [u64(sequence), ...(digests.get(sequence) ?? [])])
    value = hex(Buffer.from(value, 'hex'), ...parts)
    must(value === expected, `${key}: another link up to ${last}`)
  }
  must(sequences.length === 0 && chain.previous === known.previous && value === known.value, `${key}: another chain`)
}

interface RunChains {
  format: number
  chains: [string, number, number, string, string, Chain][]
}

/** The chains of a run (6.4) whose files are all read: every event is in one of them, and they are what they say. */
export function checkRun(
  { key, sha256, bytes: size }: NonNullable<Segment['run']>,
  bytes: Uint8Array,
  events: readonly Event[],
): void {
  must(hex(bytes) === sha256 && bytes.length === size, `${key} is another file`)
  const { format, chains } = sealed<RunChains>(gunzipSync(bytes))
  must(format === 1, `${key} is of another format`)
  let count = 0
  for (const [stream, first, last, firstUlid, lastUlid, chain] of chains) {
    const own = events.filter((one) => one.stream === stream && one.sequence >= first && one.sequence <= last)
    const ulids = [...own.map(({ ulid }) => ulid), ...chain.erased.map(([, ulid]) => ulid)].sort()
    must(
      ulids.length === last - first + 1 && ulids[0] === firstUlid && ulids.at(-1) === lastUlid,
      `${key}: other events`,
    )
    const known = { previous: chain.previous, value: chain.links.at(-1)?.[1] ?? '' }
    checkChain({ key, chain: known }, own, chain)
    count += own.length
  }
  must(count === events.length, `${key} has events that are in no chain`)
}

function saltOf({ secret, blocks = [], events = [] }: Chain['salts'], sequence: number): Buffer {
  const own = events.find(([number]) => number === sequence)?.[1]
  if (own !== undefined) return Buffer.from(own, 'hex')
  const block = Math.floor(sequence / 256)
  const given = blocks.find(([number]) => number === block)?.[1] ?? ''
  const key = secret === undefined ? Buffer.from(given, 'hex') : sha(Buffer.from(secret, 'hex'), u64(block))
  const stream = createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(4096))
  return stream.subarray((sequence % 256) * 16, (sequence % 256) * 16 + 16)
}
