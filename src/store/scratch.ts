import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EncryptedStore } from './encryption/encrypted-store.ts'
import { SecretKey } from './encryption/store-key.ts'
import { FilesystemStore } from './filesystem.ts'
import { errnoOf } from './filesystem-errors.ts'
import type { ObjectStore } from './object-store.ts'

/** Local space for intermediate results; it is gone when the process exits, or when `dispose` is called. */
export interface Scratch {
  /** What is put there is on the disk only encrypted, with a key that this process alone has. */
  readonly store: ObjectStore
  /** Of the directory. */
  readonly path: string
  dispose(): void
}

const PREFIX = 'tidemark-'
/** Says whose a directory is: the only file in clear. */
const OWNER_FILE = 'owner.json'
/** In the place of the id of a store key: nobody else ever has it. */
const NO_STORE = '0'.repeat(26)
/** Somebody still writes there, or has removed it. */
const LEFT_BEHIND: readonly string[] = ['ENOTEMPTY', 'EEXIST', 'EBUSY', 'ENOENT']

/** Makes a private directory under the system's directory for temporary files; `owner` is what `sweepScratch` is told of it. */
export function createScratch(owner: string): Scratch {
  const path = mkdtempSync(join(tmpdir(), PREFIX))
  writeFileSync(join(path, OWNER_FILE), owner, { mode: 0o600 })
  const files = new FilesystemStore(join(path, 'state'))
  const store = new EncryptedStore(files, { id: NO_STORE, key: SecretKey.random() }, () => false)
  const dispose = (): void => {
    process.removeListener('exit', dispose)
    remove(path)
  }
  process.once('exit', dispose)
  return { store, path, dispose }
}

/** Removes the directories of this user whose owners are over: of processes that had no time to. */
export function sweepScratch(isOver: (owner: string) => boolean): void {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue
    const path = join(tmpdir(), name)
    const owner = ownerOf(path)
    if (owner !== null && isOver(owner)) remove(path)
  }
}

/** Null where the directory is another user's, or nobody has noted whose it is (yet). */
function ownerOf(path: string): string | null {
  try {
    const { uid } = lstatSync(path)
    return uid === process.getuid?.() ? readFileSync(join(path, OWNER_FILE), 'utf8') : null
  } catch {
    return null // somebody else has removed it, or it is none of ours
  }
}

/**
 * Writes that were under way when the process ended may still make files: what is left then is encrypted with a key that
 * nobody has any more, and is swept by a later process.
 */
function remove(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true, maxRetries: 3, retryDelay: 10 })
  } catch (error) {
    if (!LEFT_BEHIND.includes(errnoOf(error))) throw error
  }
}
