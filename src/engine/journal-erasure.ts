import type { Clock } from '../base/clock.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Sealer } from '../capture/sealer.ts'
import { askForget } from '../capture/stream-control.ts'
import type { StreamEntry } from '../model/timeline.ts'
import type { CompletionSeams } from './completion.ts'
import { addressOf, livenessOfStream } from './liveness.ts'
import { type OwnedStream, openDeadStream, takeOverStoreStream } from './streams.ts'
import { journalsOf } from './waiting-streams.ts'

/** Attempts to let go of a journal beside writes that are under way, and how long each waits for these, milliseconds. */
const MOST_ATTEMPTS = 20
const WAIT_MS = 25

const NOT_HERE = 'its journal is not here, or nobody can tell whether its process is alive'

/** A journal that may still hold a record that was erased. */
export interface LeftJournal {
  readonly stream: string
  readonly host: string
  /** Its directory there; null where it has none. */
  readonly path: string | null
  readonly why: string
}

/** What an erasure did about the journals of the streams that wrote the record. */
export interface ErasedJournals {
  /** Streams whose journals hold it no more. */
  readonly rewritten: readonly string[]
  readonly left: readonly LeftJournal[]
}

/** The capture of this process. */
export interface OwnJournals {
  /** Of the streams that it holds. */
  readonly sealers: readonly Pick<Sealer, 'stream'>[]
  forget(): Promise<boolean>
}

/** Takes what is in the store out of the journals of streams. False where writes under way keep some of it. */
export async function forgetIn(
  streams: readonly Pick<OwnedStream, 'journal'>[],
  clock: Clock,
  seal: () => Promise<void>,
): Promise<boolean> {
  for (const { journal } of streams) {
    let isDone = await journal.forget(seal)
    for (let attempt = 1; !isDone && attempt < MOST_ATTEMPTS; attempt++) {
      await clock.sleep(WAIT_MS)
      isDone = await journal.forget(seal)
    }
    if (!isDone) return false
  }
  return true
}

/**
 * Takes a record out of the journals, which hold events for a while after they are in the store, and what came to nothing:
 * of this process, of others that are asked, and of dead ones whose journals are here. Of what cannot be reached those that
 * `wrote` the record are told.
 */
export async function forgetEverywhere(
  seams: Omit<CompletionSeams, 'recordKeys' | 'log'>,
  own: OwnJournals | null,
  { streams, wrote }: { readonly streams: readonly StreamEntry[]; readonly wrote: ReadonlySet<string> },
): Promise<ErasedJournals> {
  const rewritten: string[] = []
  const left: LeftJournal[] = []
  for (const stream of streams) {
    const { id, host, journal } = stream
    if (journal.kind === 'memory') continue
    const why = await whyLeft(seams, own, stream)
    if (why === null) rewritten.push(id)
    else if (wrote.has(id) || why !== NOT_HERE)
      left.push({ stream: id, host, path: journal.kind === 'disk' ? journal.path : null, why })
  }
  return { rewritten, left }
}

/** Null where it holds nothing of the record any more. */
async function whyLeft(
  seams: Omit<CompletionSeams, 'recordKeys' | 'log'>,
  own: OwnJournals | null,
  stream: StreamEntry,
): Promise<string | null> {
  const busy = 'writes that are under way keep it: erase again, or restart its process'
  try {
    if (own?.sealers.some((sealer) => sealer.stream.id === stream.id) === true)
      return (await own.forget()) ? null : busy
    const address = await addressOf(stream)
    const answer = address === null ? null : await askForget(address)
    if (answer !== null) return answer ? null : busy
    const opened = await openHere(seams, stream)
    if (opened === null) return NOT_HERE
    try {
      const { unsealedEvents, openIntents } = opened.recovered
      if (unsealedEvents > 0 || openIntents.length > 0)
        return 'it holds what is not in the store yet: start its application'
      return (await forgetIn([opened], seams.clock, async () => {})) ? null : busy
    } finally {
      await opened.release()
    }
  } catch (error) {
    // The record is gone from the store all the same: what hinders here is told beside that.
    if (error instanceof TidemarkError) return messageOf(error)
    throw error
  }
}

/** The stream of a process that is dead, or has closed it; null where that is not known, or it is not here. */
async function openHere(
  { store, timeline, clock, file }: Omit<CompletionSeams, 'recordKeys' | 'log'>,
  stream: StreamEntry,
): Promise<OwnedStream | null> {
  const known = { store, timeline: timeline.timeline, clock }
  const isOver = stream.state === 'closed' || (await livenessOfStream(stream)) === 'dead'
  if (!isOver) return null
  if (stream.journal.kind === 'store') return takeOverStoreStream(known, stream.id)
  const directory = journalsOf(stream, file.id)
  if (directory === null || (await livenessOfStream(stream)) !== 'dead') return null
  const refresh = (): ReturnType<typeof timeline.refresh> => timeline.refresh()
  return openDeadStream({ ...known, refresh, ack: 'journal', directory, encrypt: true }, stream.id)
}
