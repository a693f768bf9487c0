import { join } from 'node:path'
import { isUlid, MIN_ULID, type Ulid } from '../model/ulid.ts'
import { errnoOf } from '../store/filesystem-errors.ts'
import { nodeFiles } from '../store/node-files.ts'
import { removeLocalFile } from './local-file.ts'

/*
 * What was told to be complete without a commit is noted beside the journals, in the name of an empty file: `answered.<ulid>`.
 * Whoever opens a stream there stamps behind the greatest of them, whatever his clock says. They are made before the last look
 * at the timeline, and read after the entry of the stream is in it: so an answer that was given without that entry was
 * noted before it is read. A name is made or not, and only smaller ones are removed, so that two who note do not need a lock.
 */
const PREFIX = 'answered.'

/** Notes that everything up to `ulid` was told to be complete; false where that cannot be noted there. */
export async function noteAnswer(directory: string, ulid: Ulid): Promise<boolean> {
  try {
    const before = await answersIn(directory)
    if (before.some((other) => other >= ulid)) return true
    await make(join(directory, PREFIX + ulid))
    for (const other of before) await removeLocalFile(join(directory, PREFIX + other))
    return true
  } catch (error) {
    if (REFUSALS.includes(errnoOf(error))) return false
    throw error
  }
}

/** The greatest of them; `MIN_ULID` where there is none. */
export async function answeredIn(directory: string): Promise<Ulid> {
  return (await answersIn(directory)).reduce((most, ulid) => (ulid > most ? ulid : most), MIN_ULID)
}

/** Not here, or not for this user to write to. */
const REFUSALS = ['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT']

async function make(path: string): Promise<void> {
  await nodeFiles.create(path, new Uint8Array()).catch((error: unknown) => {
    if (errnoOf(error) !== 'EEXIST') throw error // another process has noted the same
  })
}

async function answersIn(directory: string): Promise<readonly Ulid[]> {
  const entries = await nodeFiles.list(directory)
  return entries
    .map(({ name }) => name)
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => name.slice(PREFIX.length))
    .filter(isUlid)
}
