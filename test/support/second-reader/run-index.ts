import { crc32 } from 'node:zlib'
import { type FileMetaData, parquetMetadata } from 'hyparquet'
import { hex, must, sha, u32 } from './bytes.ts'
import { type Event, type Item, KINDS, nameOf } from './events.ts'
import type { Files, Segment } from './timeline.ts'

type Run = NonNullable<Segment['run']>

const BLOCK = 2048

interface Place {
  start: number
  bytes: number
  rows: number
  checksum: number
  file: number
  compressed: number
}

/** The index of a run (6.4). */
export interface RunIndex {
  run: string
  buckets: number
  pairs: [hash: number, rowGroup: number, since: number][]
  places: Place[]
}

/** Reads a whole index; everything that can be checked in it is. */
export function readIndex({ index }: Run, files: Files): RunIndex {
  const bytes = Buffer.from(files.get(index.key) ?? [])
  must(hex(bytes) === index.sha256 && bytes.length === index.bytes, `${index.key} is another file`)
  must(bytes.length % BLOCK === 0, `${index.key} has another size`)
  const placeBlocks = Math.ceil(index.rowGroups / 102)
  const buckets = bytes.length / BLOCK - placeBlocks
  must(buckets >= 1, `${index.key} has no buckets`)
  const leadingZeros = index.rowGroups < 2 ? 32 : 31 - Math.floor(Math.log2(index.rowGroups - 1))
  const times = 2 ** Math.min(20, leadingZeros)
  const found: RunIndex = { run: index.key.split('/')[1] ?? '', buckets, pairs: [], places: [] }
  for (let block = 0; block < buckets + placeBlocks; block++) {
    const own = bytes.subarray(block * BLOCK, (block + 1) * BLOCK)
    const sum = crc32(Buffer.concat([Buffer.from(index.key), u32(block), own.subarray(4)]))
    must(own.readUInt32LE(0) === sum, `${index.key}: block ${block} has another checksum`)
    const count = own.readUInt32LE(4)
    const [first, size] = block < buckets ? [20, 8] : [8, 20]
    must(count <= Math.floor((BLOCK - first) / size), `${index.key}: too many entries`)
    must(
      own.subarray(first + count * size).every((byte) => byte === 0),
      `${index.key}: something behind the entries`,
    )
    const [since, unit] = [Number(own.readBigUInt64LE(8)), own.readUInt32LE(16)]
    for (let at = first; at < first + count * size; at += size) {
      if (block >= buckets) found.places.push(placeAt(own, at))
      else {
        const hash = own.readUInt32LE(at)
        must(Math.floor((hash * buckets) / 2 ** 32) === block, `${index.key}: a hash in another bucket`)
        const group = own.readUInt32LE(at + 4)
        found.pairs.push([hash, Math.floor(group / times), since + (group % times) * unit])
      }
    }
  }
  const isSorted = found.pairs.every(([hash, group], i) => {
    const [before, other] = found.pairs[i - 1] ?? [-1, 0]
    return group < index.rowGroups && (before < hash || (before === hash && other < group))
  })
  must(isSorted && found.places.length === index.rowGroups, `${index.key}: entries out of order`)
  return found
}

function placeAt(block: Buffer, at: number): Place {
  const [start, bytes, rows, checksum] = [0, 4, 8, 12].map((by) => block.readUInt32LE(at + by))
  const [file, compressed] = [block.readUInt16LE(at + 16), block.readUInt16LE(at + 18)]
  return { start: start ?? 0, bytes: bytes ?? 0, rows: rows ?? 0, checksum: checksum ?? 0, file, compressed }
}

/** The hash of an item. */
export function hashOf(run: string, { kind, resource, id }: Item): number {
  const name = Buffer.from(resource)
  return sha(run, Buffer.of(KINDS.indexOf(kind)), u32(name.length), name, id).readUInt32LE(0)
}

/** The row groups that may have an item: from one to another, or none. */
export function rowGroupsOf({ run, pairs }: RunIndex, item: Item): number[] {
  const own = pairs.filter(([hash]) => hash === hashOf(run, item)).map(([, rowGroup]) => rowGroup)
  const [first, last] = [own[0] ?? 0, own.at(-1) ?? -1]
  return Array.from({ length: last - first + 1 }, (_, i) => first + i)
}

/** A file of a run with its events, in the order of its rows. */
export interface RunFileRead {
  segment: Segment
  events: Event[]
}

/** Sees that an index tells where every item of a run is, and nothing else, and that it has every row group. */
export function checkRunIndex(run: Run, files: Files, own: readonly RunFileRead[]): void {
  const index = readIndex(run, files)
  const places: Place[] = []
  const groups = new Map<string, { item: Item; numbers: number[] }>()
  const times = new Map<number, number>()
  for (const { segment, events } of own.toSorted((a, b) => (a.segment.key < b.segment.key ? -1 : 1))) {
    const bytes = Buffer.from(files.get(segment.key) ?? [])
    let row = 0
    for (const group of parquetMetadata(Uint8Array.from(bytes).buffer).row_groups) {
      for (const event of events.slice(row, row + Number(group.num_rows))) {
        const known = groups.get(nameOf(event)) ?? { item: event, numbers: [] }
        known.numbers.push(places.length)
        const hash = hashOf(index.run, event)
        times.set(hash, Math.min(times.get(hash) ?? Number.POSITIVE_INFINITY, timeOf(event.ulid)))
        groups.set(nameOf(event), known)
      }
      row += Number(group.num_rows)
      places.push(placeOf(bytes, Number(segment.key.split('/').at(-1)?.slice(0, 4)), group))
    }
  }
  must(JSON.stringify(places) === JSON.stringify(index.places), `${run.index.key}: other places`)
  const hashes = new Map<number, number[]>()
  for (const { item, numbers } of groups.values()) {
    const hash = hashOf(index.run, item)
    hashes.set(
      hash,
      [...(hashes.get(hash) ?? []), ...numbers].sort((a, b) => a - b),
    )
  }
  const told = new Map<number, number[]>()
  for (const [hash, rowGroup] of index.pairs) told.set(hash, [...(told.get(hash) ?? []), rowGroup])
  for (const [hash, , since] of index.pairs) {
    const isEarlier = index.pairs.some(([other, , time]) => other === hash && time <= (times.get(hash) ?? 0))
    must(isEarlier && since < 2 ** 53, `${run.index.key}: an item has an earlier event`)
  }
  must(told.size === hashes.size, `${run.index.key}: other items`)
  for (const [hash, numbers] of hashes) {
    const of = told.get(hash) ?? []
    must(of[0] === numbers[0] && of.at(-1) === numbers.at(-1), `${run.index.key}: an item is elsewhere`)
  }
}

/** The milliseconds of a ULID: its first 10 characters, in base 32. */
function timeOf(ulid: string): number {
  return [...ulid.slice(0, 10)].reduce((ms, char) => 32 * ms + '0123456789ABCDEFGHJKMNPQRSTVWXYZ'.indexOf(char), 0)
}

/** What the footer of a file says of a row group. */
function placeOf(bytes: Buffer, file: number, { columns, num_rows }: FileMetaData['row_groups'][number]): Place {
  let [start, end, compressed] = [0, 0, 0]
  const checksums = columns.map(({ meta_data: chunk }, i) => {
    const at = Number(chunk?.dictionary_page_offset ?? chunk?.data_page_offset)
    must(i === 0 || at === end, 'columns that do not follow one another')
    if (i === 0) start = at
    end = at + Number(chunk?.total_compressed_size)
    if (chunk?.codec === 'ZSTD') compressed |= 1 << i
    return u32(crc32(bytes.subarray(at, end)))
  })
  const checksum = crc32(Buffer.concat(checksums))
  return { start, bytes: end - start, rows: Number(num_rows), checksum, file, compressed }
}
