import { sha256 } from '../base/bytes.ts'
import { openSegment, type SegmentReader } from '../format/segment/read.ts'
import type { RowGroup } from '../format/segment/row-group.ts'
import { decodeIndex, type RowGroupPlace, type RunIndex } from '../format/segment/run-index.ts'
import { RunIndexBuilder } from '../format/segment/run-index-builder.ts'
import { type Pairs, rowGroupIn, timedGroup, timeIn } from '../format/segment/run-index-pairs.ts'
import type { RunIndexFile, SegmentFile } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { type OnRowGroup, wrongContent } from './segment-check.ts'

/** Columns that say which item a row is about, and when it was. */
const ITEM_COLUMNS = ['kind', 'resource', 'record_id', 'ulid'] as const

/** The bytes of an index, and what the timeline says of it. */
export interface MadeIndex {
  readonly bytes: Uint8Array
  readonly file: RunIndexFile
}

/** Gathers what the index of a run must say, from its files, in any order. */
export class RunItems {
  readonly #run: Ulid
  readonly #files = new Map<number, RunIndexBuilder>()

  constructor(run: Ulid) {
    this.#run = run
  }

  /** Takes a row group of a file; those of one file come in their order. */
  readonly add: OnRowGroup = (reader: SegmentReader, index: number, group: RowGroup): void => {
    const place = reader.placeOf(index)
    this.#of(place.file).add(place, group)
  }

  /** Takes the row groups of a file whose bytes are there. Errors: `SEGMENT_CORRUPT`. */
  async addFile({ key, footer }: Pick<SegmentFile, 'key' | 'footer'>, bytes: Uint8Array): Promise<void> {
    const read = async (start: number, end: number): Promise<Uint8Array> => bytes.subarray(start, end)
    const reader = await openSegment({ name: key, bytes: bytes.length, footer, read })
    for (const index of reader.rowGroups.keys()) this.add(reader, index, await reader.readRowGroup(index, ITEM_COLUMNS))
  }

  /** Takes what another index has of a file. */
  addPart(file: number, part: RunIndex): void {
    this.#of(file).addPart(part)
  }

  /** Takes what others have gathered of other files. */
  addAll(others: RunItems): void {
    for (const [file, builder] of others.#files) this.#of(file).addAll(builder)
  }

  /** The index of all files, for a file with this key. Errors: `LIMIT_EXCEEDED`. */
  make(key: string): MadeIndex {
    const { bytes, rowGroups } = this.#whole().finish(key)
    return { bytes, file: { key, bytes: bytes.length, sha256: sha256(bytes), rowGroups } }
  }

  /** How many row groups were gathered so far. */
  get rowGroups(): number {
    return [...this.#files.values()].reduce((sum, { rowGroups }) => sum + rowGroups, 0)
  }

  /** Whether an index says of every item where it is and from when on, and nothing else. */
  isToldBy({ pairs, places }: RunIndex): boolean {
    const builder = this.#whole()
    const whole = builder.index()
    const isPlaced = places.length === whole.places.length && places.every((place, i) => isSame(place, whole.places[i]))
    if (!isPlaced) return false
    const [own, other] = [rangesOf(whole.pairs), rangesOf(pairs)]
    for (;;) {
      const [a, b] = [own.next(), other.next()]
      // An earlier time costs a reader a request; a later one would hide an event.
      if (a.done === true || b.done === true) return a.done === b.done && builder.isBehind(pairs)
      if (a.value.hash !== b.value.hash || a.value.first !== b.value.first || a.value.last !== b.value.last)
        return false
    }
  }

  #of(file: number): RunIndexBuilder {
    const known = this.#files.get(file) ?? new RunIndexBuilder(this.#run)
    this.#files.set(file, known)
    return known
  }

  #whole(): RunIndexBuilder {
    const [only] = this.#files.values()
    if (this.#files.size === 1 && only !== undefined) return only
    const whole = new RunIndexBuilder(this.#run)
    for (const [, file] of [...this.#files].sort(([a], [b]) => a - b)) whole.addAll(file)
    return whole
  }
}

const PLACE = ['file', 'start', 'bytes', 'rows', 'checksum', 'compressed'] as const

function isSame(a: RowGroupPlace, b: RowGroupPlace | undefined): boolean {
  return PLACE.every((member) => a[member] === b?.[member])
}

/** What is told of a hash. */
interface HashRange {
  readonly hash: number
  readonly first: number
  readonly last: number
}

/** Of every hash its first and its last row group, between which there may be more. */
function* rangesOf(pairs: Pairs): Generator<HashRange> {
  const { hashes, groups } = pairs
  for (let at = 0; at < hashes.length; ) {
    const hash = hashes[at] ?? 0
    const first = at
    while (at < hashes.length && hashes[at] === hash) at++
    yield { hash, first: rowGroupIn(groups[first] ?? 0, pairs), last: rowGroupIn(groups[at - 1] ?? 0, pairs) }
  }
}

/** Reads a whole index. Errors: `OBJECT_CORRUPT`, `SEGMENT_CORRUPT`, and those of the store. */
export async function readRunIndex(store: Pick<ObjectStore, 'get'>, file: RunIndexFile): Promise<RunIndex> {
  const bytes = await store.get(file.key)
  if (sha256(bytes) !== file.sha256) throw wrongContent(file.key, 'it is not what was written')
  return decodeIndex(file, bytes)
}

/** What an index has of each file, with row groups that are numbered from 0 in it. */
export function partsOfIndex({ pairs, places }: RunIndex): ReadonlyMap<number, RunIndex> {
  const firsts = new Map<number, number>()
  for (const [rowGroup, { file }] of places.entries()) if (!firsts.has(file)) firsts.set(file, rowGroup)
  const byFile = new Map<number, { readonly hashes: number[]; readonly groups: number[] }>()
  for (const [i, group] of pairs.groups.entries()) {
    const file = places[rowGroupIn(group, pairs)]?.file ?? 0
    const own = byFile.get(file) ?? { hashes: [], groups: [] }
    own.hashes.push(pairs.hashes[i] ?? 0)
    own.groups.push(timedGroup(rowGroupIn(group, pairs) - (firsts.get(file) ?? 0), timeIn(group, pairs), pairs))
    byFile.set(file, own)
  }
  return new Map(
    [...firsts.keys()].map((file) => {
      const { hashes, groups } = byFile.get(file) ?? { hashes: [], groups: [] }
      const own = { ...pairs, hashes: Uint32Array.from(hashes), groups: Uint32Array.from(groups) }
      return [file, { pairs: own, places: places.filter((place) => place.file === file) }]
    }),
  )
}
