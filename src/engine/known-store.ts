import { join } from 'node:path'
import { TidemarkError } from '../base/errors.ts'
import { readLocalFile, replaceLocalFile, ulidsIn } from '../capture/local-file.ts'
import { makeJournalDirectory } from '../capture/stream-dir.ts'
import { isClearKey, STORE_FILE } from '../format/keys.ts'
import { decodeKnownStore, encodeKnownStore, type KnownStore } from '../format/known-store.ts'
import { requireConditionalPuts } from '../store/conditions.ts'
import { EncryptedStore } from '../store/encryption/encrypted-store.ts'
import { keyNeeded, openWith, wrongKey } from './key-slots.ts'
import { notEncrypted, type OpenStore, ownerOf, type StorePlace } from './opening.ts'
import { provenStore } from './proven-store.ts'
import { standingStore } from './standing-store.ts'
import { otherDatabase, readStoreFile } from './store-file.ts'

/*
 * What this machine knows of a store since it captured into it: enough to begin a stream in the journal while the store cannot
 * be asked. It stands beside the journals of that store, and holds nothing that is not in the store itself.
 */
const KNOWN = 'store.json'
/** Places that are remembered besides the latest. */
const MOST_LOCATIONS = 15

/** The store that was at `location` when a process with this journal directory reached it last; null where none is known. */
export async function knownStoreAt(directory: string, location: string): Promise<KnownStore | null> {
  for (const id of await ulidsIn(directory)) {
    const known = await knownStore(join(directory, id))
    if (known?.file.id === id && known.locations.includes(location)) return known
  }
  return null
}

/** Notes what is known of a store that was reached at `location`, where another may have been before. */
export async function rememberStore(
  directory: string,
  location: string,
  { file, slots, through }: Omit<KnownStore, 'locations'>,
): Promise<void> {
  let others: readonly string[] = []
  for (const id of await ulidsIn(directory)) {
    const known = await knownStore(join(directory, id))
    const rest = known?.locations.filter((other) => other !== location) ?? []
    if (id === file.id) others = rest.slice(-MOST_LOCATIONS)
    else if (known !== null && rest.length < known.locations.length)
      await note(join(directory, id), { ...known, locations: rest })
  }
  await makeJournalDirectory(join(directory, file.id))
  await note(join(directory, file.id), { file, slots, through, locations: [...others, location] })
}

function note(directory: string, known: KnownStore): Promise<void> {
  return replaceLocalFile(join(directory, KNOWN), encodeKnownStore(known))
}

/**
 * A store that cannot be asked, as it was when it was read last. Whatever is asked of it later proves first that it is still
 * the same. Errors: `STORE_FOREIGN`, `ENCRYPTION_KEY_*`, `STORE_NOT_ENCRYPTED`.
 */
export async function openKnown(place: StorePlace, { file, slots }: KnownStore, database: string): Promise<OpenStore> {
  const { name, secret } = place
  if (file.database !== database) throw otherDatabase(name, file.database, database)
  const standing = name.startsWith('file:') ? standingStore(place.stored, name, file.id) : place.stored
  const stored = provenStore(standing, () => proveSame(place, file.id))
  const owner = ownerOf(file)
  if (owner === null) {
    if (secret !== null) throw notEncrypted(name)
    return { store: stored, stored, name, file, storeKey: null, slots }
  }
  if (secret === null) throw keyNeeded(name, { slots, damaged: [] })
  const opened = await openWith(secret, owner, slots)
  if (opened === null) throw wrongKey(secret, slots, [])
  const { storeKey } = opened
  return { store: new EncryptedStore(stored, storeKey, isClearKey), stored, name, file, storeKey: storeKey.key, slots }
}

/** Errors: `STORE_UNAVAILABLE` where no store is there, as where a disk is not mounted; `STORE_FOREIGN` where another is. */
async function proveSame({ stored, name }: StorePlace, id: string): Promise<void> {
  const found = await readStoreFile(stored)
  if (found === null) throw notThere(name, id)
  if (found.id !== id) throw another(name, id, found.id)
  await requireConditionalPuts(stored, name, STORE_FILE)
}

/** The error of a place where a known store should be, and nothing is. */
export function notThere(name: string, id: string): TidemarkError {
  return new TidemarkError(
    'STORE_UNAVAILABLE',
    `There is no store at ${name}, where store ${id} was. Nothing was made in its place.`,
    {
      hint: `Mount or bring back what was there. If it is gone for good, remove ${KNOWN} from the directory ${id} of the journals: then a new store is begun.`,
      details: { store: id },
    },
  )
}

function another(name: string, id: string, found: string): TidemarkError {
  return new TidemarkError(
    'STORE_FOREIGN',
    `The store at ${name} is ${found}, and this process captures for store ${id}, which was there before. Nothing was written to it; ` +
      'what was captured stays in the journal.',
    {
      hint: `Bring store ${id} back to its place and start again: then the journal is brought in. To capture into the other store, start again as it is.`,
      details: { expected: id, found },
    },
  )
}

/** A file that is damaged, or of another format, is as good as none: the store itself has everything. */
async function knownStore(directory: string): Promise<KnownStore | null> {
  const bytes = await readLocalFile(join(directory, KNOWN))
  return bytes === null ? null : decodeKnownStore(bytes)
}
