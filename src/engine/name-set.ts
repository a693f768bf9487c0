import { hash } from 'node:crypto'
import type { ObjectStore } from '../store/object-store.ts'
import { ScratchSpace } from './scratch.ts'

/** How a set keeps its names. */
export interface NameSetOptions {
  /** Names that are in memory, some sixty bytes each; the others are in scratch space. Default: 250,000. */
  readonly inMemory?: number
  /** Local space, asked for only where it is needed. Absent: one of its own, which goes with `close`. */
  readonly scratch?: () => ObjectStore
}

const IN_MEMORY = 250_000
const HASH_BYTES = 8
/** Names of which one is kept in memory to find the others by: four kilobytes of them are read at a time. */
const PAGE_NAMES = 512

/** Sorted hashes in scratch space, and the first of each page of them. */
interface PutAway {
  readonly key: string
  readonly names: number
  readonly firsts: BigUint64Array
}

/**
 * A set of names, however many there are: of each, 64 bits of a hash are kept. That another name has the same is as likely as
 * not only among billions.
 */
export class NameSet {
  readonly #inMemory: number
  readonly #scratch: () => ObjectStore
  readonly #own = new ScratchSpace()
  readonly #runs: PutAway[] = []
  #names = new Set<bigint>()
  /** What is being put away, and until when. */
  #leaving: ReadonlySet<bigint> = new Set()
  #left: Promise<void> | null = null
  #failure: { readonly error: unknown } | null = null

  constructor({ inMemory = IN_MEMORY, scratch }: NameSetOptions = {}) {
    this.#inMemory = inMemory
    this.#scratch = scratch ?? (() => this.#own.store)
  }

  /** It is in the set at once; resolves when there is room for another. Never rejects: `has` does, where the set is not whole. */
  async add(name: string): Promise<void> {
    this.#names.add(hashOf(name))
    if (this.#names.size < this.#inMemory || this.#failure !== null) return
    if (this.#left !== null) await this.#left
    if (this.#left !== null || this.#names.size < this.#inMemory) return
    this.#leaving = this.#names
    this.#names = new Set()
    this.#left = this.#putAway([...this.#leaving])
    await this.#left
  }

  /** Errors: those of the scratch space, also where names could not be put there before. */
  async has(name: string): Promise<boolean> {
    const hashed = hashOf(name)
    if (this.#names.has(hashed) || this.#leaving.has(hashed)) return true
    if (this.#failure !== null) throw this.#failure.error
    for (const run of this.#runs) if (await this.#isIn(run, hashed)) return true
    return false
  }

  close(): void {
    this.#own.close()
  }

  async #putAway(names: readonly bigint[]): Promise<void> {
    try {
      const sorted = BigUint64Array.from(names).sort()
      const key = `names-${this.#runs.length}`
      await this.#scratch().put(key, Buffer.from(sorted.buffer))
      this.#runs.push({ key, names: sorted.length, firsts: sorted.filter((_, i) => i % PAGE_NAMES === 0) })
      this.#leaving = new Set()
    } catch (error) {
      this.#failure = { error } // who asks whether a name is there has it
    }
    this.#left = null
  }

  async #isIn({ key, names, firsts }: PutAway, hashed: bigint): Promise<boolean> {
    let [low, high] = [0, firsts.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((firsts[middle] ?? 0n) <= hashed) low = middle + 1
      else high = middle
    }
    if (low === 0) return false
    const start = (low - 1) * PAGE_NAMES
    const range = { start: start * HASH_BYTES, end: Math.min(names, start + PAGE_NAMES) * HASH_BYTES }
    const page = Uint8Array.from(await this.#scratch().get(key, range))
    return new BigUint64Array(page.buffer).includes(hashed)
  }
}

function hashOf(name: string): bigint {
  return hash('sha256', name, 'buffer').readBigUInt64LE(0)
}
