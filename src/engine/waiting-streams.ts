import { basename, dirname, join } from 'node:path'
import { hasCode } from '../base/errors.ts'
import { answeredIn } from '../capture/answered.ts'
import { readLocalFile, removeLocalFile, replaceLocalFile, ulidsIn } from '../capture/local-file.ts'
import { createStream } from '../capture/stream-dir.ts'
import { decodeWaitingEntry, encodeWaitingEntry } from '../format/known-store.ts'
import { EMPTY_TIMELINE, type StreamEntry, type Timeline } from '../model/timeline.ts'
import { type Ulid, UlidGenerator } from '../model/ulid.ts'
import { livenessOfStream } from './liveness.ts'
import { type OwnedStream, openDir, type StreamSeams } from './streams.ts'

/*
 * A stream that was begun while the store was away captures into its journal, and is not in the timeline yet. Until it is,
 * `entry.json` in its directory has the entry with which it will enter: processes of this machine that can reach the store
 * promise nothing behind its `openedAt`, and bring it in where its own process is dead.
 */
const ENTRY = 'entry.json'

/**
 * Begins a stream of a store that cannot be asked; its stamps come after `after`. What other processes left is not taken
 * over: of a stream whose entry was not read nobody knows what is in the store.
 */
export async function openWaiting(seams: Omit<StreamSeams, 'timeline'>, after: Ulid): Promise<OwnedStream> {
  const { directory, clock } = seams
  const dir = await createStream(directory, new UlidGenerator(() => clock.now()).next())
  const opened = await openDir({ ...seams, timeline: EMPTY_TIMELINE, after }, dir)
  try {
    await replaceLocalFile(join(dir.path, ENTRY), encodeWaitingEntry(opened.entry))
    opened.journal.advanceTo(await answeredIn(directory))
    return opened
  } catch (error) {
    await opened.release()
    throw error
  }
}

/** Notes that a stream is in the timeline. */
export async function entered({ journal }: StreamEntry): Promise<void> {
  if (journal.kind === 'disk') await removeLocalFile(join(journal.path, ENTRY))
}

/** The streams in the journal directories of a store that are not in its timeline yet, and may hold events. */
export async function waitingStreams(
  directories: Iterable<string>,
  { streams }: Timeline,
): Promise<readonly StreamEntry[]> {
  const known = new Set(streams.map(({ id }) => id))
  const waiting: StreamEntry[] = []
  for (const directory of directories) {
    for (const id of await idsIn(directory)) {
      const entry = known.has(id) ? null : await waitingEntry(join(directory, id))
      if (entry !== null) waiting.push(entry)
    }
  }
  return waiting
}

/** What this user may not look into is as far from this process as another machine: what waits there comes late (FORMAT.md 4). */
async function idsIn(directory: string): Promise<readonly string[]> {
  try {
    return await ulidsIn(directory)
  } catch (error) {
    if (hasCode(error, 'JOURNAL_DENIED')) return []
    throw error
  }
}

/**
 * Of the streams that wait beside those in `directory`, or anywhere on this machine by what the timeline says: the stamp before the first
 * event of any, null where none waits; and the directories in which dead processes left some. Those `apart` are passed over.
 */
export async function waitingBeside(
  timeline: Timeline,
  directory: string,
  apart: ReadonlySet<string> = new Set(),
): Promise<{ readonly first: Ulid | null; readonly left: ReadonlySet<string> }> {
  const directories = new Set([directory, ...journalDirectories(timeline, basename(directory))])
  let first: Ulid | null = null
  const left = new Set<string>()
  for (const stream of await waitingStreams(directories, timeline)) {
    if (apart.has(stream.id)) continue
    if (first === null || stream.openedAt < first) first = stream.openedAt
    if (stream.journal.kind === 'disk' && (await livenessOfStream(stream)) === 'dead')
      left.add(dirname(stream.journal.path))
  }
  return { first, left }
}

/** The directories on this machine in which streams of a store may be, by what its timeline says. */
export function journalDirectories({ streams }: Timeline, storeId: Ulid): ReadonlySet<string> {
  return new Set(streams.flatMap((stream) => journalsOf(stream, storeId) ?? []))
}

/**
 * The journal directory that holds a stream of this store, as `journalDirectory` names it; null where it is none. The
 * path is what the store says: a forged one must not lead to the journals of another store, which would be emptied.
 */
export function journalsOf({ id, journal }: StreamEntry, storeId: string): string | null {
  if (journal.kind !== 'disk' || basename(journal.path) !== id) return null
  const directory = dirname(journal.path)
  return basename(directory) === storeId ? directory : null
}

/** Null where there is none, or its stream is somewhere else: the directory may have been copied or moved. */
async function waitingEntry(path: string): Promise<StreamEntry | null> {
  const bytes = await readLocalFile(join(path, ENTRY))
  const entry = bytes === null ? null : decodeWaitingEntry(bytes)
  if (entry === null || entry.id !== basename(path)) return null
  return { ...entry, journal: { kind: 'disk', path } }
}
