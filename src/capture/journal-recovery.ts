import { TidemarkError } from '../base/errors.ts'
import { EventCursor } from '../format/event-codec.ts'
import type { Intent } from '../format/intent-codec.ts'
import { corruptFrame, decodeFrame, type Frame } from '../format/journal-frame.ts'
import type { ShedRange } from '../model/timeline.ts'
import { MIN_ULID, type Ulid, ulidTime } from '../model/ulid.ts'
import { Backlog } from './backlog.ts'
import type { FrameLog } from './frame-log.ts'
import type { FramePlace } from './open-intents.ts'
import { withHole } from './shed-ranges.ts'

/** The last event of a stream that is in the store. */
export interface Sealed {
  readonly sequence: number
  readonly ulid: Ulid
  /** What the journal stamped up to here has other stamps in the store (`StreamEntry.late`). Absent: nothing. */
  readonly lateThrough?: Ulid
}

/** No event of the stream is in the store. */
export const NOTHING_SEALED: Sealed = { sequence: 0, ulid: MIN_ULID }

/** A write of which it is unknown whether it happened. */
export interface OpenIntent extends Intent {
  /** The last stamp of its journal before it was begun; `MIN_ULID` where there is none, or it is not known. */
  readonly since: Ulid
}

/** An intent that has no outcome, and the frame that holds it. */
export interface HeldIntent extends FramePlace {
  readonly intent: OpenIntent
  /** The last stamp in the frame that held it first, `MIN_ULID` where that is gone: what the intent is about comes later. */
  readonly through: Ulid
}

/** What a frame says of what may be missing: events up to this sequence, and frames below this number. */
export interface Noted {
  readonly sealedThrough: number
  readonly keepFrom: number
}

/** Frames that were taken away from a journal: what was in them is not known. */
export interface LostFrames {
  /** For people, what is missing. */
  readonly what: string
  /** The sequence that the first event in them had, if there was one. */
  readonly firstSequence: number
  /** A stamp before everything in them; `MIN_ULID` where the journal knows of none. */
  readonly after: Ulid
}

/** What the frames of a journal say together. */
export interface RecoveredState {
  readonly lastFrame: number
  readonly lastSequence: number
  readonly lastUlid: Ulid
  readonly lastIntent: number
  readonly backlog: Backlog
  /** As the last frame has it, without what the store's timeline says; null where there is none. */
  readonly noted: Noted | null
  /** Holes in the sequences: writes that were not recorded. How long they went on is not known here. */
  readonly shed: readonly ShedRange[]
  /** Null: the journal is whole. */
  readonly lost: LostFrames | null
  /** Bytes of the frames. */
  readonly bytes: number
  /** By intent id, in the order in which they were made. */
  readonly open: ReadonlyMap<number, HeldIntent>
}

/** What a journal held when it was opened. */
export interface RecoveredJournal {
  /** Sequence of the next event. */
  readonly nextSequence: number
  /** The last event's; `MIN_ULID` where the journal knows of none. Later stamps are greater. */
  readonly lastUlid: Ulid
  /** Number of events that are not in the store yet; `unsealed` reads them. */
  readonly unsealedEvents: number
  /** Writes of which it is unknown whether they happened: to be settled by reading the database, by `settle` or `abort`. */
  readonly openIntents: readonly OpenIntent[]
  /** What was taken away from it; null: nothing. */
  readonly lost: LostFrames | null
  /** Up to here its events were in the store, as it was told when they were. */
  readonly sealedThrough: number
}

/** The same for whoever opens the journal. */
export function recoveredFrom(state: RecoveredState): RecoveredJournal {
  const { lastSequence, lastUlid, backlog, open, lost, noted } = state
  const openIntents = [...open.values()].map(({ intent }) => intent)
  const sealedThrough = noted?.sealedThrough ?? 0
  return {
    nextSequence: lastSequence + 1,
    lastUlid,
    unsealedEvents: backlog.size.events,
    openIntents,
    lost,
    sealedThrough,
  }
}

/**
 * Reads a journal from its oldest frame on. `known` is what the store's timeline says; the journal may know of more.
 * Errors: `JOURNAL_CORRUPT`, also where sequences run backwards; `STREAM_FENCED` where the store has other events
 * under the same sequences: two copies of a journal were written to.
 */
export async function recoverState(log: FrameLog, known: Sealed): Promise<RecoveredState> {
  const backlog = new Backlog(0)
  const open = new Map<number, HeldIntent>()
  let first: Frame | null = null
  let next: number | null = null
  let last: Frame | null = null
  let shed: readonly ShedRange[] = []
  let lastIntent = 0
  let length = 0
  const { missing } = log
  let lost: LostFrames | null = null
  for await (const bytes of log.read(log.range?.first ?? 1)) {
    const frame = decodeFrame(bytes)
    if (next !== null && frame.firstSequence < next) throw gap(frame, `event ${next} should come first in it`)
    const isBehindLost = missing !== null && last !== null && frame.number !== last.number + 1
    if (isBehindLost) lost ??= { what: missing, firstSequence: next ?? 1, after: last?.lastUlid ?? MIN_ULID }
    else if (next !== null) shed = withHole(shed, next, frame.firstSequence - 1, startOf(frame, last))
    first ??= frame
    const since = checkEvents(frame, known)
    next = frame.firstSequence + frame.eventCount
    const { eventCount, events } = frame
    backlog.add(frame.number, next - 1, { events: eventCount, bytes: events.length, length: bytes.length, since })
    for (const intent of frame.intents()) {
      const isCarried = intent.isCarried === true
      const since = isCarried ? MIN_ULID : (last?.lastUlid ?? MIN_ULID)
      const through = isCarried ? MIN_ULID : frame.lastUlid
      open.set(intent.intent, { intent: { ...intent, since }, frame: frame.number, at: length, through })
      lastIntent = Math.max(lastIntent, intent.intent)
    }
    for (const settled of [...frame.settles(), ...frame.aborted()]) {
      open.delete(settled)
      lastIntent = Math.max(lastIntent, settled)
    }
    last = frame
    length += bytes.length
  }
  const sealed = Math.max(known.sequence, last?.sealedThrough ?? 0)
  if (next !== null && sealed >= next) {
    throw corruptFrame(`the store holds events up to ${sealed} of this stream, the journal only up to ${next - 1}`)
  }
  backlog.seal(sealed)
  const isHeadless = missing !== null && first !== null && first.number > Math.max(1, last?.keepFrom ?? 0)
  if (missing !== null && isHeadless) lost = { what: missing, firstSequence: sealed + 1, after: MIN_ULID }
  // Otherwise it is the end that is gone.
  if (missing !== null) lost ??= { what: missing, firstSequence: next ?? sealed + 1, after: last?.lastUlid ?? MIN_ULID }
  if (!isHeadless && first !== null && first.firstSequence > sealed + 1) {
    // The frames before it are gone, since what was in them is in the store: what is left between is a hole.
    shed = [...withHole([], sealed + 1, first.firstSequence - 1, startOf(first, null)), ...shed]
  }
  return {
    lastFrame: last?.number ?? 0,
    // An empty journal of a stream that has events in the store goes on behind them.
    lastSequence: Math.max((next ?? 1) - 1, sealed),
    lastUlid: last?.lastUlid ?? MIN_ULID,
    lastIntent,
    backlog,
    noted: last === null ? null : { sealedThrough: last.sealedThrough, keepFrom: last.keepFrom },
    shed,
    lost,
    bytes: length,
    open: new Map([...open].sort(([a], [b]) => a - b)),
  }
}

/** A stamp before everything that happened in the hole before a frame. */
function startOf(frame: Frame, previous: Frame | null): Ulid {
  return frame.eventCount === 0 ? frame.lastUlid : (previous?.lastUlid ?? MIN_ULID)
}

/** Walks the events of a frame; returns the time of the first. */
function checkEvents(frame: Frame, known: Sealed): number {
  const cursor = new EventCursor(frame.events)
  let since = 0
  let count = 0
  while (cursor.next()) {
    cursor.checkTexts()
    if (cursor.sequence !== frame.firstSequence + count)
      throw gap(frame, `an event in it has number ${cursor.sequence}`)
    if (count === 0) since = ulidTime(ulidOf(cursor))
    count++
    if (cursor.sequence < known.sequence || cursor.sequence > known.sequence + 1) continue
    const ulid = ulidOf(cursor)
    if (known.lateThrough !== undefined && ulid <= known.lateThrough) continue
    if (cursor.sequence === known.sequence ? ulid !== known.ulid : ulid <= known.ulid) throw diverged(known)
  }
  if (count !== frame.eventCount) throw gap(frame, `it holds ${count} events instead of ${frame.eventCount}`)
  return since
}

function ulidOf({ ulidBytes }: EventCursor): Ulid {
  return Buffer.from(ulidBytes).toString('latin1')
}

function diverged({ sequence, ulid }: Sealed): TidemarkError {
  return new TidemarkError(
    'STREAM_FENCED',
    `The store has event ${ulid} as number ${sequence} of this stream, this journal has another one: a copy of it was ` +
      'written to elsewhere. Nothing was changed, and nothing of either is lost.',
    {
      hint: 'Keep this journal directory, start again with an empty one, and run `tidemark reconcile --record` for what is missing.',
      details: { sequence, ulid },
    },
  )
}

/** The encoded events of a frame whose sequence is above `sealedThrough`. */
export function eventsAfter(frame: Frame, sealedThrough: number): Uint8Array {
  if (frame.firstSequence > sealedThrough) return frame.events
  const cursor = new EventCursor(frame.events)
  while (cursor.next()) if (cursor.sequence > sealedThrough) return frame.events.subarray(cursor.offset)
  return frame.events.subarray(frame.events.length)
}

function gap(frame: Frame, why: string): ReturnType<typeof corruptFrame> {
  return corruptFrame(`the events of frame ${frame.number} are not gapless, ${why}`)
}
