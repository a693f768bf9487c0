import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import { MeasuredPace } from '../capture/commit-pace.ts'
import { encryptedLog, journalKey } from '../capture/encrypted-log.ts'
import { openFileLog } from '../capture/file-log.ts'
import type { FrameLog } from '../capture/frame-log.ts'
import { Journal } from '../capture/journal.ts'
import { journalFileBytes } from '../capture/journal-bound.ts'
import { peekFiles } from '../capture/journal-peek.ts'
import { type LostFrames, NOTHING_SEALED, type RecoveredJournal, type Sealed } from '../capture/journal-recovery.ts'
import { firstStampIn } from '../capture/late-stamps.ts'
import { MemoryLog } from '../capture/memory-log.ts'
import { NodeDisk } from '../capture/node-disk.ts'
import { thisProcess } from '../capture/process-mark.ts'
import { openStoreLog } from '../capture/store-log.ts'
import { createStream, type StreamDir, takeDeadStream, takeStream, takeStreams } from '../capture/stream-dir.ts'
import { type Door, makePrivateDoor } from '../capture/stream-door.ts'
import { chainStart } from '../format/segment/chain.ts'
import type { Loss } from '../model/gap.ts'
import { totalsOf } from '../model/segment-index.ts'
import type { StreamEntry, Timeline } from '../model/timeline.ts'
import { beforeInstant, MIN_ULID, type Ulid, UlidGenerator } from '../model/ulid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { livenessOfStream } from './liveness.ts'

/** When the promise of a write resolves: its event is durable in the local journal, in the store, or only in memory. */
export type Ack = 'journal' | 'store' | 'memory'

/** What streams are opened over. */
export interface StreamSeams {
  readonly store: ObjectStore
  readonly timeline: Timeline
  /** Reads it again when streams are locked: a process that died since may have gone on with them. Absent: none can have. */
  readonly refresh?: () => Promise<Timeline>
  readonly clock: Clock
  readonly ack: Ack
  /** Directory of the journals of this store on this machine; of a stream without one, only its door may be there. */
  readonly directory: string
  /** Encrypt what is written to journals on disk; the store must be encrypted. */
  readonly encrypt: boolean
  /** Of the journal; absent for who writes no events to it. */
  readonly limitBytes?: number
  /** Every stamp comes after it, and after those that the timeline knows. Absent: after those. */
  readonly after?: Ulid
}

/** A stream that this process owns, with its journal open. */
export interface OwnedStream {
  readonly entry: StreamEntry
  /** What the timeline said of it before; null where it is new. */
  readonly known: StreamEntry | null
  readonly journal: Journal
  readonly recovered: RecoveredJournal
  /** A stamp that no event comes before, of a stream with events that is not in the timeline yet; else null. */
  readonly first: Ulid | null
  /** What is gone for good because files of its journal were taken away; null: nothing. */
  readonly loss: Loss | null
  /** At which its owner is asked, and seen to be alive; null where none could be made. */
  readonly door: Door | null
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
  const opened: OwnedStream[] = []
  if (seams.ack === 'store') {
    for (const stream of await orphansIn(seams.timeline)) {
      if (stream.journal.kind === 'store') opened.push(await openInStore(seams, stream.id))
    }
  }
  const [first, ...rest] = opened
  if (first !== undefined) return [first, ...rest]
  const id = new UlidGenerator(() => seams.clock.now()).next()
  if (seams.ack === 'store') return [await openInStore(seams, id)]
  return [await withPrivateDoor(seams, id, () => openStream(seams, id, { kind: 'memory' }, new MemoryLog()))]
}

/**
 * Opens what crashed processes left in a journal directory; creates nothing. Closed streams hold nothing, unless the store was set
 * back since.
 */
export async function openLeftovers(seams: StreamSeams): Promise<readonly OwnedStream[]> {
  const closed = closedIn(seams.timeline)
  const isLeft = async (id: Ulid): Promise<boolean> => {
    const entry = closed.get(id)
    return entry === undefined || (!isEnded(seams.timeline, id) && (await holdsMore(seams, entry)))
  }
  return openTaken(seams, await takeStreams(seams.directory, isLeft))
}

/** Whether the journal of a closed stream has writes that the store has not heard of, or knows of events that were there. */
async function holdsMore({ directory, store }: StreamSeams, entry: StreamEntry): Promise<boolean> {
  const { id } = entry
  try {
    const peek = await peekFiles(new NodeDisk(), join(directory, id), id, sealedOf(entry), store.secrets)
    return peek.events > 0 || peek.openIntents > 0 || peek.isSetBack
  } catch (error) {
    // Who goes on with the stream says what is wrong with its journal.
    if (error instanceof TidemarkError) return false
    throw error
  }
}

/** Opens a stream of which somebody knows that its process is dead; null where its journal is not in the directory. */
export async function openDeadStream(seams: StreamSeams, id: Ulid): Promise<OwnedStream | null> {
  const dir = await takeDeadStream(seams.directory, id)
  const [opened] = await openTaken(seams, dir === null ? [] : [dir])
  return opened ?? null
}

/** What of them is gone for good, and is not in the timeline yet: a process that was killed may have entered it. */
export function lossesOf({ losses }: Timeline, opened: readonly OwnedStream[]): readonly Loss[] {
  const isKnown = (loss: Loss): boolean =>
    losses.some(({ stream, reason }) => stream === loss.stream && reason === loss.reason)
  return opened.flatMap(({ loss }) => (loss === null || isKnown(loss) ? [] : [loss]))
}

function closedIn({ streams }: Timeline): ReadonlyMap<string, StreamEntry> {
  return new Map(streams.filter(({ state }) => state === 'closed').map((entry) => [entry.id, entry]))
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

function openInStore(seams: StreamSeams, id: string): Promise<OwnedStream> {
  return withPrivateDoor(seams, id, () => takeOverStoreStream(seams, id))
}

/** Opens a stream that has no directory, with a door in one that is this user's alone. */
async function withPrivateDoor(
  { directory }: Pick<StreamSeams, 'directory'>,
  id: string,
  open: () => Promise<OwnedStream>,
): Promise<OwnedStream> {
  const made = await makePrivateDoor(id, directory)
  try {
    const owned = await open()
    const { door: _, ...entry } = owned.entry
    return {
      ...owned,
      entry: made === null ? entry : { ...entry, door: made.path },
      door: made?.door ?? null,
      release: async () => {
        try {
          await owned.release()
        } finally {
          await made?.door.close()
        }
      },
    }
  } catch (error) {
    await made?.door.close()
    throw error
  }
}

/** A mark of an opening of a stream, see `StreamEntry.owner`. */
export function newOwner(): string {
  return randomBytes(8).toString('hex')
}

/** Every stream that was left open by a process that is dead. */
export async function orphansIn({ streams }: Timeline): Promise<readonly StreamEntry[]> {
  const open = streams.filter(({ state }) => state === 'open')
  const found = await Promise.all(open.map(livenessOfStream))
  return open.filter((_, i) => found[i] === 'dead')
}

async function openOnDisk(seams: StreamSeams): Promise<readonly [OwnedStream, ...OwnedStream[]]> {
  const [first, ...rest] = await openLeftovers(seams)
  if (first !== undefined) return [first, ...rest]
  // What was declared lost stays so: moments behind it were told to be reachable without it.
  const closed = closedIn(seams.timeline)
  const free = await takeStream(seams.directory, (id) => closed.has(id) && !isEnded(seams.timeline, id))
  const [again] = await openTaken(seams, free === null ? [] : [free])
  if (again !== undefined) return [again]
  const id = new UlidGenerator(() => seams.clock.now()).next()
  return [await openDir(seams, await createStream(seams.directory, id))]
}

/** Opens what this process has locked, by what the timeline says since; where that fails, all of it is let go. */
async function openTaken(seams: StreamSeams, dirs: readonly StreamDir[]): Promise<readonly OwnedStream[]> {
  const opened: OwnedStream[] = []
  const left = [...dirs]
  try {
    const timeline = dirs.length === 0 ? seams.timeline : ((await seams.refresh?.()) ?? seams.timeline)
    for (let dir = left.shift(); dir !== undefined; dir = left.shift()) {
      opened.push(await openDir({ ...seams, timeline }, dir))
    }
    return opened
  } catch (error) {
    for (const { release } of [...opened, ...left]) await release()
    throw error
  }
}

/** Opens the journal in the directory of a stream that this process has locked, and lets go of that where it cannot. */
export async function openDir(seams: StreamSeams, dir: StreamDir): Promise<OwnedStream> {
  try {
    const files = await openFileLog({
      disk: new NodeDisk(),
      directory: dir.path,
      stream: dir.stream,
      ...(seams.limitBytes === undefined ? {} : { maxFileBytes: journalFileBytes(seams.limitBytes) }),
    })
    const { secrets } = seams.store
    const log =
      secrets === undefined ? files : encryptedLog(files, journalKey(secrets, dir.stream), dir.stream, seams.encrypt)
    const owned = await openStream(seams, dir.stream, { kind: 'disk', path: dir.path }, log)
    return {
      ...owned,
      door: dir.door,
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
  { timeline, clock, limitBytes, after }: Pick<StreamSeams, 'timeline' | 'clock' | 'limitBytes' | 'after'>,
  id: string,
  place: StreamEntry['journal'],
  log: FrameLog,
): Promise<OwnedStream> {
  const known = timeline.streams.find((stream) => stream.id === id) ?? null
  const sealed = known === null ? NOTHING_SEALED : sealedOf(known)
  const listed = { sealed, shed: known?.shed ?? [] }
  // What is entered as open has had a frame before.
  const isGone = known?.state === 'open' && log.range === null
  const seams = { log, stream: id, clock, pace: new MeasuredPace() }
  const { journal, recovered } = await Journal.open({ ...seams, ...listed, ...carrying(limitBytes) })
  // Nothing may be stamped at or before a moment that others have been told they can reach.
  journal.advanceTo(endOf(timeline))
  if (after !== undefined) journal.advanceTo(after)
  // Whoever wrote the stream before is gone: what it did not record is over.
  await journal.endShed()
  const first = known === null && recovered.unsealedEvents > 0 ? await firstStampOf(journal) : null
  const openedAt = known?.openedAt ?? (first === null ? journal.mark() : beforeInstant(first))
  const lost = isGone
    ? { ...EVERYTHING, firstSequence: recovered.nextSequence }
    : (recovered.lost ?? setBack(known, recovered))
  const through = journal.mark()
  const { pid, started, boot, namespace } = thisProcess()
  const entry: StreamEntry = {
    id,
    state: 'open',
    host: hostname(),
    pid,
    ...(started === null ? {} : { started }),
    ...(boot === null ? {} : { boot }),
    ...(namespace === null ? {} : { namespace }),
    journal: place,
    openedAt,
    sealedThrough: known?.sealedThrough ?? openedAt,
    lastSequence: sealed.sequence,
    lastUlid: sealed.ulid,
    chain: known?.chain ?? chainStart(id),
    owner: newOwner(),
    ...(journal.shedRanges.length === 0 ? {} : { shed: journal.shedRanges }),
    ...(known?.late === undefined ? {} : { late: known.late }),
  }
  const loss = lost === null ? null : lossOf(entry, lost, through)
  return { entry, known, journal, recovered, first, loss, door: null, release: () => journal.close() }
}

/** A stamp that no event that is not in the store comes before, now or later. */
export async function firstStampOf(journal: Journal): Promise<Ulid> {
  const mark = journal.mark()
  const isDurable = await journal.flush()
  // What the disk does not take is stamped behind what it has.
  return firstStampIn((await journal.unsealed(1)).regions) ?? (isDurable ? mark : journal.durableThrough)
}

/** What the timeline says of the journal of a stream. */
export function sealedOf({ lastSequence, lastUlid, late }: StreamEntry): Sealed {
  const sealed = { sequence: lastSequence, ulid: lastUlid }
  return late === undefined ? sealed : { ...sealed, lateThrough: late.through }
}

/** The store was set back, or has lost its last generations: what the journal was told is in it is nowhere any more. */
function setBack(known: StreamEntry | null, { sealedThrough }: RecoveredJournal): LostFrames | null {
  if (known === null || sealedThrough <= known.lastSequence) return null
  const what = `events ${known.lastSequence + 1} to ${sealedThrough} were in the store and are missing there`
  return { what, firstSequence: known.lastSequence + 1, after: known.lastUlid }
}

const EVERYTHING = { what: 'every journal file is missing', after: MIN_ULID }

/** Whether and when intents that are missing took effect is not known either: until `through`, which is now. */
function lossOf({ id, sealedThrough }: StreamEntry, { what, firstSequence, after }: LostFrames, through: Ulid): Loss {
  return {
    stream: id,
    firstSequence,
    after: after > sealedThrough ? after : sealedThrough,
    through,
    cause: 'missing',
    reason: what,
    by: null,
  }
}

/** What hangs may keep a file or so. */
function carrying(limitBytes: number | undefined): { readonly carryBytes?: number } {
  return limitBytes === undefined ? {} : { carryBytes: Math.min(MOST_CARRY_BYTES, journalFileBytes(limitBytes)) }
}

const MOST_CARRY_BYTES = 1024 * 1024

/** The greatest stamp in the timeline. */
export function endOf({ segments, snapshots, streams }: Timeline): Ulid {
  const stamps = [
    totalsOf(segments).lastUlid,
    ...snapshots.map(({ consistentFrom }) => consistentFrom),
    ...streams.map(({ sealedThrough }) => sealedThrough),
  ]
  return stamps.reduce((end, ulid) => (ulid > end ? ulid : end), MIN_ULID)
}
