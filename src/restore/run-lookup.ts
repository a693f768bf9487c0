import { Kept } from '../base/kept.ts'
import { parseRunFileKey } from '../format/keys.ts'
import { ItemHasher } from '../format/segment/item-hash.ts'
import {
  BLOCK_BYTES,
  BLOCK_PLACES,
  bucketOf,
  checkBlock,
  type FoundItem,
  findInBucket,
  layoutOf,
  placeBlockOf,
  placesIn,
  type RowGroupPlace,
  type RowGroupRange,
} from '../format/segment/run-index.ts'
import type { Item } from '../model/event.ts'
import type { RunIndexFile } from '../model/timeline.ts'
import type { ObjectStore } from '../store/object-store.ts'

/** An index up to this size is read as a whole: another request costs more than these bytes. */
const WHOLE_BYTES = 16 * 1024
/** The same where other items are looked up in the run too; of a larger one, its places up to this size: those of a million events. */
const SHARED_BYTES = 128 * 1024
/** Blocks of indexes that are kept. */
const KEPT_BYTES = 16 * 1024 * 1024
/** What a block takes beside its bytes. */
const BLOCK_OVERHEAD = 256

/** Whether a lookup is for one item alone, or others are looked up in the same run next. */
export type NextLookups = 'none' | 'others'

/** Looks items up in the indexes of runs; the blocks that were read last are kept, since indexes never change. */
export class RunLookup {
  readonly #store: Pick<ObjectStore, 'get'>
  readonly #kept = new Kept<Promise<Uint8Array>>(KEPT_BYTES)

  constructor(store: Pick<ObjectStore, 'get'>) {
    this.#store = store
  }

  /**
   * Where a run may have events of an item, and from when on; null: it certainly has none. One request of some kilobytes; a small
   * index is known as a whole then. Errors: `SEGMENT_CORRUPT`, and those of the store.
   */
  async find(index: RunIndexFile, item: Item, next: NextLookups): Promise<FoundItem | null> {
    const { buckets } = layoutOf(index)
    const hash = new ItemHasher(parseRunFileKey(index.key)?.run ?? '').hash(item)
    const bucket = bucketOf(hash, buckets)
    const [block] = await this.#blocks(index, [bucket, bucket], next)
    return block === undefined ? null : findInBucket(index, bucket, block, hash)
  }

  /** Where row groups of a run are, in order. One request, unless they are known: with `others`, those of every item are then. Errors: as above. */
  async places(
    index: RunIndexFile,
    [first, last]: RowGroupRange,
    next: NextLookups,
  ): Promise<readonly RowGroupPlace[]> {
    const layout = layoutOf(index)
    const isAll = next === 'others' && layout.placeBlocks * BLOCK_BYTES <= SHARED_BYTES
    const from = isAll ? layout.buckets : placeBlockOf(first, layout)
    const to = isAll ? layout.buckets + layout.placeBlocks - 1 : placeBlockOf(last, layout)
    const blocks = await this.#blocks(index, [from, to], next)
    const places = blocks.flatMap((bytes, i) => placesIn(index, from + i, bytes))
    const start = first - (from - layout.buckets) * BLOCK_PLACES
    return places.slice(start, start + last - first + 1)
  }

  /** The blocks from one to another. */
  async #blocks(
    index: RunIndexFile,
    [from, to]: readonly [from: number, to: number],
    next: NextLookups,
  ): Promise<readonly Uint8Array[]> {
    const isSmall = index.bytes <= (next === 'others' ? SHARED_BYTES : WHOLE_BYTES)
    const missing = numbers(from, to).filter((number) => this.#kept.get(nameOf(index, number)) === undefined)
    const [first, last] = [missing[0], missing.at(-1)]
    if (first !== undefined && last !== undefined) {
      if (isSmall) this.#read(index, 0, index.bytes / BLOCK_BYTES - 1)
      else this.#read(index, first, last)
    }
    return Promise.all(
      numbers(from, to).map((number) => this.#kept.get(nameOf(index, number)) ?? this.#one(index, number)),
    )
  }

  /** Reads blocks that follow one another by one request; each is kept by itself. */
  #read(index: RunIndexFile, first: number, last: number): void {
    const read = this.#store.get(index.key, { start: first * BLOCK_BYTES, end: (last + 1) * BLOCK_BYTES })
    for (const number of numbers(first, last)) {
      const block = read.then((bytes) => checked(index, number, bytes.subarray((number - first) * BLOCK_BYTES)))
      block.catch(() => this.#kept.forget(nameOf(index, number))) // whoever waits has the error; the next one tries again
      this.#kept.keep(nameOf(index, number), block, BLOCK_BYTES + BLOCK_OVERHEAD)
    }
  }

  /** What was read and let go before it was used: more than is kept at once. */
  async #one(index: RunIndexFile, number: number): Promise<Uint8Array> {
    const start = number * BLOCK_BYTES
    return checked(index, number, await this.#store.get(index.key, { start, end: start + BLOCK_BYTES }))
  }
}

function checked(index: RunIndexFile, number: number, bytes: Uint8Array): Uint8Array {
  // A copy: what was read beside it is not kept with it.
  const block = new Uint8Array(bytes.subarray(0, BLOCK_BYTES))
  checkBlock(index, number, block)
  return block
}

function nameOf({ key }: RunIndexFile, number: number): string {
  return `${key} ${number}`
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i)
}
