import { mkdir, open, readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { TidemarkError } from '../base/errors.ts'
import { isUlid, type Ulid } from '../model/ulid.ts'
import { makeDirectory } from '../store/filesystem-tree.ts'
import { nodeFiles } from '../store/node-files.ts'
import { journalError } from './node-disk.ts'
import type { Door } from './stream-door.ts'
import { type Liveness, type LockOwner, livenessOf, readLock, type StreamLock, takeLock } from './stream-lock.ts'

/** The directory of a stream that this process owns: `<journal directory>/<stream id>/`. */
export interface StreamDir {
  readonly stream: Ulid
  readonly path: string
  /** Null where none could be made: then nobody can ask this process. */
  readonly door: Door | null
  /** Lets another process take the stream over. The journal must be closed. */
  release(): Promise<void>
}

/** A stream in the journal directory as a reader sees it. */
export interface StreamListing {
  readonly stream: Ulid
  readonly path: string
  /** Who locked it last; null where nobody did. */
  readonly owner: LockOwner | null
  /** Of the owner. */
  readonly liveness: Liveness
}

/** Every stream in a journal directory, by id; none where the directory does not exist. Takes no lock. */
export async function listStreams(directory: string): Promise<readonly StreamListing[]> {
  const listings: StreamListing[] = []
  for (const stream of await streamNames(directory)) {
    const path = join(directory, stream)
    const owner = (await readLock(path))?.owner ?? null
    listings.push({ stream, path, owner, liveness: await livenessOf(owner, path) })
  }
  return listings
}

/**
 * Takes over every stream that is `wanted` and whose owner is dead or has let go, oldest first; streams of live processes,
 * and of those of which nobody here can tell, are left alone. Of several processes that start at the same time each stream goes to one.
 */
export async function takeStreams(
  directory: string,
  wanted: (stream: Ulid) => boolean | Promise<boolean> = () => true,
): Promise<readonly StreamDir[]> {
  const taken: StreamDir[] = []
  for await (const dir of takeEach(directory, wanted)) taken.push(dir)
  return taken
}

/** The same for the oldest of them alone; null where there is none. */
export async function takeStream(directory: string, wanted: (stream: Ulid) => boolean): Promise<StreamDir | null> {
  for await (const dir of takeEach(directory, wanted)) return dir
  return null
}

/**
 * Takes over one stream, also one of which nobody here can tell whether its process is alive: who calls this knows that it
 * is dead. Null where there is no such directory, or its process answers.
 */
export async function takeDeadStream(directory: string, stream: Ulid): Promise<StreamDir | null> {
  if (!(await streamNames(directory)).includes(stream)) return null
  const lock = await takeLock(join(directory, stream), (liveness) => liveness !== 'alive')
  return lock === null ? null : streamDir(directory, stream, lock)
}

async function* takeEach(
  directory: string,
  wanted: (stream: Ulid) => boolean | Promise<boolean>,
): AsyncGenerator<StreamDir> {
  for (const { stream, path, liveness } of await listStreams(directory)) {
    const lock = liveness !== 'dead' || !(await wanted(stream)) ? null : await takeLock(path)
    if (lock !== null) yield streamDir(directory, stream, lock)
  }
}

/**
 * Makes the directory of a new stream, and the journal directory where it does not exist, both mode 0700 and durable.
 * It gets its name when it is locked, so that no other process takes it for an abandoned one.
 */
export async function createStream(directory: string, stream: Ulid): Promise<StreamDir> {
  const path = join(directory, stream)
  const draft = join(directory, `new-${stream}`)
  try {
    await makeJournalDirectory(directory)
    await mkdir(draft, { mode: 0o700 })
    const lock = await takeLock(draft)
    if (lock === null) throw locked(path)
    await rename(draft, path)
    await syncDirectory(path)
    await syncDirectory(directory)
    return streamDir(directory, stream, lock.movedTo(path))
  } catch (error) {
    throw journalError(error, path)
  }
}

/** Makes the directory of the journals of a store where it does not exist, durably. Errors: `JOURNAL_*`. */
export async function makeJournalDirectory(directory: string): Promise<void> {
  try {
    await makeDirectory(nodeFiles, directory)
  } catch (error) {
    throw journalError(error, directory)
  }
}

function locked(path: string): TidemarkError {
  return new TidemarkError('JOURNAL_LOCKED', `The stream at ${path} belongs to another process; nothing was written.`, {
    hint: 'Start again: a new stream gets an id of its own.',
    details: { path },
  })
}

function streamDir(directory: string, stream: Ulid, lock: StreamLock): StreamDir {
  return { stream, path: join(directory, stream), door: lock.door, release: () => lock.release() }
}

async function streamNames(directory: string): Promise<Ulid[]> {
  try {
    const entries = await readdir(directory, { withFileTypes: true })
    return entries
      .filter((entry) => entry.isDirectory() && isUlid(entry.name))
      .map((entry) => entry.name)
      .sort()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw journalError(error, directory)
  }
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
