import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { encryptedLog, journalKey } from '../capture/encrypted-log.ts'
import { openFileLog } from '../capture/file-log.ts'
import type { FrameLog } from '../capture/frame-log.ts'
import { Journal, type RecoveredJournal } from '../capture/journal.ts'
import { NOTHING_SEALED } from '../capture/journal-recovery.ts'
import { MemoryLog } from '../capture/memory-log.ts'
import { NodeDisk } from '../capture/node-disk.ts'
import { takenOver } from '../capture/sealer.ts'
import { openStoreLog } from '../capture/store-log.ts'
import { createStream, takeDeadStream, takeStream, takeStreams } from '../capture/stream-dir.ts'
import { mayRun, thisProcess } from '../capture/stream-lock.ts'
import { chainStart } from '../format/segment/chain.ts'
import type { StreamEntry, Timeline } from '../model/timeline.ts'
import { MIN_ULID, type Ulid, UlidGenerator } from '../model/ulid.ts'
import type { ObjectStore } from '../store/object-store.ts'

/** When the promise of a write resolves: its event is durable in the local journal, in the store, or only in memory. */
export type Ack = 'journal' | 'store' | 'memory'

/** What streams are opened over. */
export interface StreamSeams {
  readonly store: ObjectStore
  readonly timeline: Timeline
  readonly clock: Clock
  readonly ack: Ack
  /** Directory of the journals of this store on this host; used for `journal` only. */
  readonly directory: string
  /** Encrypt what is written to journals on disk; the store must be encrypted. */
  readonly encrypt: boolean
}

/** A stream that this process owns, with its journal open. */
export interface OwnedStream {
  readonly entry: StreamEntry
  /** What the timeline said of it before; null where it is new. */
  readonly known: StreamEntry | null
  readonly journal: Journal
  readonly recovered: RecoveredJournal
  /** Closes the journal and lets go of the stream. */
  release(): Promise<void>
}

/** The directory of the journals of one store. */
export function journalDirectory(directory: string, storeId: Ulid): string {
  return join(resolve(directory), storeId)
}

/**
 * Opens every stream that has no live owner, and a new one where there is none: the first is the one to write, the
 * others are what crashed processes left behind, to be settled and closed.
 */
export async function openStreams(seams: StreamSeams): Promise<readonly [OwnedStream, ...OwnedStream[]]> {
  if (seams.ack === 'journal') return openOnDisk(seams)
  const orphans = seams.timeline.streams.filter((stream) => isOrphan(stream))
  const opened: OwnedStream[] = []
  if (seams.ack === 'store') {
    for (const { id, journal } of orphans) {
      if (journal.kind === 'store')
        opened.push(await openStream(seams, id, { kind: 'store' }, await openStoreLog(seams.store, id, seams.clock)))
    }
  }
  const [first, ...rest] = opened
  if (first !== undefined) return [first, ...rest]
  const id = new UlidGenerator(() => seams.clock.now()).next()
  const place = { kind: seams.ack }
  const log = seams.ack === 'store' ? await openStoreLog(seams.store, id, seams.clock) : new MemoryLog()
  return [await openStream(seams, id, place, log)]
}

/** Opens what crashed processes of this host left in a journal directory; creates nothing. Closed streams hold nothing. */
export async function openLeftovers(seams: StreamSeams): Promise<readonly OwnedStream[]> {
  const closed = closedIn(seams.timeline)
  const opened: OwnedStream[] = []
  for (const dir of await takeStreams(seams.directory, (id) => !closed.has(id))) opened.push(await openDir(seams, dir))
  return opened
}

/** Opens a stream of which somebody knows that its process is dead; null where its journal is not in the directory. */
export async function openDeadStream(seams: StreamSeams, id: Ulid): Promise<OwnedStream | null> {
  const dir = await takeDeadStream(seams.directory, id)
  return dir === null ? null : openDir(seams, dir)
}

/**
 * What entering opened streams changes about the timeline. Errors: `STREAM_FENCED` where another process opened or
 * wrote one of them since its entry was read.
 */
export function enterStreams(now: Timeline, opened: readonly OwnedStream[]): readonly StreamEntry[] {
  return opened.map(({ entry, known, journal, recovered }) => {
    const present = now.streams.find(({ id }) => id === entry.id)
    const same = present?.owner === known?.owner && present?.lastSequence === known?.lastSequence
    if (present !== undefined && !same) throw takenOver(present)
    const isNew = present === undefined ? known === null : present.state === 'closed'
    if (!isNew || recovered.unsealedEvents > 0 || recovered.openIntents.length > 0) return entry
    // While the stream was closed, or not there, moments up to the present were told to be reachable, and stay so:
    // nothing is in its journal, and its owner stamps only behind this mark.
    journal.advanceTo(endOf(now))
    return { ...entry, sealedThrough: journal.mark() }
  })
}

function closedIn({ streams }: Timeline): ReadonlySet<string> {
  return new Set(streams.filter(({ state }) => state === 'closed').map(({ id }) => id))
}

function isEnded({ losses }: Timeline, id: string): boolean {
  return losses.some(({ stream, cause }) => stream === id && cause === 'ended')
}

/** Opens a stream whose journal is in the store, whoever wrote it: that process is fenced by its next frame. */
export async function takeOverStoreStream(
  seams: Omit<StreamSeams, 'ack' | 'directory' | 'encrypt'>,
  id: string,
): Promise<OwnedStream> {
  return openStream(seams, id, { kind: 'store' }, await openStoreLog(seams.store, id, seams.clock))
}

/** A mark of an opening of a stream, see `StreamEntry.owner`. */
export function newOwner(): string {
  return randomBytes(8).toString('hex')
}

/** Whether a stream of this host was left open by a process that is gone. */
export function isOrphan(stream: StreamEntry): boolean {
  return stream.state === 'open' && stream.host === hostname() && !isRunning(stream)
}

/** Whether the process that opened a stream runs, as far as can be told from here; in doubt it does. */
export function isRunning({ host, pid, started, boot }: StreamEntry): boolean {
  return mayRun({ host, pid, started: started ?? null, boot: boot ?? null })
}

async function openOnDisk(seams: StreamSeams): Promise<readonly [OwnedStream, ...OwnedStream[]]> {
  const [first, ...rest] = await openLeftovers(seams)
  if (first !== undefined) return [first, ...rest]
  // What was declared lost stays so: moments behind it were told to be reachable without it.
  const closed = closedIn(seams.timeline)
  const free = await takeStream(seams.directory, (id) => closed.has(id) && !isEnded(seams.timeline, id))
  if (free !== null) return [await openDir(seams, free)]
  const id = new UlidGenerator(() => seams.clock.now()).next()
  return [await openDir(seams, await createStream(seams.directory, id))]
}

interface Dir {
  readonly stream: Ulid
  readonly path: string
  release(): Promise<void>
}

async function openDir(seams: StreamSeams, dir: Dir): Promise<OwnedStream> {
  try {
    const files = await openFileLog({ disk: new NodeDisk(), directory: dir.path, stream: dir.stream })
    const { secrets } = seams.store
    const log =
      secrets === undefined ? files : encryptedLog(files, journalKey(secrets, dir.stream), dir.stream, seams.encrypt)
    const owned = await openStream(seams, dir.stream, { kind: 'disk', path: dir.path }, log)
    return {
      ...owned,
      release: async () => {
        try {
          await owned.release()
        } finally {
          await dir.release()
        }
      },
    }
  } catch (error) {
    await dir.release()
    throw error
  }
}

/** Opens a stream whose frames are in `log`, and goes on where it ended. Errors: those of `Journal.open`. */
export async function openStream(
  { timeline, clock }: Pick<StreamSeams, 'timeline' | 'clock'>,
  id: string,
  place: StreamEntry['journal'],
  log: FrameLog,
): Promise<OwnedStream> {
  const known = timeline.streams.find((stream) => stream.id === id) ?? null
  const sealed = known === null ? NOTHING_SEALED : { sequence: known.lastSequence, ulid: known.lastUlid }
  const listed = { sealed, shed: known?.shed ?? [] }
  const { journal, recovered } = await Journal.open({ log, stream: id, clock, ...listed })
  // Nothing may be stamped at or before a moment that others have been told they can reach.
  journal.advanceTo(endOf(timeline))
  // Whoever wrote the stream before is gone: what it did not record is over.
  await journal.endShed()
  const openedAt = known?.openedAt ?? journal.mark()
  const { host, pid, started, boot } = thisProcess()
  const entry: StreamEntry = {
    id,
    state: 'open',
    host,
    pid,
    ...(started === null ? {} : { started }),
    ...(boot === null ? {} : { boot }),
    journal: place,
    openedAt,
    sealedThrough: known?.sealedThrough ?? openedAt,
    lastSequence: sealed.sequence,
    lastUlid: sealed.ulid,
    chain: known?.chain ?? chainStart(id),
    owner: newOwner(),
    ...(journal.shedRanges.length === 0 ? {} : { shed: journal.shedRanges }),
  }
  return { entry, known, journal, recovered, release: () => journal.close() }
}

/** The greatest stamp in the timeline. */
export function endOf({ segments, snapshots, streams }: Timeline): Ulid {
  const stamps = [
    ...segments.map(({ lastUlid }) => lastUlid),
    ...snapshots.map(({ consistentFrom }) => consistentFrom),
    ...streams.map(({ sealedThrough }) => sealedThrough),
  ]
  return stamps.reduce((end, ulid) => (ulid > end ? ulid : end), MIN_ULID)
}
