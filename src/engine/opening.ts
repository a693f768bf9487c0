import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { KeySlot } from '../format/key-slot.ts'
import { isClearKey, STORE_FILE, slotKey } from '../format/keys.ts'
import type { StoreFile } from '../format/store-file.ts'
import { newUlid, type Ulid } from '../model/ulid.ts'
import { requireConditionalPuts } from '../store/conditions.ts'
import { EncryptedStore } from '../store/encryption/encrypted-store.ts'
import { type Environment, type Secret, secretFromEnvironment, secretOf } from '../store/encryption/secret.ts'
import { SecretKey } from '../store/encryption/store-key.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { describeStore, openStore, type StoreSpec } from '../store/open.ts'
import { addSlot, keyNeeded, readSlots, requireOpen, type SlotOwner } from './key-slots.ts'
import { type KeyringPlace, keyringPlace } from './record-keys.ts'
import { standingStore } from './standing-store.ts'
import { claimStore, type NewStore, requireStoreFile } from './store-file.ts'

/** A store that is open. */
export interface OpenStore {
  /** Objects as they were before encryption. */
  readonly store: ObjectStore
  /** Objects as they are stored. */
  readonly stored: ObjectStore
  /** For people, without secrets. */
  readonly name: string
  readonly file: StoreFile
  /** Null where nothing is encrypted. */
  readonly storeKey: SecretKey | null
  /** The slots of its key that the secret opened; none where nothing is encrypted. */
  readonly slots: readonly KeySlot[]
}

/**
 * The secret for a store: of its options, else of the environment; null where neither has one. Errors:
 * `OPTION_INVALID`.
 */
export async function secretFor(spec: string | StoreSpec, environment: Environment): Promise<Secret | null> {
  if (typeof spec === 'object' && spec.encryption !== undefined) return secretOf(spec.encryption)
  return secretFromEnvironment(environment)
}

/** Where a store is, and what opens it. */
export interface StorePlace {
  /** Objects as they are stored. */
  readonly stored: ObjectStore
  /** For people, without secrets. */
  readonly name: string
  readonly secret: Secret | null
  /** Where the keys of its records are; null where there are none. */
  readonly keyring: KeyringPlace | null
}

/** The place that a spec names; `over` wraps what is asked of it. Nothing is read yet. */
export async function placeOf(
  spec: string | StoreSpec,
  environment: Environment,
  over: (store: ObjectStore) => ObjectStore = (store) => store,
): Promise<StorePlace> {
  const stored = over(await openStore(spec))
  const keyring = await keyringPlace(spec, environment, over)
  return { stored, name: describeStore(spec), secret: await secretFor(spec, environment), keyring }
}

/** Opens a store for reading. Errors: `STORE_NOT_FOUND`, `ENCRYPTION_KEY_*`, `STORE_NOT_ENCRYPTED`. */
export async function openForReading(place: StorePlace): Promise<OpenStore> {
  return unlock(place, await requireStoreFile(place.stored, place.name))
}

/**
 * Opens a store for capturing `database`; makes it where the place is empty, encrypted if a secret is given. Errors:
 * also `STORE_FOREIGN`, and `STORE_UNSUPPORTED` where it makes no conditional puts.
 */
export async function openForCapture(place: StorePlace, database: string, clock: Clock): Promise<OpenStore> {
  const file = await claimStore(place.stored, place.name, database, () => makeStoreFile(place, database, clock))
  await requireConditionalPuts(place.stored, place.name, STORE_FILE)
  return unlock(place, file)
}

/** What a new store is. Its key slot is stored first, so that no store ever exists that no key opens. */
async function makeStoreFile(
  { stored, secret, keyring }: StorePlace,
  database: string,
  clock: Clock,
): Promise<NewStore> {
  const createdAt = new Date(clock.now()).toISOString()
  const plain: StoreFile = {
    format: 2,
    id: newUlid(clock.now()),
    database,
    createdAt,
    storeKey: null,
    recordKeys: keyring !== null,
  }
  if (secret === null) return { file: plain, undo: async () => {} }
  const owner = { id: plain.id, storeKey: newUlid(clock.now()) }
  const slot = await addSlot(stored, owner, SecretKey.random(), secret, clock)
  return { file: { ...plain, storeKey: owner.storeKey }, undo: () => stored.delete([slotKey(slot.id)]) }
}

async function unlock(place: StorePlace, file: StoreFile): Promise<OpenStore> {
  const { name, secret } = place
  const stored = name.startsWith('file:') ? standingStore(place.stored, name, file.id) : place.stored
  const owner = ownerOf(file)
  if (owner === null) {
    if (secret !== null) throw notEncrypted(name)
    return { store: stored, stored, name, file, storeKey: null, slots: [] }
  }
  if (secret === null) throw keyNeeded(name, await readSlots(stored, owner))
  const { storeKey, slots } = await requireOpen(stored, owner, secret)
  return { store: new EncryptedStore(stored, storeKey, isClearKey), stored, name, file, storeKey: storeKey.key, slots }
}

/** What the key slots of a store belong to; null where nothing is encrypted. */
export function ownerOf({ id, storeKey }: { id: Ulid; storeKey: Ulid | null }): SlotOwner | null {
  return storeKey === null ? null : { id, storeKey }
}

/** The error of a secret that a store has no use for. */
export function notEncrypted(name: string): TidemarkError {
  return new TidemarkError(
    'STORE_NOT_ENCRYPTED',
    `A key was given, and the store at ${name} is not encrypted. Nothing was read or written.`,
    {
      hint: 'Capture into a new place, which is then encrypted; or leave the key out (TIDEMARK_PASSPHRASE, TIDEMARK_KEY).',
    },
  )
}

/** The error of a journal that is to be encrypted by the key of a store that has none. */
export function cannotEncrypt(name: string): TidemarkError {
  return new TidemarkError(
    'STORE_NOT_ENCRYPTED',
    `The journal is to be encrypted, and the store at ${name} is not. Nothing was started.`,
    { hint: 'Capture into a new place with a passphrase or a key; or leave journal.encrypt out.' },
  )
}
