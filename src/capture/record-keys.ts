import { hasCode, TidemarkError } from '../base/errors.ts'
import { KEYRING_PREFIX, keyringKey, parseKeyringKey } from '../format/keys.ts'
import { type KeyedRecord, Keyring } from '../format/record-keys/keyring.ts'
import { openImage } from '../format/record-keys/sealed-image.ts'
import type { Image, Item } from '../model/event.ts'
import type { Timeline } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import { claimGeneration } from '../store/generations.ts'
import { type Keeping, keepingNow } from '../store/keeping.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { TimelineLog } from '../timeline/log.ts'

const NAMES = { prefix: KEYRING_PREFIX, name: keyringKey, parse: parseKeyringKey }

/** The generation of the keyring that the last erasure made; that of a new store is 1. */
export function keyringGeneration({ erasures }: Timeline): number {
  return erasures.reduce((last, { keyring = 1 }) => Math.max(last, keyring), 1)
}

/** Where the keyring of a store is. */
export interface RecordKeysSeams {
  /** A place that allows deletion: what is deleted there is gone. */
  readonly keys: ObjectStore
  /** Of that place, for people. */
  readonly name: string
  /** Id of the store whose records the keys are for. */
  readonly store: Ulid
  readonly timeline: TimelineLog
}

/**
 * The keys of the records of a store. Which generation of the keyring is in force is what the timeline says; other files
 * beside it are of erasures that were not committed, or whose last step is still to come.
 */
export class RecordKeys {
  readonly #seams: RecordKeysSeams
  #keyring: Keyring | null = null

  constructor(seams: RecordKeysSeams) {
    this.#seams = seams
  }

  /** Makes the first keyring, where the store is so new that nothing can have been sealed with another. */
  async create(): Promise<void> {
    const { keys, store, timeline } = this.#seams
    if (timeline.timeline.generation > 0) return
    await claimGeneration(keys, NAMES, 1, Keyring.create(store).encode())
  }

  /**
   * The keyring in force, as far as the timeline was read. A copy of a store from before an erasure names one that was
   * destroyed since: then it is the next that exists. Errors: `RECORD_KEYS_LOST`.
   */
  async current(): Promise<Keyring> {
    const { timeline } = this.#seams
    for (;;) {
      const named = keyringGeneration(timeline.timeline)
      if (this.#keyring !== null && this.#keyring.generation >= named) return this.#keyring
      const found = await this.read(named)
      if (found === null && keyringGeneration(await timeline.refresh()) > named) continue
      this.#keyring = found ?? (await this.#nextAfter(named))
      return this.#keyring
    }
  }

  /** The image of a record as it was captured, or null where the record was erased. `current` must have been called. */
  open(item: Item, image: Image): Image | null {
    if (item.kind !== 'record') return image
    if (this.#keyring === null) throw new Error('the record keys were not read')
    const opened = openImage(this.#keyring, item, image)
    if (opened === 'erased') return null
    if (opened !== 'damaged') return opened
    throw new TidemarkError(
      'OBJECT_CORRUPT',
      `An image of ${item.resource}/${item.id} does not open with the key of its record: it is not what was sealed.`,
      { hint: 'Run `tidemark verify`, which names the file; put it back from a copy of the store.' },
    )
  }

  /** A generation of the keyring, or null where there is no such file. Errors: `RECORD_KEYS_LOST` for a damaged one. */
  async read(generation: number): Promise<Keyring | null> {
    const { keys, store } = this.#seams
    let bytes: Uint8Array
    try {
      bytes = await keys.get(keyringKey(generation))
    } catch (error) {
      if (hasCode(error, 'OBJECT_NOT_FOUND')) return null
      throw error
    }
    const keyring = Keyring.decode(bytes)
    if (keyring === null || keyring.generation !== generation) throw this.#lost(generation, 'is damaged')
    if (keyring.store !== store) throw this.#lost(generation, 'is of another store')
    return keyring
  }

  /**
   * Puts the keyring without one life of a record as the next generation that is free, and reads it back. Nothing uses
   * it before the timeline names it, and only the timeline that names its base may. Null where the base has gone because
   * another erasure has put its own in force. Errors: `RECORD_KEYS_LOST`.
   */
  async propose(base: Keyring, name: KeyedRecord, incarnation: number): Promise<Keyring | null> {
    const { keys } = this.#seams
    const isThere = (await this.read(base.generation)) !== null
    const taken = await this.generations()
    // Where its disk is not mounted, the new one would go with what is in the place of it, and the timeline would name it.
    if (!isThere && taken.every((other) => other < base.generation)) throw this.#lost(base.generation, 'is not there')
    if (!isThere) return null
    for (let generation = Math.max(base.generation, ...taken) + 1; ; generation++) {
      const wanted = base.without(name, incarnation, generation)
      if (!(await claimGeneration(keys, NAMES, generation, wanted.encode()))) continue
      const stored = await this.read(generation)
      if (stored?.base === base.generation && stored.keyOfLife(name, incarnation) === null) return stored
      throw this.#lost(generation, 'does not read back as it was put')
    }
  }

  /** What the place keeps of keyrings that are deleted: with one of these, what was erased can be read. */
  async keeping(): Promise<Keeping> {
    return keepingNow(this.#seams.keys, (await this.generations()).map(keyringKey))
  }

  /** Every generation that there is a file of, ascending. */
  async generations(): Promise<readonly number[]> {
    const found: number[] = []
    for await (const { key } of this.#seams.keys.list(KEYRING_PREFIX)) {
      const generation = parseKeyringKey(key)
      if (generation !== null) found.push(generation)
    }
    return found
  }

  /**
   * Destroys every keyring that no timeline will name any more: all but the one in force, which is read first, and those
   * that were made from it, which an erasure may be about to commit. Returns how many there were. Errors:
   * `RECORD_KEYS_LOST`; `ERASURE_INCOMPLETE` where one that was deleted is still there.
   */
  async destroyOld(): Promise<number> {
    const { keys, timeline } = this.#seams
    await timeline.refresh()
    const { generation, base } = await this.current()
    if ((await this.read(generation)) === null) throw this.#lost(generation, 'is not there')
    const there = new Set(await this.generations())
    // What it was made from may be so new that no listing shows it yet.
    if (base > 0 && !there.has(base) && (await this.#exists(base))) there.add(base)
    const old: number[] = []
    for (const other of there) {
      if (other === generation) continue
      if (other < generation || ((await this.read(other))?.base ?? 0) < generation) old.push(other)
    }
    await keys.delete(old.map(keyringKey))
    const left = (await this.generations()).find((other) => old.includes(other))
    if (left === undefined) return old.length
    throw this.#incomplete(left, 'was deleted and is still there', 'See what keeps deleted files there, and run')
  }

  /**
   * What is wrong with the place of the keyring, although everything can be read: a keyring from before an erasure that
   * was broken off in its last step, or that somebody put back; null where there is none.
   */
  async unfinished(): Promise<TidemarkError | null> {
    const { generation } = await this.current()
    const older = (await this.generations()).find((other) => other < generation)
    return older === undefined ? null : this.#incomplete(older, 'is from before an erasure', 'Run')
  }

  #incomplete(generation: number, what: string, todo: string): TidemarkError {
    const key = keyringKey(generation)
    return new TidemarkError(
      'ERASURE_INCOMPLETE',
      `The keyring ${key} at ${this.#seams.name} ${what}: what was erased can be read with it.`,
      { hint: `${todo} the erasure again.`, details: { key } },
    )
  }

  async #exists(generation: number): Promise<boolean> {
    return (await this.#seams.keys.head(keyringKey(generation))) !== null
  }

  async #nextAfter(generation: number): Promise<Keyring> {
    const later = (await this.generations()).find((other) => other > generation)
    const found = later === undefined ? null : await this.read(later)
    return found ?? Promise.reject(this.#lost(generation, 'is not there'))
  }

  #lost(generation: number, what: string): TidemarkError {
    const key = keyringKey(generation)
    return new TidemarkError(
      'RECORD_KEYS_LOST',
      `The keyring ${key} at ${this.#seams.name} ${what}. Without it no record of the store can be read; nothing was changed.`,
      {
        hint: 'Give the place of the keyring that belongs to this store (recordKeys, TIDEMARK_RECORD_KEYS), and see that it is whole.',
        details: { key },
      },
    )
  }
}
