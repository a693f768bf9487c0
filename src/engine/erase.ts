import { TidemarkError } from '../base/errors.ts'
import { STORE_FILE } from '../format/keys.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { describeStore, openStore } from '../store/open.ts'
import { readStoreFile } from './store-file.ts'
import { journalDirectory } from './streams.ts'

/**
 * Deletes a whole store with the history of `database`, such as one that a demonstration left, and its journals under
 * `journal`; nothing where there is no store. Errors: `STORE_FOREIGN` where the history is of another database: then
 * nothing is deleted.
 */
export async function eraseStore(url: string, database: string, journal: string): Promise<void> {
  const store = await openStore(url)
  const file = await readStoreFile(store)
  if (file === null) return
  if (file.database !== database) {
    throw new TidemarkError(
      'STORE_FOREIGN',
      `${describeStore(url)} holds the history of ${file.database}, not of ${database}. Nothing was deleted.`,
      { hint: 'Give another directory.', details: { expected: database, found: file.database } },
    )
  }
  await deleteAll(await openStore(`file:${journalDirectory(journal, file.id)}`))
  await deleteAll(store, STORE_FILE)
  // Last, so that what is left of an interrupted deletion is still known for what it is.
  await store.delete([STORE_FILE])
}

async function deleteAll(store: ObjectStore, except?: string): Promise<void> {
  const keys: string[] = []
  for await (const { key } of store.list('')) if (key !== except) keys.push(key)
  await store.delete(keys)
}
