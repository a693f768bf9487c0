import { type Clock, systemClock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { KeySlot } from '../format/key-slot.ts'
import { isClearKey, slotKey } from '../format/keys.ts'
import type { Ulid } from '../model/ulid.ts'
import { EncryptedStore } from '../store/encryption/encrypted-store.ts'
import { type Environment, type Secret, secretFromEnvironment } from '../store/encryption/secret.ts'
import type { StoreKey } from '../store/encryption/store-key.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { TimelineLog } from '../timeline/log.ts'
import { addSlot, keyNeeded, openWith, readSlots, requireOpen, type SlotOwner, wrongKey } from './key-slots.ts'
import { type OpenStore, ownerOf, type StorePlace } from './opening.ts'
import { requireStoreFile } from './store-file.ts'

/** One of the keys that open a store. */
export interface KeyInfo {
  readonly id: Ulid
  readonly kind: 'passphrase' | 'key'
  /** RFC 3339. */
  readonly createdAt: string
}

/** What a change of the keys has done. */
export interface KeyChange {
  readonly added: readonly Ulid[]
  readonly removed: readonly Ulid[]
  /** All that open the store now. */
  readonly keys: readonly KeyInfo[]
}

/**
 * The keys that open one encrypted store. Each of them wraps the same store key, so that adding, replacing and removing
 * them leaves every file as it is. A new one is stored, read back and shown to open a file before an old one goes.
 */
export class Keys {
  readonly #stored: ObjectStore
  readonly #owner: SlotOwner
  readonly #name: string
  readonly #secret: Secret | null
  readonly #clock: Clock

  private constructor({ stored, name, secret }: StorePlace, owner: SlotOwner, clock: Clock) {
    this.#stored = stored
    this.#name = name
    this.#owner = owner
    this.#secret = secret
    this.#clock = clock
  }

  /** Errors: `STORE_NOT_FOUND`; `STORE_NOT_ENCRYPTED`; `OPTION_INVALID`. Whether the secret is right is seen later. */
  static async open(place: StorePlace, clock: Clock = systemClock): Promise<Keys> {
    const owner = ownerOf(await requireStoreFile(place.stored, place.name))
    if (owner === null) throw noKeys(place.name)
    return new Keys(place, owner, clock)
  }

  /** All keys, oldest first; no secret is needed for it. Errors: `OBJECT_CORRUPT` where one is damaged. */
  async list(): Promise<readonly KeyInfo[]> {
    const { slots, damaged } = await readSlots(this.#stored, this.#owner)
    if (damaged[0] !== undefined) throw damagedSlot(damaged[0])
    return slots.map(infoOf)
  }

  /** Adds a key. One that opens the store already is not added twice. Errors: `ENCRYPTION_KEY_*`. */
  async add(next: Secret): Promise<KeyChange> {
    const { storeKey } = await requireOpen(this.#stored, this.#owner, await this.#present())
    const { slot, isNew } = await this.#ensure(next, storeKey)
    return this.#change(isNew ? [slot.id] : [], [])
  }

  /**
   * Puts `next` in the place of the present secret. Broken off at any point, at least one of the two opens the store;
   * run again with the same two, it goes on where it was. Errors: `ENCRYPTION_KEY_*`.
   */
  async rotate(next: Secret): Promise<KeyChange> {
    const present = await this.#present()
    const { slots, damaged } = await readSlots(this.#stored, this.#owner)
    const old = await openWith(present, this.#owner, slots)
    const known = await openWith(next, this.#owner, slots)
    const storeKey = old?.storeKey ?? known?.storeKey
    if (storeKey === undefined) throw wrongKey(present, slots, damaged)
    if (old !== null && known !== null && old.slots.some(({ id }) => known.slots.some((other) => other.id === id))) {
      throw sameSecret()
    }
    const { slot, isNew } = await this.#ensure(next, storeKey)
    const removed = old?.slots.map(({ id }) => id) ?? []
    await this.#remove(removed, { secret: next, storeKey, keep: slot })
    return this.#change(isNew ? [slot.id] : [], removed)
  }

  /** Removes a key. Errors: `ENCRYPTION_KEY_LAST` unless the present secret opens the store by another one. */
  async remove(id: Ulid): Promise<KeyChange> {
    const secret = await this.#present()
    const { storeKey, slots } = await requireOpen(this.#stored, this.#owner, secret)
    const { slots: all, damaged } = await readSlots(this.#stored, this.#owner)
    const known = all.map(infoOf)
    // A damaged one opens nothing, and can go like any other.
    if (!known.some((key) => key.id === id) && !damaged.includes(slotKey(id))) throw noSuchKey(id, known)
    const keep = slots.find((slot) => slot.id !== id)
    if (keep === undefined) throw lastKey(id, known)
    await this.#proveOpens(storeKey)
    await this.#remove([id], { secret, storeKey, keep })
    return this.#change([], [id])
  }

  async #present(): Promise<Secret> {
    if (this.#secret !== null) return this.#secret
    throw keyNeeded(this.#name, await readSlots(this.#stored, this.#owner))
  }

  /** The slot of a secret, made where there is none, and shown to open what is in the store. */
  async #ensure(secret: Secret, { key }: StoreKey): Promise<{ slot: KeySlot; isNew: boolean }> {
    const { slots } = await readSlots(this.#stored, this.#owner)
    const known = (await openWith(secret, this.#owner, slots))?.slots[0]
    const slot = known ?? (await addSlot(this.#stored, this.#owner, key, secret, this.#clock))
    // Through the slot, as it is stored: the way that any later process goes.
    const { storeKey } = await requireOpen(this.#stored, this.#owner, secret)
    await this.#proveOpens(storeKey)
    return { slot, isNew: known === undefined }
  }

  /** Opens the newest file of the timeline, which every reader begins with; an empty store has none. */
  async #proveOpens(storeKey: StoreKey): Promise<void> {
    await TimelineLog.open(new EncryptedStore(this.#stored, storeKey, isClearKey))
  }

  /**
   * Removes slots, and looks whether `keep` is still there: another process may have removed it at the same time, on
   * the strength of one of these.
   */
  async #remove(
    ids: readonly Ulid[],
    { secret, storeKey, keep }: { secret: Secret; storeKey: StoreKey; keep: KeySlot },
  ): Promise<void> {
    if (ids.length === 0) return
    await this.#stored.delete(ids.map(slotKey))
    if ((await this.#stored.head(slotKey(keep.id))) !== null) return
    await addSlot(this.#stored, this.#owner, storeKey.key, secret, this.#clock)
  }

  async #change(added: readonly Ulid[], removed: readonly Ulid[]): Promise<KeyChange> {
    const { slots } = await readSlots(this.#stored, this.#owner)
    return { added, removed, keys: slots.map(infoOf) }
  }
}

/**
 * The secret that is to become a key: `TIDEMARK_NEW_PASSPHRASE`, `TIDEMARK_NEW_KEY`, or a file named by either with
 * `_FILE`. Errors: `OPTION_INVALID` without any.
 */
export async function newSecret(environment: Environment): Promise<Secret> {
  const secret = await secretFromEnvironment(environment, 'TIDEMARK_NEW_')
  if (secret !== null) return secret
  throw new TidemarkError('OPTION_INVALID', 'There is no new secret. Nothing was changed.', {
    hint: 'Set TIDEMARK_NEW_PASSPHRASE or TIDEMARK_NEW_KEY, or name a file with it: TIDEMARK_NEW_PASSPHRASE_FILE.',
  })
}

/** How a store is encrypted. */
export interface EncryptionInfo {
  /** Id of the key that wraps the keys of the files. */
  readonly storeKey: Ulid
  /** Those that open the store. */
  readonly keys: readonly KeyInfo[]
}

/** How an open store is encrypted; null where it is not. */
export async function encryptionOf({ stored, file }: OpenStore): Promise<EncryptionInfo | null> {
  const owner = ownerOf(file)
  if (owner === null) return null
  const { slots } = await readSlots(stored, owner)
  return { storeKey: owner.storeKey, keys: slots.map(infoOf) }
}

function infoOf({ id, kdf, createdAt }: KeySlot): KeyInfo {
  return { id, kind: kdf.name === 'raw' ? 'key' : 'passphrase', createdAt }
}

function noKeys(name: string): TidemarkError {
  return new TidemarkError(
    'STORE_NOT_ENCRYPTED',
    `The store at ${name} is not encrypted: it has no keys. Nothing was changed.`,
    {
      hint: 'For an encrypted one, capture into a new place with TIDEMARK_PASSPHRASE or TIDEMARK_KEY set.',
    },
  )
}

function damagedSlot(key: string): TidemarkError {
  return new TidemarkError(
    'OBJECT_CORRUPT',
    `${key} is damaged: it is no key slot. The other keys still open the store.`,
    {
      hint: 'Put the file back from a copy of the store.',
      details: { key },
    },
  )
}

function sameSecret(): TidemarkError {
  return new TidemarkError(
    'OPTION_INVALID',
    'The new secret is the one that opens the store now. Nothing was changed.',
    {
      hint: 'Give another one in TIDEMARK_NEW_PASSPHRASE or TIDEMARK_NEW_KEY.',
    },
  )
}

function noSuchKey(id: string, known: readonly KeyInfo[]): TidemarkError {
  const ids = known.map((key) => key.id).join(', ')
  return new TidemarkError(
    'RECORD_NOT_FOUND',
    `The store has no key with the id ${id}; its keys are ${ids}. Nothing was changed.`,
    {
      hint: 'See tidemark key list.',
      details: { id },
    },
  )
}

function lastKey(id: string, known: readonly KeyInfo[]): TidemarkError {
  const why =
    known.length === 1
      ? 'it is the only key of the store, and without it nothing could be read any more'
      : 'the secret that was given opens the store by this key alone, so it is not known that another one can be used'
  return new TidemarkError('ENCRYPTION_KEY_LAST', `The key ${id} was not removed: ${why}.`, {
    hint: 'Add another key first, and give its secret: tidemark key add. Or replace this one: tidemark key rotate.',
    details: { id },
  })
}
