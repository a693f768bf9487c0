import { hasCode, TidemarkError } from '../base/errors.ts'
import {
  parseRunFileKey,
  parseSegmentKey,
  parseSlotKey,
  parseTimelineKey,
  prefixOfSnapshotKey,
  STORE_FILE,
} from '../format/keys.ts'
import { decodeStoreFile, encodeStoreFile, type StoreFile, storeFormat } from '../format/store-file.ts'
import type { ObjectStore } from '../store/object-store.ts'

/** Reads `tidemark.json`, or null where there is none. Errors: `TIMELINE_CORRUPT` where it is damaged. */
export async function readStoreFile(store: ObjectStore): Promise<StoreFile | null> {
  let bytes: Uint8Array
  try {
    bytes = await store.get(STORE_FILE)
  } catch (error) {
    if (hasCode(error, 'OBJECT_NOT_FOUND')) return null
    throw error
  }
  const file = decodeStoreFile(bytes)
  if (file !== null) return file
  const format = storeFormat(bytes)
  if (format !== null && format !== 2) throw otherFormat(format)
  throw new TidemarkError('TIMELINE_CORRUPT', `${STORE_FILE} is not a store file of format 2. Nothing was changed.`, {
    hint: `If it is damaged: ${PUT_BACK.charAt(0).toLowerCase()}${PUT_BACK.slice(1)}`,
    details: { key: STORE_FILE },
  })
}

function otherFormat(format: number): TidemarkError {
  return new TidemarkError(
    'STORE_UNSUPPORTED',
    `The store is of format ${format}, and this Tidemark reads and writes format 2 only. Nothing was changed.`,
    {
      hint: 'Read it with the Tidemark that wrote it, and capture into a new, empty place.',
      details: { key: STORE_FILE, format },
    },
  )
}

/** The store file for reading. Errors: `STORE_NOT_FOUND` where there is no store; `TIMELINE_CORRUPT` where it is lost. */
export async function requireStoreFile(store: ObjectStore, name: string): Promise<StoreFile> {
  const file = await readStoreFile(store)
  if (file !== null) return file
  for await (const { key } of store.list('')) if (isOfStore(key)) throw lostFile(name, key)
  throw new TidemarkError('STORE_NOT_FOUND', `There is no Tidemark store at ${name}.`, {
    hint: 'Check --store (or TIDEMARK_STORE); a store is made when a database is captured for the first time.',
    details: { key: STORE_FILE },
  })
}

function isOfStore(key: string): boolean {
  const parsers = [parseTimelineKey, parseSegmentKey, parseRunFileKey, prefixOfSnapshotKey]
  return parsers.some((parse) => parse(key) !== null)
}

function lostFile(name: string, key: string): TidemarkError {
  return new TidemarkError('TIMELINE_CORRUPT', `${STORE_FILE} is lost: ${name} has ${key}, and not this file.`, {
    hint: PUT_BACK,
    details: { key: STORE_FILE },
  })
}

/** Whoever captures into a store has its file beside the journals. */
const PUT_BACK =
  'Put it back: from a copy of the store, or on a machine that captures into it: ' +
  `jq -j .store <journal directory>/<store id>/store.json > ${STORE_FILE}`

/** A store that is about to be made. */
export interface NewStore {
  readonly file: StoreFile
  /** Removes what was prepared for it, where another process was first. */
  undo(): Promise<void>
}

/**
 * The store file for capturing `database`; makes the store where the place is empty. Errors: `STORE_FOREIGN` where
 * the place holds something else, or the history of another database.
 */
export async function claimStore(
  store: ObjectStore,
  name: string,
  database: string,
  make: () => Promise<NewStore>,
): Promise<StoreFile> {
  let file = await readStoreFile(store)
  if (file === null) {
    for await (const { key } of store.list('')) {
      // Of another process that makes the store at this moment, or that died of it.
      if (parseSlotKey(key) !== null) continue
      throw new TidemarkError(
        'STORE_FOREIGN',
        `${name} holds other files (${key}) and no Tidemark store. Nothing was changed.`,
        {
          hint: 'Give an empty directory or prefix for the backups.',
        },
      )
    }
    file = await create(store, await make())
  }
  if (file.database === database) return file
  throw otherDatabase(name, file.database, database)
}

/** The error of a store that has the history of another database. */
export function otherDatabase(name: string, found: string, database: string): TidemarkError {
  return new TidemarkError(
    'STORE_FOREIGN',
    `The store at ${name} holds the history of ${found}, not of ${database}. Nothing was captured or changed.`,
    {
      hint: `Give each database a store of its own; where this is the same database in a new place, set database: '${found}'.`,
      details: { expected: database, found },
    },
  )
}

async function create(store: ObjectStore, { file, undo }: NewStore): Promise<StoreFile> {
  try {
    await store.put(STORE_FILE, encodeStoreFile(file), { ifAbsent: true })
    return file
  } catch (error) {
    if (!hasCode(error, 'OBJECT_EXISTS')) throw error
    const other = await readStoreFile(store)
    if (other === null) throw error
    if (other.id !== file.id) await undo()
    return other
  }
}
