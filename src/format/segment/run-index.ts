import { crc32, utf8 } from '../../base/bytes.ts'
import { TidemarkError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { RunIndexFile } from '../../model/timeline.ts'
import { expect, Malformed } from './corrupt.ts'
import { type Pairs, rowGroupIn, type TimeScale, timeIn, timesOf } from './run-index-pairs.ts'

/*
 * The index of a run: which of its row groups have an item, and where these are. Blocks of one size, each with a checksum,
 * so that one range answers for an item:
 *
 *   buckets   the scale of times, and pairs (run-index-pairs.ts) in order; a bucket has those of a range of hashes
 *   places    of each row group: its file, where it stands there, and what it takes to read it without the footer
 *
 * How many there are of each follows from the size of the file and the number of row groups, which the timeline has.
 */
/** Of every block. */
export const BLOCK_BYTES = 2048
/** Bytes in front of what a block has: its checksum, and how many entries it has. */
export const BLOCK_HEAD_BYTES = 8
/** Bytes of the scale of times, in front of the pairs of a bucket. */
const SCALE_BYTES = 12
/** Where the pairs of a bucket begin. */
const PAIRS_AT: number = BLOCK_HEAD_BYTES + SCALE_BYTES
/** Of a pair. */
const PAIR_BYTES = 8
/** Most pairs of a bucket. */
export const BUCKET_PAIRS: number = Math.floor((BLOCK_BYTES - PAIRS_AT) / PAIR_BYTES)
/** Of a place. */
export const PLACE_BYTES = 20
/** Places of every block of them but the last. */
export const BLOCK_PLACES: number = (BLOCK_BYTES - BLOCK_HEAD_BYTES) / PLACE_BYTES

/** Where a row group of a run is, and what its footer says of it that has to be known to read it. */
export interface RowGroupPlace {
  /** Number of its file among those of the run. */
  readonly file: number
  /** Where its bytes begin in the file. */
  readonly start: number
  readonly bytes: number
  readonly rows: number
  /** CRC-32 of the checksums of its column chunks, four bytes each, little endian, in the order of the columns. */
  readonly checksum: number
  /** Bit i: the pages of column i are compressed. */
  readonly compressed: number
}

/** How the blocks of an index are divided. */
export interface IndexLayout {
  /** The first blocks. */
  readonly buckets: number
  /** The blocks behind them. */
  readonly placeBlocks: number
}

/** What of an index its blocks are read by. */
export type IndexName = Pick<RunIndexFile, 'key' | 'bytes' | 'rowGroups'>

/** The layout of an index. Errors: `SEGMENT_CORRUPT` where no index can be like that. */
export function layoutOf({ key, bytes, rowGroups }: IndexName): IndexLayout {
  return inIndex(key, () => {
    expect(bytes % BLOCK_BYTES === 0 && bytes <= LIMITS.runIndexBytes, 'it cannot have that size')
    const placeBlocks = Math.ceil(rowGroups / BLOCK_PLACES)
    const buckets = bytes / BLOCK_BYTES - placeBlocks
    expect(buckets >= 1 && rowGroups <= LIMITS.runEvents, 'it cannot have so many row groups')
    return { buckets, placeBlocks }
  })
}

/** The number of the bucket that has the pairs of a hash. */
export function bucketOf(hash: number, buckets: number): number {
  return Math.floor((hash * buckets) / 2 ** 32)
}

/** The number of the block that has the place of a row group. */
export function placeBlockOf(rowGroup: number, { buckets }: IndexLayout): number {
  return buckets + Math.floor(rowGroup / BLOCK_PLACES)
}

/**
 * The checksum of a block: CRC-32 of the key of the file, of the number of the block, and of what follows the checksum. So
 * a block of another index, or one at another place, is none of this one.
 */
export function blockChecksum(key: string, number: number, block: Uint8Array): number {
  const place = Buffer.alloc(4)
  place.writeUInt32LE(number)
  return crc32(block.subarray(4), crc32(place, crc32(utf8(key))))
}

/** Sees that a block is the one that was written at its place. Errors: `SEGMENT_CORRUPT`. */
export function checkBlock({ key }: IndexName, number: number, block: Uint8Array): void {
  inIndex(key, () => checked(key, number, block))
}

/** The first and the last row group that may have an item. */
export type RowGroupRange = readonly [first: number, last: number]

/** The pairs in a bucket, in order. `block`: its bytes. Errors: `SEGMENT_CORRUPT`. */
function pairsIn({ key, rowGroups, bytes }: IndexName, number: number, block: Uint8Array): Pairs {
  const { buckets } = layoutOf({ key, rowGroups, bytes })
  return inIndex(key, () => {
    const view = checked(key, number, block)
    const count = countIn(view, BUCKET_PAIRS)
    const scale = scaleIn(view, rowGroups)
    const [hashes, groups] = [new Uint32Array(count), new Uint32Array(count)]
    for (let i = 0; i < count; i++) {
      const at = PAIRS_AT + i * PAIR_BYTES
      const [hash, group] = [view.getUint32(at, true), view.getUint32(at + 4, true)]
      const [beforeHash, before] = [hashes[i - 1] ?? 0, groups[i - 1] ?? 0]
      const isLater = hash === beforeHash && rowGroupIn(before, scale) < rowGroupIn(group, scale)
      const isBehind = i === 0 || beforeHash < hash || isLater
      const isHere = isBehind && rowGroupIn(group, scale) < rowGroups && bucketOf(hash, buckets) === number
      expect(isHere, `its block ${number} has a pair that cannot stand there`)
      hashes[i] = hash
      groups[i] = group
    }
    return { ...scale, hashes, groups }
  })
}

function scaleIn(view: DataView, rowGroups: number): TimeScale {
  const [low, high] = [view.getUint32(BLOCK_HEAD_BYTES, true), view.getUint32(BLOCK_HEAD_BYTES + 4, true)]
  expect(high < 2 ** 21, 'it has a time that cannot be')
  const unit = view.getUint32(BLOCK_HEAD_BYTES + 8, true)
  return { since: high * 2 ** 32 + low, unit, times: timesOf(rowGroups) }
}

/** What an index tells of an item. */
export interface FoundItem {
  readonly rowGroups: RowGroupRange
  /** Milliseconds since 1970: no event of the item in the run is earlier. */
  readonly since: number
}

/**
 * The row groups that may have an item of this hash, by its bucket; null: none, and the item is certainly not in the run. Two
 * items may have one hash: then those between are among them. Errors: `SEGMENT_CORRUPT`.
 */
export function findInBucket(name: IndexName, number: number, block: Uint8Array, hash: number): FoundItem | null {
  const pairs = pairsIn(name, number, block)
  const first = pairs.hashes.indexOf(hash)
  if (first < 0) return null
  const own = pairs.groups.subarray(first, pairs.hashes.lastIndexOf(hash) + 1)
  const since = own.reduce((least, group) => Math.min(least, timeIn(group, pairs)), Number.POSITIVE_INFINITY)
  return { rowGroups: [rowGroupIn(own[0] ?? 0, pairs), rowGroupIn(own.at(-1) ?? 0, pairs)], since }
}

/** Writes a bucket, but for its checksum: those of the pairs `[from, to)`. */
export function writeBucket(block: Buffer, { since, unit, hashes, groups }: Pairs, from: number, to: number): void {
  block.writeUInt32LE(to - from, 4)
  block.writeUInt32LE(since % 2 ** 32, BLOCK_HEAD_BYTES)
  block.writeUInt32LE(Math.floor(since / 2 ** 32), BLOCK_HEAD_BYTES + 4)
  block.writeUInt32LE(unit, BLOCK_HEAD_BYTES + 8)
  for (let i = from, at = PAIRS_AT; i < to; i++, at += PAIR_BYTES) {
    block.writeUInt32LE(hashes[i] ?? 0, at)
    block.writeUInt32LE(groups[i] ?? 0, at + 4)
  }
}

/** The places in a block: the first is that of the row group whose block and order say so. Errors: `SEGMENT_CORRUPT`. */
export function placesIn(
  { key, rowGroups, bytes }: IndexName,
  number: number,
  block: Uint8Array,
): readonly RowGroupPlace[] {
  const { buckets } = layoutOf({ key, rowGroups, bytes })
  return inIndex(key, () => {
    const view = checked(key, number, block)
    const count = countIn(view, BLOCK_PLACES)
    const expected = Math.min(BLOCK_PLACES, rowGroups - (number - buckets) * BLOCK_PLACES)
    expect(count === expected, `its block ${number} has too few row groups`)
    return Array.from({ length: count }, (_, i) => placeAt(view, BLOCK_HEAD_BYTES + i * PLACE_BYTES))
  })
}

function placeAt(view: DataView, at: number): RowGroupPlace {
  const place = {
    start: view.getUint32(at, true),
    bytes: view.getUint32(at + 4, true),
    rows: view.getUint32(at + 8, true),
    checksum: view.getUint32(at + 12, true),
    file: view.getUint16(at + 16, true),
    compressed: view.getUint16(at + 18, true),
  }
  const isPossible = place.rows > 0 && place.rows <= LIMITS.rowGroupRows && place.bytes <= LIMITS.objectBytes
  expect(isPossible, 'it has a row group that cannot be')
  return place
}

function checked(key: string, number: number, block: Uint8Array): DataView {
  expect(block.length === BLOCK_BYTES, `its block ${number} is not there`)
  const view = new DataView(block.buffer, block.byteOffset, block.length)
  const isWhole = view.getUint32(0, true) === blockChecksum(key, number, block)
  expect(isWhole, `its block ${number} is not what was written`)
  return view
}

function countIn(view: DataView, most: number): number {
  const count = view.getUint32(4, true)
  expect(count <= most, 'one of its blocks has too many entries')
  return count
}

/** Everything in an index. */
export interface RunIndex {
  readonly pairs: Pairs
  /** In the order of the row groups. */
  readonly places: readonly RowGroupPlace[]
}

/** Decodes a whole index. Errors: `SEGMENT_CORRUPT`. */
export function decodeIndex(name: IndexName, bytes: Uint8Array): RunIndex {
  const { buckets, placeBlocks } = layoutOf(name)
  inIndex(name.key, () => expect(bytes.length === name.bytes, 'it has another length'))
  const block = (number: number): Uint8Array => bytes.subarray(number * BLOCK_BYTES, (number + 1) * BLOCK_BYTES)
  const [hashes, groups] = [new Uint32Array(buckets * BUCKET_PAIRS), new Uint32Array(buckets * BUCKET_PAIRS)]
  const places: RowGroupPlace[] = []
  let scale: Pick<TimeScale, 'since' | 'unit'> | null = null
  let count = 0
  for (let number = 0; number < buckets; number++) {
    const { since, unit, ...some } = pairsIn(name, number, block(number))
    const isOne = scale === null || (scale.since === since && scale.unit === unit)
    inIndex(name.key, () => expect(isOne, `its block ${number} has other times`))
    scale = { since, unit }
    hashes.set(some.hashes, count)
    groups.set(some.groups, count)
    count += some.hashes.length
  }
  for (let number = buckets; number < buckets + placeBlocks; number++)
    places.push(...placesIn(name, number, block(number)))
  const times = timesOf(name.rowGroups)
  const pairs = {
    since: 0,
    unit: 1,
    ...scale,
    times,
    hashes: hashes.subarray(0, count),
    groups: groups.subarray(0, count),
  }
  return { pairs, places }
}

/** Runs a decoder; what it finds malformed becomes `SEGMENT_CORRUPT` with the name of the index. */
function inIndex<T>(key: string, decode: () => T): T {
  try {
    return decode()
  } catch (error) {
    if (!(error instanceof Malformed)) throw error
    throw new TidemarkError(
      'SEGMENT_CORRUPT',
      `The index ${key} of a run is damaged: ${error.message}. Nothing was looked up in it.`,
      {
        hint: 'Its events are elsewhere: `tidemark repair` makes the index again from the files of its run.',
        details: { key },
        cause: error,
      },
    )
  }
}
