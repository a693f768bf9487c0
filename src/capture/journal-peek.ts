import { isUlid, type Ulid } from '../model/ulid.ts'
import type { ObjectStore, StoreSecrets } from '../store/object-store.ts'
import type { Disk } from './disk.ts'
import { encryptedLog, journalKey } from './encrypted-log.ts'
import { openFileLog } from './file-log.ts'
import type { FrameLog } from './frame-log.ts'
import { recoverState, type Sealed } from './journal-recovery.ts'
import { openStoreLog } from './store-log.ts'

/** What a journal holds that its owner has left behind. */
export interface JournalPeek {
  /** Events that are not in the store. */
  readonly events: number
  readonly bytes: number
  /** Time of the oldest of them, milliseconds since the epoch; null where there is none. */
  readonly since: number | null
  /** Of the last event that it knows of; null where it knows of none. */
  readonly lastUlid: Ulid | null
  /** Writes of which it is unknown whether they happened. */
  readonly openIntents: number
  /** Whether nothing was taken away from it. */
  readonly isWhole: boolean
  /** Whether the store has had more of its events than it has. */
  readonly isSetBack: boolean
  /** Ranges of writes that were not recorded, in what was not let go yet. */
  readonly shed: number
}

/**
 * Reads the journal of an open stream on a disk as recovery would, without taking or changing anything: what recovery would
 * cut or remove stays. Errors: `JOURNAL_*`, also where the directory is gone.
 */
export async function peekFiles(
  disk: Disk,
  directory: string,
  stream: string,
  known: Sealed,
  secrets: StoreSecrets | undefined,
): Promise<JournalPeek> {
  const log = await openFileLog({ disk: readOnly(disk), directory, stream })
  return peek(secrets === undefined ? log : encryptedLog(log, journalKey(secrets, stream), stream, true), known)
}

/** The same for a journal in the store. */
export async function peekStore(store: ObjectStore, stream: string, known: Sealed): Promise<JournalPeek> {
  const unchanged: ObjectStore = {
    put: (key, body, options) => store.put(key, body, options),
    get: (key, range) => store.get(key, range),
    head: (key) => store.head(key),
    list: (prefix, options) => store.list(prefix, options),
    delete: async () => {},
  }
  return peek(await openStoreLog(unchanged, stream), known)
}

async function peek(log: FrameLog, known: Sealed): Promise<JournalPeek> {
  try {
    const { backlog, lastUlid, open, lost, shed, noted } = await recoverState(log, known)
    const hasEvents = isUlid(lastUlid) && backlog.size.events > 0
    // What is open has had a frame, and keeps its last one: where there is none, every file was taken away.
    const isWhole = lost === null && log.range !== null
    const isSetBack = (noted?.sealedThrough ?? 0) > known.sequence
    const found = { openIntents: open.size, isWhole, isSetBack, shed: shed.length }
    return { ...backlog.size, ...found, lastUlid: hasEvents ? lastUlid : null }
  } finally {
    await log.close()
  }
}

/** A disk that swallows what recovery would write: what it reads afterwards does not depend on it. */
function readOnly(disk: Disk): Disk {
  return {
    list: (directory) => disk.list(directory),
    read: (path, start, end) => disk.read(path, start, end),
    open: async () => ({ commit: async () => {}, close: async () => {} }),
    remove: async () => {},
    syncDirectory: async () => {},
  }
}
