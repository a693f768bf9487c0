import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { SegmentEncoder } from '../capture/encoder.ts'
import { peekFiles } from '../capture/journal-peek.ts'
import { NodeDisk } from '../capture/node-disk.ts'
import type { RecordKeys } from '../capture/record-keys.ts'
import { Sealer } from '../capture/sealer.ts'
import { askStream, type Wanted } from '../capture/stream-control.ts'
import type { StoreFile } from '../format/store-file.ts'
import type { Item } from '../model/event.ts'
import type { StreamEntry, Timeline } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { TimelineLog } from '../timeline/log.ts'
import { addressOf, livenessOfStream } from './liveness.ts'
import { endClockOf } from './peers.ts'
import { enterOpened, waitingFor } from './stream-opening.ts'
import { type OwnedStream, openDeadStream, openLeftovers, type StreamSeams, sealedOf } from './streams.ts'
import { journalDirectories, journalsOf, waitingStreams } from './waiting-streams.ts'

/** What local streams are completed over. */
export interface CompletionSeams {
  readonly store: ObjectStore
  readonly timeline: TimelineLog
  readonly recordKeys: RecordKeys | null
  readonly clock: Clock
  /** See `answering`. Absent: never. */
  readonly canAnswer?: (through: Ulid) => Promise<boolean>
  readonly log: Logger
  /** Of the store. */
  readonly file: Pick<StoreFile, 'id'>
}

/** The capture of this process, which can settle what a dead one left by its own database. */
export interface Adopting {
  /** Of its streams. */
  readonly sealers: readonly Sealer[]
  /** Takes over what dead processes left in a journal directory. */
  adopt(directory: string): Promise<readonly OwnedStream[]>
  complete(through: Ulid | null, wanted: Wanted): Promise<void>
}

/** What a completion could not bring into the store. */
export interface Completion {
  /** What a crashed process may have written or not: only the next capture of the database tells. */
  readonly undecided: readonly Item[]
  /** Open streams that could not be asked, such as those of other machines. */
  readonly unheard: readonly string[]
  /**
   * The owners, by stream, of those of which everything up to the bound that was asked for is in the store, and whose later events
   * come behind it, although the timeline does not say so. Absent: none.
   */
  readonly answered?: ReadonlyMap<string, string>
  /** Whether nobody else was asked: then the timeline was read after all that was acknowledged before. Absent: false. */
  readonly isRead?: boolean
}

/**
 * Brings into the store what processes of this machine hold in their journals: a live one is asked to. What a dead one left
 * is sealed in its place, as far as it is known what happened; where this process captures, `own` takes it over and
 * settles it, so that it is closed. A stream that is complete up to `through` already costs nothing, and is asked all the
 * same where it has to finish the writes that it has begun.
 */
export async function completeOthers(
  seams: CompletionSeams,
  own: Adopting | null,
  through: Ulid | null,
  wanted: Wanted = 'acknowledged',
): Promise<Completion> {
  await own?.complete(through, wanted)
  const now = await seams.timeline.refresh()
  const waiting = await waitingStreams(journalDirectories(now, seams.file.id), now)
  const directories = new Set<string>()
  const unheard = new Set<string>()
  const answered = new Map(completeBy(own, through))
  const ask = async (stream: StreamEntry): Promise<void> => {
    const address = await addressOf(stream)
    if (address !== null && (await askStream(address, through, wanted))) {
      answered.set(stream.id, stream.owner)
      return
    }
    const directory = journalsOf(stream, seams.file.id)
    const isDead = directory !== null && (await livenessOfStream(stream)) === 'dead'
    if (isDead && own === null && (await leftNothing(seams, stream, through))) {
      answered.set(stream.id, stream.owner)
      return
    }
    unheard.add(stream.id)
    if (isDead) directories.add(directory)
  }
  const open = [...now.streams, ...waiting].filter(({ id, state, sealedThrough }) => {
    const isThere = wanted === 'acknowledged' && through !== null && sealedThrough >= through
    return state === 'open' && own?.sealers.some(({ stream }) => stream.id === id) !== true && !isThere
  })
  await Promise.all(open.map(ask))
  const undecided: Item[] = []
  for (const directory of directories) {
    const left =
      own === null
        ? await sealAll(seams, await openLeftovers(over(seams, directory)), through)
        : (await own.adopt(directory)).map(leftoverOf)
    for (const { stream, items } of left) {
      unheard.delete(stream)
      undecided.push(...items)
    }
  }
  if (directories.size > 0) await seams.timeline.refresh()
  // It settles what it took over; who asks for the writes that were begun may hold the locks that this takes.
  if (own !== null && directories.size > 0 && wanted === 'acknowledged') {
    await own.complete(through, wanted)
    return { undecided: [], unheard: [...unheard], answered: new Map([...answered, ...completeBy(own, through)]) }
  }
  return { undecided, unheard: [...unheard], answered, isRead: open.length === 0 }
}

/** The streams of this process that are complete up to `through`, with their owners. */
function completeBy(own: Adopting | null, through: Ulid | null): readonly (readonly [string, string])[] {
  if (own === null || through === null) return []
  const whole = own.sealers.filter(({ completeThrough }) => through <= completeThrough)
  return whole.map(({ stream }) => [stream.id, stream.owner])
}

/**
 * Whether a process that is dead has left nothing that is not in the store: who only wants to know need not take its stream over
 * then, nor close it. With `through`, also whether whoever opens the stream again comes behind that.
 */
async function leftNothing(seams: CompletionSeams, stream: StreamEntry, through: Ulid | null): Promise<boolean> {
  const { id, journal, state } = stream
  if (journal.kind !== 'disk' || state !== 'open') return false
  if (through !== null && (await seams.canAnswer?.(through)) !== true) return false
  try {
    const peek = await peekFiles(new NodeDisk(), journal.path, id, sealedOf(stream), seams.store.secrets)
    return peek.isWhole && !peek.isSetBack && peek.events === 0 && peek.openIntents === 0 && peek.shed === 0
  } catch (error) {
    if (error instanceof TidemarkError) return false // who takes it over says what is wrong with it
    throw error
  }
}

/** A stream that was sealed for a dead process, and what it may have written besides. */
interface Leftover {
  readonly stream: string
  readonly items: readonly Item[]
}

/**
 * Seals what is in the journal of a stream of which somebody knows that its process is dead, wherever it ran: its journal
 * may be on a volume that is here now. Does nothing where it is not.
 */
export async function sealDeadStream(seams: CompletionSeams, stream: StreamEntry): Promise<void> {
  const directory = journalsOf(stream, seams.file.id)
  const opened = directory === null ? null : await openDeadStream(over(seams, directory), stream.id)
  if (opened !== null) await sealAll(seams, [opened], null)
}

function leftoverOf({ entry, recovered }: OwnedStream): Leftover {
  return { stream: entry.id, items: recovered.openIntents.map(({ item }) => item) }
}

function over({ store, timeline, clock }: CompletionSeams, directory: string): StreamSeams {
  const refresh = (): Promise<Timeline> => timeline.refresh()
  return { store, timeline: timeline.timeline, refresh, clock, ack: 'journal', directory, encrypt: true }
}

async function sealAll(
  seams: CompletionSeams,
  leftovers: readonly OwnedStream[],
  through: Ulid | null,
): Promise<readonly Leftover[]> {
  const sealed: Leftover[] = []
  const { store, timeline, clock, log } = seams
  const encoder = new SegmentEncoder(seams.recordKeys, log)
  try {
    await enterOpened(timeline, leftovers)
    for (const leftover of leftovers) {
      const { journal, entry, recovered } = leftover
      const fenced = (error: TidemarkError): void => log.error({ error: error.message }, 'A stream goes on elsewhere.')
      const waiting = (): Promise<Ulid | null> => waitingFor(timeline.timeline, [leftover])
      const seams = { store, timeline, journal, encoder, clock, log, fenced, drained: () => {}, waiting }
      const sealer = new Sealer(seams, entry, {})
      // A write of which nobody knows whether it happened keeps the stream open: it takes the database to settle it.
      if (recovered.openIntents.length === 0) await sealer.close()
      else await sealer.seal(through)
      if (sealer.stream.state === 'closed') endClockOf(sealer.stream)
      sealed.push(leftoverOf(leftover))
    }
  } finally {
    for (const leftover of leftovers) await leftover.release()
    await encoder.close()
  }
  return sealed
}
