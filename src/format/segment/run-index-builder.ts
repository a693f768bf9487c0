import { TidemarkError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { KINDS } from '../../model/event.ts'
import type { RunIndexFile } from '../../model/timeline.ts'
import { type Ulid, ulidTimeAt } from '../../model/ulid.ts'
import { hashOf, ItemHasher } from './item-hash.ts'
import type { RowGroup } from './row-group.ts'
import {
  BLOCK_BYTES,
  BLOCK_HEAD_BYTES,
  BLOCK_PLACES,
  BUCKET_PAIRS,
  blockChecksum,
  bucketOf,
  PLACE_BYTES,
  type RowGroupPlace,
  type RunIndex,
  writeBucket,
} from './run-index.ts'
import { PairList, type Pairs, rowGroupIn, timeIn } from './run-index-pairs.ts'
import type { ByteValues, CodedValues } from './values.ts'

/** Pairs of a bucket that are aimed at: so far below the most that, of thousands of buckets, hardly one has more. */
const AIMED_PAIRS = 200
/** Buckets more, as a part of them, where one had too many. */
const MORE_BUCKETS = 0.05

const NAMES: readonly string[] = KINDS

/** An index as bytes, and how many row groups are in it. */
export interface EncodedIndex extends Pick<RunIndexFile, 'rowGroups'> {
  readonly bytes: Uint8Array
}

/**
 * Gathers the items of the row groups of a run, in their order: sixteen bytes an item, and a place a row group. Each item has a
 * pair with its first row group, and one with its last, where that is another.
 */
export class RunIndexBuilder {
  readonly #hasher: ItemHasher
  readonly #places: RowGroupPlace[] = []
  readonly #pairs = new PairList()
  /** The item of the last row so far, behind its prefix. */
  #item: Buffer = Buffer.alloc(0)
  #itemBytes = -1
  #hash = 0
  /** Number of the pair with the last row group of that item; -1: it has none but the first. */
  #last = -1

  constructor(run: Ulid) {
    this.#hasher = new ItemHasher(run)
  }

  /** Takes the items of the next row group, of which the kinds, the resources, the ids and the stamps were read. */
  add(place: RowGroupPlace, group: RowGroup): void {
    this.#places.push(place)
    const [kinds, resources, ids] = [group.codes('kind'), group.codes('resource'), group.bytes('record_id')]
    const ulids = group.bytes('ulid')
    const prefixes = new Map<number, Uint8Array>()
    for (let row = 0; row < group.rows; row++) {
      if (row > 0 && isSameItem(kinds, resources, ids, row)) continue
      // Of an item the stamps grow from row to row.
      const time = ulidTimeAt(ulids.data, ulids.starts[row] ?? 0)
      this.#addItem(this.#prefixOf(prefixes, kinds, resources, row), ids, row, time)
    }
  }

  /** Takes the next row groups with their pairs, which are numbered from 0 in `part`. */
  addPart({ pairs, places }: RunIndex): void {
    const first = this.#places.length
    for (const [i, group] of pairs.groups.entries())
      this.#pairs.push(pairs.hashes[i] ?? 0, first + rowGroupIn(group, pairs), timeIn(group, pairs))
    for (const place of places) this.#places.push(place)
    this.#itemBytes = -1
  }

  /** Takes the next row groups from another, with what it has gathered. */
  addAll(other: RunIndexBuilder): void {
    this.#pairs.addAll(other.#pairs, this.#places.length)
    for (const place of other.#places) this.#places.push(place)
    this.#itemBytes = -1
  }

  #prefixOf(known: Map<number, Uint8Array>, kinds: CodedValues, resources: CodedValues, row: number): Uint8Array {
    const [kind = -1, resource = -1] = [kinds.codes[row], resources.codes[row]]
    const code = resource * KINDS.length + kind
    const prefix =
      known.get(code) ??
      this.#hasher.prefix(NAMES.indexOf(kinds.values[kind] ?? ''), Buffer.from(resources.values[resource] ?? ''))
    known.set(code, prefix)
    return prefix
  }

  #addItem(prefix: Uint8Array, { data, starts, ends }: ByteValues, row: number, time: number): void {
    const rowGroup = this.#places.length - 1
    const id = data.subarray(starts[row], ends[row])
    const before = this.#itemBytes < 0 ? null : this.#item.subarray(0, this.#itemBytes)
    const isNew = before === null || !isJoined(before, prefix, id)
    if (!isNew) {
      // The item of the last row of the row group before goes on here.
      if (this.#last < 0) this.#last = this.#pairs.push(this.#hash, rowGroup, time)
      else this.#pairs.move(this.#last, rowGroup, time)
      return
    }
    this.#itemBytes = prefix.length + id.length
    if (this.#itemBytes > this.#item.length) this.#item = Buffer.alloc(2 * this.#itemBytes)
    this.#item.set(prefix)
    this.#item.set(id, prefix.length)
    this.#hash = hashOf(this.#item.subarray(0, this.#itemBytes))
    this.#pairs.push(this.#hash, rowGroup, time)
    this.#last = -1
  }

  /** How many row groups were taken so far. */
  get rowGroups(): number {
    return this.#places.length
  }

  /** What was gathered so far. */
  index(): RunIndex {
    return { pairs: this.#sorted(), places: this.#places }
  }

  /** Whether pairs tell of no item a time that is later than its first event: see `PairList.isBehind`. */
  isBehind(told: Pairs): boolean {
    return this.#pairs.isBehind(told)
  }

  /** The index for a file with this key. Errors: `LIMIT_EXCEEDED`. */
  finish(key: string): EncodedIndex {
    const pairs = this.#sorted()
    const counts = countsOf(pairs)
    const buckets = counts.length
    const blocks = buckets + Math.ceil(this.#places.length / BLOCK_PLACES)
    if (blocks * BLOCK_BYTES > LIMITS.runIndexBytes || this.#places.length > LIMITS.runEvents) throw tooLarge(key)
    const bytes = Buffer.alloc(blocks * BLOCK_BYTES)
    let next = 0
    for (const [bucket, count] of counts.entries()) {
      writeBucket(bytes.subarray(bucket * BLOCK_BYTES), pairs, next, next + count)
      next += count
    }
    for (let from = 0, at = buckets * BLOCK_BYTES; from < this.#places.length; from += BLOCK_PLACES, at += BLOCK_BYTES)
      writePlaces(bytes, at, this.#places.slice(from, from + BLOCK_PLACES))
    for (let block = 0; block < blocks; block++) {
      const at = block * BLOCK_BYTES
      bytes.writeUInt32LE(blockChecksum(key, block, bytes.subarray(at, at + BLOCK_BYTES)), at)
    }
    return { bytes, rowGroups: this.#places.length }
  }

  #sorted(): Pairs {
    return this.#pairs.sorted(this.#pairs.scale(this.#places.length))
  }
}

function isSameItem(kinds: CodedValues, resources: CodedValues, ids: ByteValues, row: number): boolean {
  const before = row - 1
  return (
    kinds.codes[row] === kinds.codes[before] &&
    resources.codes[row] === resources.codes[before] &&
    ids.same(row, before)
  )
}

function isJoined(whole: Buffer, prefix: Uint8Array, id: Uint8Array): boolean {
  return (
    whole.length === prefix.length + id.length &&
    whole.subarray(0, prefix.length).equals(prefix) &&
    whole.subarray(prefix.length).equals(id)
  )
}

/** How many pairs each bucket has, in so few buckets that they are well filled. */
function countsOf({ hashes }: Pairs): Uint32Array {
  for (let buckets = Math.max(1, Math.ceil(hashes.length / AIMED_PAIRS)); ; ) {
    const counts = new Uint32Array(buckets)
    for (const hash of hashes) {
      const bucket = bucketOf(hash, buckets)
      counts[bucket] = (counts[bucket] ?? 0) + 1
    }
    if (counts.every((count) => count <= BUCKET_PAIRS)) return counts
    buckets += Math.ceil(buckets * MORE_BUCKETS)
  }
}

function writePlaces(bytes: Buffer, block: number, places: readonly RowGroupPlace[]): void {
  bytes.writeUInt32LE(places.length, block + 4)
  for (const [i, { start, bytes: length, rows, checksum, file, compressed }] of places.entries()) {
    let at = block + BLOCK_HEAD_BYTES + i * PLACE_BYTES
    for (const value of [start, length, rows, checksum]) at = bytes.writeUInt32LE(value, at)
    at = bytes.writeUInt16LE(file, at)
    bytes.writeUInt16LE(compressed, at)
  }
}

function tooLarge(key: string): TidemarkError {
  return new TidemarkError(
    'LIMIT_EXCEEDED',
    `The index ${key} would be larger than any reader takes. Nothing was changed.`,
    {
      hint: 'The segments stay as they are, and can be read: nothing has to be done. Tell us of it.',
      details: { key },
    },
  )
}
