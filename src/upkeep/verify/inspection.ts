import { createHash, hash } from 'node:crypto'
import { sha256 } from '../../base/bytes.ts'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import type { ObjectStore } from '../../store/object-store.ts'
import { wrongContent } from '../segment-check.ts'
import { type ExpectedFile, ReadAhead } from './read-ahead.ts'

/** Something that is wrong with the store. */
export interface Damage {
  /** The file, or the stream where no single file is to blame. */
  readonly key: string
  readonly code: string
  readonly message: string
}

/** Reports each file as it is read. */
export type OnFile = (key: string, bytes: number) => void
/** Is given what is wrong as it is found. */
export type OnDamage = (damage: Damage) => Promise<void> | void

/** What is named in a result; there may be more. */
export const MOST_NAMED = 1000

/** Larger files are hashed in parts of this many bytes. */
const PART_BYTES = 8 * 1024 * 1024

/** A file can have any number in its name, and so say that a trillion before it are missing. */
const MOST_MISSING = 100

/** Reads the files of a store, and tells what is wrong with them: the same thing once, however many checks meet it. */
export class Inspection {
  readonly #store: ObjectStore
  readonly #files: ReadAhead
  readonly #listed: ReadonlyMap<string, number>
  readonly #onFile: OnFile
  readonly #onDamage: OnDamage
  readonly #named: Damage[] = []
  /** Hashes of what was told, and of the keys of the files that it was about. */
  readonly #told = new Set<bigint>()
  readonly #keys = new Set<bigint>()
  #telling: Promise<unknown> = Promise.resolve()
  files = 0
  bytes = 0

  /** `listed`: how long the files of the store are, as it says itself. What is not among them is not read ahead. */
  constructor(
    store: ObjectStore,
    onFile: OnFile,
    onDamage: OnDamage = () => {},
    listed: ReadonlyMap<string, number> = new Map(),
  ) {
    this.#store = store
    this.#files = new ReadAhead(store)
    this.#listed = listed
    this.#onFile = onFile
    this.#onDamage = onDamage
  }

  /** The first 1,000. */
  get damage(): readonly Damage[] {
    return this.#named
  }

  /** How many there are. */
  get damaged(): number {
    return this.#told.size
  }

  /** Whether something was found to be wrong with a file so far. */
  isDamaged(key: string): boolean {
    return this.#keys.has(hashOf(key))
  }

  /**
   * What `read` and `expectHash` are asked for next, in this order. What is under way is counted by what the store says that it
   * has: what is said of a file elsewhere may be less.
   */
  expect(keys: Iterable<string>): void {
    this.#files.expect(this.#aheadOf(keys))
  }

  *#aheadOf(keys: Iterable<string>): Generator<ExpectedFile> {
    for (const key of keys) {
      const bytes = this.#listed.get(key)
      if (bytes !== undefined && bytes <= PART_BYTES) yield { key, bytes }
    }
  }

  /** A whole file. Errors: those of the store. */
  async read(key: string): Promise<Uint8Array> {
    const bytes = await this.#files.read(key)
    this.count(key, bytes.length)
    return bytes
  }

  /** Reads a file of `listed` bytes, a large one in parts. Errors: `OBJECT_CORRUPT` where its SHA-256 is another one, or it is missing. */
  async expectHash(key: string, listed: number | undefined, expected: string): Promise<void> {
    const bytes = listed ?? (await this.#store.head(key))?.bytes // a listing may be behind
    if (bytes === undefined) throw missing(key)
    const found = bytes <= PART_BYTES ? sha256(await this.#files.read(key)) : await this.#hashOfParts(key, bytes)
    this.count(key, bytes)
    if (found !== expected) throw wrongHash(key)
  }

  async #hashOfParts(key: string, bytes: number): Promise<string> {
    const sum = createHash('sha256')
    for (let start = 0; start < bytes; start += PART_BYTES) {
      sum.update(await this.#store.get(key, { start, end: Math.min(bytes, start + PART_BYTES) }))
    }
    return sum.digest('hex')
  }

  /** Runs a check; what it throws is damage of the file that the error names, or else of `key`. */
  async guard(key: string, check: () => Promise<void>): Promise<boolean> {
    try {
      await check()
      return true
    } catch (error) {
      if (error instanceof TidemarkError && error.retriable) throw error
      this.found(key, error)
      return false
    } finally {
      await this.told()
    }
  }

  /** Whoever is told of the damage has heard of all of it. */
  async told(): Promise<void> {
    await this.#telling
  }

  found(key: string, error: unknown): void {
    const known = error instanceof TidemarkError ? error : null
    const named = known?.details.key
    const file = typeof named === 'string' ? named : key
    const message = messageOf(error)
    this.#keys.add(hashOf(file))
    const told = hashOf(JSON.stringify([file, message]))
    if (this.#told.has(told)) return
    this.#told.add(told)
    const damage = { key: file, code: known?.code ?? 'OBJECT_CORRUPT', message }
    if (this.#named.length < MOST_NAMED) this.#named.push(damage)
    this.#telling = Promise.all([this.#telling, this.#onDamage(damage)])
    this.#telling.catch(() => {}) // thrown where it is awaited
  }

  /** Names the files of a numbered series from `first` up to, not with, `end`: each, or of very many the first. */
  hole(first: number, end: number, keyOf: (number: number) => string): void {
    const named = Math.min(end, first + MOST_MISSING)
    for (let number = first; number < named; number++) this.found(keyOf(number), missing(keyOf(number)))
    if (named < end) this.found(keyOf(named), missing(keyOf(named), ` and so are the ${end - named - 1} after it`))
  }

  /** A file that somebody has read. */
  count(key: string, bytes: number): void {
    this.files++
    this.bytes += bytes
    this.#onFile(key, bytes)
  }
}

/** The error for a file whose hash is not the one in another file. */
export function wrongHash(key: string): TidemarkError {
  return wrongContent(key, 'its SHA-256 is not the one that was noted when it was written')
}

/** The error for a file that should be there. */
export function missing(key: string, more = ''): TidemarkError {
  return wrongContent(key, `it is missing${more}`)
}

function hashOf(text: string): bigint {
  return hash('sha256', text, 'buffer').readBigUInt64LE(0)
}
