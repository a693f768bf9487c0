import { hash } from 'node:crypto'
import { fingerprint, type Image, type Item } from '../../model/event.ts'
import type { SnapshotEntry } from '../../model/timeline.ts'
import { MIN_ULID, type Ulid } from '../../model/ulid.ts'
import type { ObjectStore } from '../../store/object-store.ts'
import { RowParts } from '../row-parts.ts'

/** A snapshot, and the one before it that it is compared with. */
export interface SnapshotPair {
  readonly previous: SnapshotEntry
  readonly entry: SnapshotEntry
}

/** What an item of a snapshot or an event costs in memory while it is compared, bytes. */
const ROW_MEMORY = 400
/** Each part has a buffer: together they take no more than a quarter of the memory, however many rows a timeline promises. */
const PART_MEMORY = 4 * 64 * 1024
const LEAST_PARTS = 64
const HASH_BYTES = 32
const ULID_BYTES = 26
/** Name, stamp, number of the snapshot or 0 of an event, whether there is an image, and its hash. */
const ROW_BYTES = HASH_BYTES + ULID_BYTES + 4 + 1 + HASH_BYTES
const NUMBER_AT = HASH_BYTES + ULID_BYTES

/** What is known of an item: its events in any order, and its images in snapshots, by their numbers; null: deleted. */
interface Said {
  readonly events: (readonly [ulid: string, image: string | null])[]
  readonly snapshots: Map<number, string>
}

/**
 * What the snapshots and the events of a store say of each item, by the hashes of its name and of its images: so that every
 * file has to be read once only, whatever it is compared with. Memory: as `RowParts`.
 */
export class KnownStates {
  readonly #rows: RowParts
  /** By prefix. */
  readonly #numbers: ReadonlyMap<string, number>
  readonly #first: Ulid
  readonly #last: Ulid
  readonly #row = Buffer.alloc(ROW_BYTES)

  /** `rows`: of all snapshots and events. */
  constructor(snapshots: readonly SnapshotEntry[], rows: number, memory: number, scratch: () => ObjectStore) {
    // One snapshot alone is compared with nothing.
    const wanted = snapshots.length < 2 ? 1 : Math.ceil((rows * ROW_MEMORY) / memory)
    const most = Math.max(LEAST_PARTS, Math.floor(memory / PART_MEMORY))
    this.#rows = new RowParts(scratch, 'states', Math.max(1, Math.min(wanted, most)), ROW_BYTES)
    this.#numbers = new Map(snapshots.map(({ prefix }, i) => [prefix, i + 1]))
    this.#first = snapshots[0]?.ulid ?? MIN_ULID
    this.#last = snapshots.length < 2 ? MIN_ULID : (snapshots.at(-1)?.ulid ?? MIN_ULID)
  }

  /** Whether there is anything to be compared. */
  get areCompared(): boolean {
    return this.#last > this.#first
  }

  async addEvent(item: Item, ulid: Ulid, after: Image | null): Promise<void> {
    if (ulid > this.#first && ulid <= this.#last) await this.#add(item, ulid, 0, fingerprint(after))
  }

  /** Decodes the image in any case, so that one that is damaged is found. */
  async addState(item: Item, { ulid, prefix }: SnapshotEntry, image: Image): Promise<void> {
    const hashed = fingerprint(image)
    if (this.areCompared) await this.#add(item, ulid, this.#numbers.get(prefix) ?? 0, hashed)
  }

  /** Those whose second snapshot is not what the first one and the events between them give. Once, when all is added. */
  async differing(pairs: readonly SnapshotPair[]): Promise<ReadonlySet<SnapshotPair>> {
    const wrong = new Set<SnapshotPair>()
    for (let part = 0; part < this.#rows.count; part++) {
      for (const known of (await this.#known(part)).values()) {
        for (const pair of pairs) if (!wrong.has(pair) && !this.#agrees(pair, known)) wrong.add(pair)
      }
      await this.#rows.drop(part)
    }
    return wrong
  }

  #agrees({ previous, entry }: SnapshotPair, { events, snapshots }: Said): boolean {
    let last = ''
    let expected = this.#imageIn(previous, snapshots)
    for (const [ulid, image] of events) {
      if (ulid <= previous.ulid || ulid > entry.ulid || ulid <= last) continue
      last = ulid
      expected = image
    }
    return expected === this.#imageIn(entry, snapshots)
  }

  #imageIn({ prefix }: SnapshotEntry, snapshots: Said['snapshots']): string | null {
    return snapshots.get(this.#numbers.get(prefix) ?? 0) ?? null
  }

  async #known(part: number): Promise<Map<string, Said>> {
    const all = new Map<string, Said>()
    for await (const row of this.#rows.rows(part)) {
      const name = row.toString('latin1', 0, HASH_BYTES)
      const known: Said = all.get(name) ?? { events: [], snapshots: new Map() }
      all.set(name, known)
      const image = row[NUMBER_AT + 4] === 1 ? row.toString('latin1', NUMBER_AT + 5) : null
      const number = row.readUInt32LE(NUMBER_AT)
      if (number === 0) known.events.push([row.toString('latin1', HASH_BYTES, NUMBER_AT), image])
      else if (image !== null) known.snapshots.set(number, image)
    }
    return all
  }

  async #add({ kind, resource, id }: Item, ulid: Ulid, number: number, image: Uint8Array): Promise<void> {
    const row = this.#row
    // Before anything is awaited, and copied by then: there is one row for all.
    hash('sha256', JSON.stringify([kind, resource, id]), 'buffer').copy(row)
    row.write(ulid, HASH_BYTES, 'latin1')
    row.writeUInt32LE(number, NUMBER_AT)
    row[NUMBER_AT + 4] = image.length === 0 ? 0 : 1
    row.fill(0, NUMBER_AT + 5).set(image, NUMBER_AT + 5)
    await this.#rows.add(row)
  }
}
