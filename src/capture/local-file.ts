import { randomBytes } from 'node:crypto'
import { dirname, join } from 'node:path'
import { isUlid, type Ulid } from '../model/ulid.ts'
import { nodeFiles } from '../store/node-files.ts'
import { journalError } from './node-disk.ts'

/** The bytes of a small file beside the journals; null where there is none. Errors: `JOURNAL_*`. */
export async function readLocalFile(path: string): Promise<Uint8Array | null> {
  try {
    return (await nodeFiles.read(path, null))?.bytes ?? null
  } catch (error) {
    if (isAbsence(error)) return null
    throw journalError(error, path)
  }
}

/** Puts a small file in the place of what is there; it is whole or as before, and durable when this resolves. Errors: `JOURNAL_*`. */
export async function replaceLocalFile(path: string, bytes: Uint8Array): Promise<void> {
  const draft = join(dirname(path), `draft.${process.pid}.${randomBytes(6).toString('hex')}`)
  try {
    await nodeFiles.create(draft, bytes)
    await nodeFiles.place(draft, path, 'rename')
    await nodeFiles.syncDirectory(dirname(path))
  } catch (error) {
    await removeLocalFile(draft)
    throw journalError(error, path)
  }
}

/** Removes a small file; one that is not there is no error. Errors: `JOURNAL_*`. */
export async function removeLocalFile(path: string): Promise<void> {
  try {
    await nodeFiles.remove(path)
  } catch (error) {
    if (!isAbsence(error)) throw journalError(error, path)
  }
}

/** What is in a directory under the name of a ULID, in order; nothing where there is no such directory. Errors: `JOURNAL_*`. */
export async function ulidsIn(directory: string): Promise<readonly Ulid[]> {
  try {
    return (await nodeFiles.list(directory))
      .map(({ name }) => name)
      .filter(isUlid)
      .sort()
  } catch (error) {
    if (isAbsence(error)) return []
    throw journalError(error, directory)
  }
}

function isAbsence(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')
}
