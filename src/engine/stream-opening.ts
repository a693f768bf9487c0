import { dirname } from 'node:path'
import type { Loss } from '../model/gap.ts'
import type { StreamEntry, Timeline, TimelineChange } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import type { TimelineLog } from '../timeline/log.ts'
import { heedAnswers } from './answers.ts'
import { enterStreams } from './stream-entries.ts'
import { firstStampOf, lossesOf, type OwnedStream, openLeftovers, orphansIn, type StreamSeams } from './streams.ts'
import { entered, waitingBeside } from './waiting-streams.ts'

/** Enters streams that were opened over a timeline that was read. */
export async function enterAtOnce(
  timeline: TimelineLog,
  opened: readonly [OwnedStream, ...OwnedStream[]],
): Promise<void> {
  const [own] = opened
  const dead = new Set((await orphansIn(timeline.timeline)).map(({ id }) => id))
  const waiting = await waitingFor(timeline.timeline, opened)
  await timeline.commit((now) => openingOf(now, { opened, dead, waiting, mark: own.journal.mark() }))
  for (const { entry } of opened) await entered(entry)
  await heedAnswers(opened)
}

/** Enters a stream that was begun while the store was away; resolves with its entry. It may have been done by an earlier try. */
export async function enterLater(timeline: TimelineLog, own: OwnedStream): Promise<StreamEntry> {
  const { entry, journal } = own
  await timeline.refresh()
  const first = await firstStampOf(journal)
  const dead = new Set((await orphansIn(timeline.timeline)).map(({ id }) => id))
  const waiting = await waitingFor(timeline.timeline, [own])
  const entryIn = ({ streams }: Timeline): StreamEntry | undefined =>
    streams.find(({ id, owner }) => id === entry.id && owner === entry.owner)
  const now = await timeline.commit((now) => {
    if (entryIn(now) !== undefined) return null
    return openingOf(now, { opened: [{ ...own, first }], dead, waiting, mark: journal.mark() })
  })
  const known = entryIn(now)
  if (known === undefined) throw new Error(`stream ${entry.id} is not in the timeline`)
  await entered(known)
  await heedAnswers([own])
  return known
}

/** Streams that are opened. */
interface Opening {
  readonly opened: readonly [OwnedStream, ...OwnedStream[]]
  /** Streams whose owners are known to be dead. */
  readonly dead: ReadonlySet<string>
  /** See `enterStreams`. */
  readonly waiting: Ulid | null
  /** A stamp that no event has. */
  readonly mark: Ulid
}

/**
 * What opening streams changes about the timeline. What a crash took from a journal in memory is gone for good, and nobody
 * knows how much that was: until `mark` it is a loss.
 */
function openingOf(timeline: Timeline, { opened, dead, waiting, mark }: Opening): TimelineChange {
  const lost = timeline.streams.filter(
    ({ id, state, journal }) => state === 'open' && journal.kind === 'memory' && dead.has(id),
  )
  const addLosses = [...lost.map((stream) => lossOf(stream, mark)), ...lossesOf(timeline, opened)]
  const putStreams = [
    ...lost.map((stream): StreamEntry => ({ ...stream, state: 'closed' })),
    ...enterStreams(timeline, opened, waiting),
  ]
  const first = timeline.epochs.length === 0
  return {
    putStreams,
    ...(addLosses.length === 0 ? {} : { addLosses }),
    ...(first ? { addEpoch: { epoch: 1, startedAt: opened[0].entry.openedAt, restored: null } } : {}),
  }
}

/** What streams are opened over where the timeline moves on meanwhile. */
interface OpeningSeams extends Omit<StreamSeams, 'timeline'> {
  readonly timeline: TimelineLog
}

/**
 * Opens what crashed processes left in a journal directory, and enters it. Where that fails, or `over` aborts meanwhile, it is let go;
 * aborted, there is none.
 */
export async function enterLeft(seams: OpeningSeams, over: AbortSignal): Promise<readonly OwnedStream[]> {
  if (over.aborted) return []
  const { timeline } = seams
  const refresh = (): Promise<Timeline> => timeline.refresh()
  const left = await openLeftovers({ ...seams, timeline: timeline.timeline, refresh })
  try {
    await enterOpened(timeline, left)
    over.throwIfAborted()
    return left
  } catch (error) {
    for (const { release } of left) await release()
    if (over.aborted) return []
    throw error
  }
}

/** Enters streams that were left behind, where there are any. */
export async function enterOpened(timeline: TimelineLog, left: readonly OwnedStream[]): Promise<void> {
  if (left.length === 0) return
  const waiting = await waitingFor(timeline.timeline, left)
  await timeline.commit((now) => {
    const addLosses = lossesOf(now, left)
    return { putStreams: enterStreams(now, left, waiting), ...(addLosses.length === 0 ? {} : { addLosses }) }
  })
  for (const { entry } of left) await entered(entry)
  await heedAnswers(left)
}

/** The stamp before the first event of streams that wait beside those that are opened; null where none does. */
export async function waitingFor(timeline: Timeline, opened: readonly OwnedStream[]): Promise<Ulid | null> {
  const [place] = opened.flatMap(({ entry: { journal } }) => (journal.kind === 'disk' ? [journal.path] : []))
  if (place === undefined) return null
  return (await waitingBeside(timeline, dirname(place), new Set(opened.map(({ entry }) => entry.id)))).first
}

function lossOf({ id, lastSequence, sealedThrough, host, pid }: StreamEntry, now: Ulid): Loss {
  return {
    stream: id,
    firstSequence: lastSequence + 1,
    after: sealedThrough,
    through: now > sealedThrough ? now : sealedThrough,
    cause: 'crash',
    reason: `process ${pid} of ${host} ended without closing its journal, which was in memory`,
    by: null,
  }
}
