import { randomBytes } from 'node:crypto'
import { utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { hasCode, TidemarkError } from '../base/errors.ts'
import { decodeKeySlot, encodeKeySlot, type KeySlot, type SlotKdf, slotContext } from '../format/key-slot.ts'
import { parseSlotKey, SLOT_PREFIX, slotKey } from '../format/keys.ts'
import { newUlid, type Ulid } from '../model/ulid.ts'
import type { Secret } from '../store/encryption/secret.ts'
import type { SecretKey, StoreKey } from '../store/encryption/store-key.ts'
import type { ObjectStore } from '../store/object-store.ts'

/** The store that slots belong to: its id, and the id of its key. */
export interface SlotOwner {
  readonly id: Ulid
  readonly storeKey: Ulid
}

/** The slots of a store. */
export interface Slots {
  /** By id, oldest first. */
  readonly slots: readonly KeySlot[]
  /** Keys of files that should be slots and cannot be read. */
  readonly damaged: readonly string[]
}

/** A store key that a secret has opened, and every slot that it opens. */
export interface Opened {
  readonly storeKey: StoreKey
  readonly slots: readonly KeySlot[]
}

/** N = 2^17 takes 128 MiB and about 0.4 s; RFC 7914 calls its r and p usual. */
const SCRYPT = { name: 'scrypt', N: 2 ** 17, r: 8, p: 1 } as const
const SALT_BYTES = 16

/** Reads the slots of a store; those of another store key are left out. `store` is as it is stored. */
export async function readSlots(store: ObjectStore, owner: SlotOwner): Promise<Slots> {
  const slots: KeySlot[] = []
  const damaged: string[] = []
  for await (const { key } of store.list(SLOT_PREFIX)) {
    const id = parseSlotKey(key)
    if (id === null) continue
    const bytes = await store.get(key).catch(ifGone)
    if (bytes === null) continue
    const slot = decodeKeySlot(bytes)
    if (slot === null || slot.id !== id) damaged.push(key)
    else if (slot.storeKey === owner.storeKey) slots.push(slot)
  }
  return { slots, damaged }
}

/** The store key, where the secret opens a slot at all; null where it opens none. */
export async function openWith(secret: Secret, owner: SlotOwner, slots: readonly KeySlot[]): Promise<Opened | null> {
  let key: SecretKey | null = null
  const opened: KeySlot[] = []
  for (const slot of slots) {
    const found = await unwrapSlot(secret, owner, slot)
    if (found === null) continue
    key = found
    opened.push(slot)
  }
  return key === null ? null : { storeKey: { id: owner.storeKey, key }, slots: opened }
}

/** The store key. Errors: `ENCRYPTION_KEY_WRONG`; `OBJECT_CORRUPT` where the slot that it opens may be a damaged one. */
export async function requireOpen(store: ObjectStore, owner: SlotOwner, secret: Secret): Promise<Opened> {
  const { slots, damaged } = await readSlots(store, owner)
  const opened = await openWith(secret, owner, slots)
  if (opened === null) throw wrongKey(secret, slots, damaged)
  return opened
}

/**
 * Adds a slot for `secret`; reads it back and opens it before it counts. Errors: `ENCRYPTION_FAILED` where that does
 * not give the store key; then nothing else was changed.
 */
export async function addSlot(
  store: ObjectStore,
  owner: SlotOwner,
  key: SecretKey,
  secret: Secret,
  clock: Clock,
): Promise<KeySlot> {
  const id = newUlid(clock.now())
  const kdf: SlotKdf =
    secret.kind === 'key' ? { name: 'raw' } : { ...SCRYPT, salt: Uint8Array.from(randomBytes(SALT_BYTES)) }
  const wrappingKey = await secret.wrappingKey(kdf.name === 'raw' ? null : kdf)
  const wrapped = wrappingKey.wrap(key, contextOf(owner, id))
  const createdAt = new Date(clock.now()).toISOString()
  const slot: KeySlot = { id, storeKey: owner.storeKey, createdAt, kdf, wrapped }
  await store.put(slotKey(id), encodeKeySlot(slot), { ifAbsent: true })
  const stored = decodeKeySlot(await store.get(slotKey(id)))
  const opened = stored === null ? null : await unwrapSlot(secret, owner, stored)
  if (opened?.equals(key) === true) return slot
  throw new TidemarkError(
    'ENCRYPTION_FAILED',
    `The key ${id} was read back after it had been stored, and does not open the store. The others still do.`,
    { hint: 'Look at the disk or the server of the store, then try again.', details: { key: slotKey(id) } },
  )
}

async function unwrapSlot(secret: Secret, owner: SlotOwner, { id, kdf, wrapped }: KeySlot): Promise<SecretKey | null> {
  const fits = (kdf.name === 'raw') === (secret.kind === 'key')
  if (!fits) return null
  return (await secret.wrappingKey(kdf.name === 'raw' ? null : kdf)).unwrap(wrapped, contextOf(owner, id))
}

function contextOf(owner: SlotOwner, slot: Ulid): Uint8Array {
  return utf8(slotContext(owner.id, slot, owner.storeKey))
}

/** The error of an encrypted store for which no key was given. */
export function keyNeeded(name: string, { slots }: Slots): TidemarkError {
  return new TidemarkError(
    'ENCRYPTION_KEY_NEEDED',
    `The store at ${name} is encrypted, and no key was given. It opens with ${idsOf(slots)}.`,
    {
      hint: 'Set TIDEMARK_PASSPHRASE or TIDEMARK_KEY, or a file with either in TIDEMARK_PASSPHRASE_FILE or TIDEMARK_KEY_FILE.',
      details: { keys: slots.map(({ id }) => id).join(' ') },
    },
  )
}

/** The error of a secret that opens no slot. */
export function wrongKey({ kind }: Secret, slots: readonly KeySlot[], damaged: readonly string[]): TidemarkError {
  const [file] = damaged
  if (file !== undefined) {
    return new TidemarkError(
      'OBJECT_CORRUPT',
      `${file} is damaged, and the ${kind} that was given opens none of the other keys of the store. Nothing was read.`,
      { hint: 'Put the file back from a copy of the store, or give another key.', details: { key: file } },
    )
  }
  return new TidemarkError(
    'ENCRYPTION_KEY_WRONG',
    `The ${kind} that was given does not open the store; it opens with ${idsOf(slots)}. Nothing was read or changed.`,
    {
      hint: 'Give the secret of one of these keys; `tidemark key list` says when each was made.',
      details: { keys: slots.map(({ id }) => id).join(' ') },
    },
  )
}

function idsOf(slots: readonly KeySlot[]): string {
  if (slots.length === 0) return 'no key at all: the files under key/ are gone'
  return slots.map(({ id, kdf }) => `a ${kdf.name === 'raw' ? 'key' : 'passphrase'} (id ${id})`).join(' or ')
}

function ifGone(error: unknown): null {
  if (hasCode(error, 'OBJECT_NOT_FOUND')) return null
  throw error
}
