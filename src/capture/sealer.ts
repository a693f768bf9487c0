import { nonce } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { hasCode, messageOf, TidemarkError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { segmentKey } from '../format/keys.ts'
import type { ShedRange, StreamEntry, StreamSegment, Timeline } from '../model/timeline.ts'
import { instantEnd, type Ulid } from '../model/ulid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { TimelineLog } from '../timeline/log.ts'
import type { SegmentEncoder } from './encoder.ts'
import type { Journal } from './journal.ts'
import { withLateStamps } from './late-stamps.ts'
import { keyringGeneration } from './record-keys.ts'
import { sameRanges, shedBehind } from './shed-ranges.ts'

/** When events leave the journal for the store: whichever comes first. */
export interface SealOptions {
  /** Events that are waiting. Default 50,000. */
  readonly events?: number
  /** Bytes that are waiting. Default 16 MiB. */
  readonly bytes?: number
  /** Age of the oldest that is waiting, milliseconds: the lag that is accepted. Default 10,000. */
  readonly ageMs?: number
  /**
   * How long closing may take to bring what is waiting into the store, milliseconds. What is not there by then stays in
   * the journal; nothing of a journal in memory does. Default 25,000.
   */
  readonly closeMs?: number
}

/** What a sealer works with. */
export interface SealerSeams {
  readonly store: ObjectStore
  readonly timeline: TimelineLog
  readonly journal: Journal
  readonly encoder: Pick<SegmentEncoder, 'encode' | 'mostBytes'>
  readonly clock: Clock
  readonly log: Logger
  /** Called when another process has taken the stream over: nothing more can be written to it. */
  readonly fenced: (error: TidemarkError) => void
  /** Called after the journal has let events go. */
  readonly drained: () => void
  /** Enters the stream in the timeline; resolves with its entry there. Absent: it is there. */
  readonly enter?: () => Promise<StreamEntry>
  /**
   * The stamp before the first event of streams that are not in the timeline yet, so that nothing may be told to be complete behind
   * it; null where there is none. Absent: none.
   */
  readonly waiting?: () => Promise<Ulid | null>
  /** Whether it may be told without a commit that everything up to a stamp is in the store. Absent: never. */
  readonly canAnswer?: (through: Ulid) => Promise<boolean>
}

/** What is not given. */
export const SEAL_DEFAULTS: Required<SealOptions> = {
  events: 50_000,
  bytes: 16 * 1024 * 1024,
  ageMs: 10_000,
  closeMs: 25_000,
}
/** A segment holds at most about so many times `bytes`, however much is waiting. */
const LARGEST_SEAL = 4
/** After a failure the next attempt waits this long, twice as long each time, up to the bound. */
const RETRY_MS = 1_000
const RETRY_MOST_MS = 60_000

/** How long to wait after so many failures in a row, milliseconds. */
export function retryMs(failures: number): number {
  return Math.min(RETRY_MOST_MS, RETRY_MS * 2 ** (failures - 1))
}

/** A segment that was put and is not committed yet. */
interface Part {
  readonly segment: StreamSegment
  /** Whether it has everything that the journal held. */
  readonly isLast: boolean
  /** Generation of the keyring that its images are sealed with, or 0. */
  readonly keyring: number
}

/** What the sealer remembers of the segment that it has made last, until the timeline has it. */
interface MadeSegment {
  readonly segment: StreamSegment
  readonly keyring: number
  /** False where the store has not answered the put: whether the segment is there is asked before it is counted on. */
  isThere: boolean
}

/** The next seal: waiting for its time, or under way. */
interface Due {
  readonly waiting: AbortController
  now: boolean
}

/**
 * Moves events from the journal to the store: segment first, then the timeline, then the journal lets go. Without
 * events it does nothing and asks for nothing.
 */
export class Sealer {
  readonly #seams: SealerSeams
  readonly #limits: Required<SealOptions>
  #stream: StreamEntry
  #sealing: Promise<void> = Promise.resolve()
  #due: Due | null = null
  #failures = 0
  /** Commits of which it is not known what became of them: their requests may even arrive later. */
  #attempts: StreamEntry[] = []
  /** A segment that no commit has entered yet: it is uploaded once, however often the timeline cannot be written. */
  #made: MadeSegment | null = null
  #isEntered = false
  #closed = false
  /** See `answer`; empty where nothing was told. */
  #told: Ulid = ''

  constructor(seams: SealerSeams, stream: StreamEntry, options: SealOptions) {
    this.#seams = seams
    this.#stream = stream
    this.#limits = { ...SEAL_DEFAULTS, ...options }
  }

  /** The stream as of the last commit. */
  get stream(): StreamEntry {
    return this.#stream
  }

  /** Everything of the stream up to here is in the store, and its later events come behind it. */
  get completeThrough(): Ulid {
    return this.#told > this.#stream.sealedThrough ? this.#told : this.#stream.sealedThrough
  }

  /** Attempts that failed in a row, and how old an event may become before it is sealed, milliseconds. */
  get progress(): { readonly failures: number; readonly sealMs: number } {
    return { failures: this.#failures, sealMs: this.#limits.ageMs }
  }

  /** Tells the sealer that events were journalled: it seals now, or sets its timer; at once where the journal is full. */
  noticed(isFull = false): void {
    if (this.#closed) return
    const { events, bytes } = this.#seams.journal.pending()
    if (events === 0) return
    const full = isFull || events >= this.#limits.events || bytes >= this.#limits.bytes
    if (full && this.#failures === 0) this.#sealSoon(0)
    else this.#sealSoon(Math.max(this.#limits.ageMs, this.#backoff()))
  }

  /**
   * Seals whatever is in the journal. When it resolves, every event that was acknowledged before the call is in the
   * store, and every event up to `sealedThrough` of the stream; `through` (not in the future) asks that this be at
   * least so far. It does not get past a write of which it is not known whether it happened.
   */
  seal(through: Ulid | null = null): Promise<void> {
    return this.#inTurn(() => this.#seal(through, 'open'))
  }

  /**
   * As `seal`, for somebody who only wants to know: where there is nothing to bring in, nothing is committed. That everything
   * up to `through` is in the store holds all the same: this process stamps behind it from now on, and so does whoever opens
   * this stream, or another, where `canAnswer` says so.
   */
  answer(through: Ulid | null): Promise<void> {
    return this.#inTurn(() => this.#seal(through, 'open', true))
  }

  /**
   * Seals the rest and marks the stream as closed; it stays open where the journal has open intents, which the next
   * start settles. A closed stream has every event there will ever be: the journal stamps none from now on.
   */
  async close(): Promise<void> {
    this.#closed = true
    this.#seams.journal.finish()
    this.#due?.waiting.abort()
    await this.#inTurn(() => this.#seal(null, 'closed'))
  }

  #inTurn(step: () => Promise<void>): Promise<void> {
    const result = this.#sealing.then(step)
    this.#sealing = result.catch(() => undefined) // the caller has the error; later seals try again
    return result
  }

  #sealSoon(ms: number): void {
    if (this.#due !== null && (ms > 0 || this.#due.now)) return
    // The first event since the last seal: the time to learn whether others have begun to write meanwhile.
    if (this.#due === null && (this.#isEntered || this.#seams.enter === undefined))
      this.#seams.timeline.refresh().catch((error: unknown) => this.#failed(error))
    this.#due?.waiting.abort()
    const due = { waiting: new AbortController(), now: ms === 0 }
    this.#due = due
    void this.#sealAfter(ms, due)
  }

  async #sealAfter(ms: number, due: Due): Promise<void> {
    const { signal } = due.waiting
    if (ms > 0) await this.#seams.clock.idle(ms, signal)
    if (signal.aborted) return
    due.now = true
    try {
      await this.seal()
      this.#failures = 0
    } catch (error) {
      this.#failures++
      this.#failed(error)
    }
    if (this.#due === due) this.#due = null
    this.noticed()
  }

  #failed(error: unknown): void {
    if (hasCode(error, 'STREAM_FENCED')) {
      this.#closed = true
      this.#seams.fenced(error)
      this.#seams.log.error({ error: error.message }, 'Capture has stopped: another process writes this stream.')
      return
    }
    this.#seams.log.error(
      { error: messageOf(error), failures: this.#failures },
      'The store could not be reached: the events stay in the journal, which keeps them safe, and it is tried again.',
    )
  }

  #backoff(): number {
    return this.#failures === 0 ? 0 : retryMs(this.#failures)
  }

  async #seal(through: Ulid | null, state: StreamEntry['state'], isQuestion = false): Promise<void> {
    while (!(await this.#sealOnce(through, state, isQuestion)));
  }

  /** False where it is to be done anew, see `#commit`; what was committed before that stands. */
  async #sealOnce(through: Ulid | null, wanted: StreamEntry['state'], isQuestion: boolean): Promise<boolean> {
    const { journal, timeline } = this.#seams
    await this.#requireEntered()
    if (through !== null) journal.advanceTo(through)
    // Every event stamped so far is before the mark, and every later one behind it.
    const now = journal.mark()
    const isDurable = await journal.flush()
    const waiting = (await this.#seams.waiting?.()) ?? null
    // Where all are closed, everything that the timeline knows is told to be complete.
    const state = journal.openIntents > 0 || !isDurable || waiting !== null ? 'open' : wanted
    // What the disk does not take is stamped behind what it has.
    const mark = isDurable ? now : journal.durableThrough
    // A commit whose answer was lost may have been made all the same.
    if (this.#attempts.length > 0) await this.#learn(await timeline.refresh())
    // It holds every event there will ever be, which readers rely on: only who owns the stream next opens it again.
    if (this.#stream.state === 'closed') return true
    let part = await this.#putSegment()
    // After an outage the journal holds more than fits one segment, or memory: part by part, each let go before the next.
    for (; part !== null && !part.isLast; part = await this.#putSegment()) {
      const sealedThrough = this.#certain(instantEnd(part.segment.lastUlid), waiting)
      if (!(await this.#commit({ ...this.#stream, sealedThrough }, part))) return false
    }
    const segment = part?.segment ?? null
    const sameShed = sameRanges(this.#stream.shed, this.#shed)
    const nothingNew = segment === null && state === this.#stream.state && sameShed
    // A segment ends where a frame does, and has every event of the captures in it.
    const end = segment === null ? mark : instantEnd(segment.lastUlid)
    const sealedThrough = this.#certain(end > mark ? end : mark, waiting)
    const isThere = through === null || through <= this.#stream.sealedThrough
    if (nothingNew && (isThere || sealedThrough === this.#stream.sealedThrough)) return true
    if (
      nothingNew &&
      isQuestion &&
      through !== null &&
      through <= sealedThrough &&
      (await this.#seams.canAnswer?.(through)) === true
    ) {
      // Who has lost the stream to another process can answer for nothing.
      await this.#learn(await timeline.refresh())
      this.#told = through
      return true
    }
    return this.#commit({ ...this.#stream, state, sealedThrough }, part)
  }

  /** The stream as it was entered, which may not be as it was opened. */
  async #requireEntered(): Promise<void> {
    if (this.#isEntered) return
    const { enter, timeline } = this.#seams
    this.#stream = enter === undefined ? requireOwned(timeline.timeline, this.#stream) : await enter()
    this.#isEntered = true
  }

  get #shed(): readonly ShedRange[] {
    return shedBehind(this.#seams.journal.shedRanges, this.#stream.late)
  }

  /** As far as it is known what happened, also in streams that are `waiting`; never back. */
  #certain(ulid: Ulid, waiting: Ulid | null): Ulid {
    const bounds = [ulid, this.#seams.journal.certainThrough ?? ulid, waiting ?? ulid]
    const certain = bounds.reduce((least, bound) => (bound < least ? bound : least))
    return certain > this.#stream.sealedThrough ? certain : this.#stream.sealedThrough
  }

  /**
   * Enters the segment in the timeline, and only then lets the journal go of its events. False where nothing was
   * committed: an earlier commit of this process arrived only now, and this one was for events that are in the store
   * already; or a record was erased while its images were sealed, and may have been made again since: they need its
   * new key.
   */
  async #commit(entry: StreamEntry, part: Part | null): Promise<boolean> {
    const segment = part?.segment ?? null
    const shed = this.#shed
    const whole = { ...entry, ...(shed.length === 0 ? {} : { shed }) }
    const stream = segment === null ? whole : { ...whole, ...endOf(segment) }
    const before = this.#stream
    this.#attempts.push(stream)
    let isMade = false
    const timeline = await this.#seams.timeline.commit((now) => {
      const inForce = part === null || part.keyring === 0 || part.keyring >= keyringGeneration(now)
      if (!inForce) {
        this.#made = null
        this.#seams.log.info('A record was erased: sealing anew.')
      }
      isMade = inForce && this.#requireOwn(now).lastSequence === before.lastSequence
      if (!isMade) return null
      return { putStreams: [stream], ...(segment === null ? {} : { addSegments: [segment] }) }
    })
    await this.#learn(timeline)
    // A request that comes late finds its generation taken now.
    if (isMade) this.#attempts = []
    return isMade
  }

  /** Takes over what the timeline says of the stream, and lets the journal go of what is in the store. */
  async #learn(timeline: Timeline): Promise<void> {
    this.#stream = this.#requireOwn(timeline)
    await this.#seams.journal.sealed(this.#stream.lastSequence)
    this.#seams.drained()
  }

  /** The stream as the timeline has it, where it ends as this process has left it. Errors: `STREAM_FENCED`. */
  #requireOwn(timeline: Timeline): StreamEntry {
    const known = requireOwned(timeline, this.#stream)
    // The owner may have been copied with the memory of its process: what it has not written itself is not its own.
    if ([this.#stream, ...this.#attempts].some((own) => own.chain === known.chain)) return known
    throw takenOver(known)
  }

  /** Puts what the journal holds, or the first part of it, as a segment; null where it holds nothing. */
  async #putSegment(): Promise<Part | null> {
    const { journal, encoder, store } = this.#seams
    if (journal.pending().events === 0) return null
    const made = await this.#madeBefore()
    if (made !== null) return { ...made, isLast: journal.pending().events <= made.segment.events }
    const most = Math.min(this.#limits.bytes * LARGEST_SEAL, encoder.mostBytes)
    const { regions, isLast } = await journal.unsealed(most)
    if (regions.length === 0) return null
    const { id, chain, late, lastUlid } = this.#stream
    const { bytes, info, keyring } = await encoder.encode(id, chain, withLateStamps(regions, late, lastUlid))
    const segment = { ...info, key: segmentKey({ ...info, nonce: nonce() }) }
    const making: MadeSegment = { segment, keyring, isThere: false }
    this.#made = making
    await store.put(segment.key, bytes, { ifAbsent: true })
    making.isThere = true
    return { segment, isLast, keyring }
  }

  /** The segment that was put before a commit that failed, where it goes on from where the stream is now. */
  async #madeBefore(): Promise<MadeSegment | null> {
    const made = this.#made
    // The link before it says which events come before: after a commit that arrived late it is another one.
    if (made === null || made.segment.chain.previous !== this.#stream.chain) return null
    // A put stores the whole object or nothing.
    made.isThere ||= (await this.#seams.store.head(made.segment.key)) !== null
    return made.isThere ? made : null
  }
}

/** Where a stream ends with this segment. */
function endOf({
  lastSequence,
  lastUlid,
  chain,
}: StreamSegment): Pick<StreamEntry, 'lastSequence' | 'lastUlid' | 'chain'> {
  return { lastSequence, lastUlid, chain: chain.value }
}

/** The stream as the timeline has it. Errors: `STREAM_FENCED` where another opening of its journal owns it now. */
function requireOwned({ streams }: Timeline, { id, owner }: StreamEntry): StreamEntry {
  const known = streams.find((stream) => stream.id === id)
  if (known?.owner === owner) return known
  throw known === undefined ? new Error(`stream ${id} is not in the timeline`) : takenOver(known)
}

/** The error for a stream that goes on elsewhere. */
export function takenOver({ id, host, pid, lastSequence }: StreamEntry): TidemarkError {
  return new TidemarkError(
    'STREAM_FENCED',
    `Stream ${id} was taken over by process ${pid} on ${host}, which opened a copy of its journal. Nothing was overwritten; ` +
      `what this process journalled after event ${lastSequence} is in its own journal only.`,
    {
      hint: 'Keep this journal directory, start again with an empty one, and run `tidemark reconcile --record` for what is missing.',
      details: { stream: id, host, pid, lastSequence },
    },
  )
}
