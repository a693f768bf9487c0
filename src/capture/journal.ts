import { randomBytes } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Intent } from '../format/intent-codec.ts'
import { type FrameBuilder, streamSeed, WRITER_BYTES } from '../format/journal-frame.ts'
import type { Change, Stamp } from '../model/event.ts'
import type { ShedRange } from '../model/timeline.ts'
import { type Ulid, UlidGenerator, ulidTime } from '../model/ulid.ts'
import type { Backlog } from './backlog.ts'
import { Certainty } from './certainty.ts'
import { checkedBytes, checkIntent, checkTogether } from './check.ts'
import type { FrameLog } from './frame-log.ts'
import { type Batch, type GatherOptions, GroupCommit } from './group-commit.ts'
import {
  type LostFrames,
  NOTHING_SEALED,
  type Noted,
  type OpenIntent,
  type RecoveredState,
  recoverState,
  type Sealed,
} from './journal-recovery.ts'
import { OpenIntents } from './open-intents.ts'
import { joinShed, withHole } from './shed-ranges.ts'
import { readUnsealed, type Unsealed } from './unsealed.ts'

/** What a journal is opened over. */
export interface JournalSeams {
  readonly log: FrameLog
  readonly stream: string
  readonly clock: Clock
  /** The last event of the stream that the store's timeline knows of. Default: none. */
  readonly sealed?: Sealed
  /** Bytes of frames that nothing but writes under way may keep before their intents are written again. Default 1 MiB. */
  readonly carryBytes?: number
  /** What the timeline lists as not recorded; default none. */
  readonly shed?: readonly ShedRange[]
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
}

/** What became of an intent; 0 stands for an event without one. A null change means that nothing changed. */
export interface Outcome {
  readonly intent: number
  readonly change: Change | null
}

/** What waits for the sealer. */
export interface Pending {
  readonly events: number
  readonly bytes: number
  /** Milliseconds since the oldest event, 0 where there is none. */
  readonly ageMs: number
  /** Bytes of the frames that cannot go before the store has the events: what the bound is about. */
  readonly heldBytes: number
}

/**
 * The write-ahead log of one stream. An intent is durable before the database is written, the event (or that there is
 * none) after it. After a write to the log has failed, every call rejects with that failure until the journal is
 * opened again: what is on the disk then decides.
 */
export class Journal {
  readonly #options: JournalSeams
  readonly #commits: GroupCommit
  readonly #ulids: UlidGenerator
  readonly #backlog: Backlog
  readonly #seed: number
  readonly #writer = randomBytes(WRITER_BYTES)
  readonly #open: OpenIntents
  /** Of all frames since the oldest that was read at the opening. */
  #written: number
  #keepFrom = 0
  /** What the frame of the opening says of what may be missing: no more than the one before it. */
  #noted: Noted | null
  #lastIntent: number
  #lastSequence: number
  #durable: { frame: number; sequence: number; ulid: Ulid }
  #shed: readonly ShedRange[]
  readonly #certainty: Certainty
  #closed = false

  private constructor(options: JournalSeams, state: RecoveredState) {
    this.#options = options
    this.#commits = new GroupCommit((builder) => this.#write(builder))
    this.#ulids = new UlidGenerator(() => options.clock.now())
    this.#ulids.advanceTo(state.lastUlid)
    this.#backlog = state.backlog
    this.#seed = streamSeed(options.stream)
    this.#open = new OpenIntents(state.open, options.carryBytes)
    this.#written = state.bytes
    this.#certainty = new Certainty(state.open)
    this.#lastIntent = state.lastIntent
    this.#lastSequence = state.lastSequence
    this.#durable = { frame: state.lastFrame, sequence: state.lastSequence, ulid: state.lastUlid }
    this.#shed = state.shed
    this.#noted = state.noted
    this.#keepFrom = this.#oldestNeeded()
  }

  /**
   * Reads what the log holds and writes a frame to it: a log that cannot be written, or that another process writes,
   * fails here and not at the first change. The frame lets go of nothing: a process that was killed may have left a
   * timeline that is not durable yet, and until it is, only the journal has what it names.
   */
  static async open(options: JournalSeams): Promise<{ journal: Journal; recovered: RecoveredJournal }> {
    const state = await recoverState(options.log, options.sealed ?? NOTHING_SEALED)
    const journal = new Journal(options, { ...state, shed: joinShed(options.shed ?? [], state.shed) })
    await journal.#commitNow()
    journal.#noted = null
    const recovered = {
      nextSequence: state.lastSequence + 1,
      lastUlid: state.lastUlid,
      unsealedEvents: state.backlog.size.events,
      openIntents: [...state.open.values()].map(({ intent }) => intent),
      lost: state.lost,
    }
    return { journal, recovered }
  }

  /** Makes intents durable; resolves with the id of each. */
  async intend(intents: readonly Omit<Intent, 'intent'>[]): Promise<readonly number[]> {
    for (const intent of intents) checkIntent(intent)
    const ids = intents.map((intent) => this.#addIntent(this.#gather().builder, intent))
    if (ids.length > 0) await this.#commitNow()
    return ids
  }

  /** The same without waiting: they become durable with what was stamped last, in the same turn of the event loop. */
  note(intents: readonly Omit<Intent, 'intent'>[]): readonly number[] {
    const { builder } = this.#gather({ together: true })
    return intents.map((intent) => this.#addIntent(builder, intent))
  }

  /**
   * Stamps the changes of one capture, in this order, now and in one instant, and resolves with the stamps when the events
   * are durable; null for an outcome without a change, which waits for nothing. They stand in one frame, so that a crash
   * keeps all of them or none. Errors: `SOURCE_UNSUPPORTED` for what a frame cannot hold; then nothing was stamped.
   */
  async settle(outcomes: readonly Outcome[]): Promise<readonly (Stamp | null)[]> {
    let bytes = 0
    for (const { change } of outcomes) {
      if (change !== null) bytes += checkedBytes(change)
    }
    checkTogether(outcomes.length, bytes)
    const { stream } = this.#options
    let batch: Batch | null = null
    const stamps: (Stamp | null)[] = []
    for (const { intent, change } of outcomes) {
      if (change === null) {
        this.abort([intent])
        stamps.push(null)
        continue
      }
      const ulid = batch === null ? this.#ulids.next() : this.#ulids.another()
      batch ??= this.#gather()
      this.#open.ending([intent])
      const stamp = { ulid, stream, sequence: this.#lastSequence + 1 }
      batch.builder.addEvent(change, stamp.ulid, stamp.sequence, intent)
      this.#lastSequence = stamp.sequence
      stamps.push(stamp)
    }
    await this.#durably(batch)
    return stamps
  }

  /**
   * Notes that the writes did not happen. It becomes durable with the next frame: an intent that a crash leaves open
   * is settled at the next start anyway.
   */
  abort(intents: readonly number[]): void {
    this.#open.ending(intents)
    for (const intent of intents) this.#gather().builder.addAbort(intent)
  }

  /** Begins to make durable what has gathered; nobody waits for it. */
  persist(): void {
    this.#commits.commit()
  }

  /**
   * Begins not to record: gives the next `count` sequences to writes that leave no event. The hole is durable when
   * this resolves, so that no crash can hide it.
   */
  async beginShed(count: number): Promise<void> {
    await this.#durably(this.#skip(count))
  }

  /** The hole gets larger by this. A later frame says so; that there is one is durable since `beginShed`. */
  shed(count: number): void {
    this.#skip(count)
  }

  /** Notes that no write is left that is not recorded: whatever comes now is after all of them. */
  async endShed(): Promise<void> {
    await this.#commits.flush()
    if (this.#shed.every(({ before }) => before !== null)) return
    const mark = this.#ulids.mark()
    this.#shed = this.#shed.map((range) => (range.before === null ? { ...range, before: mark } : range))
  }

  /** What was not recorded, as far as it is durable; a new value only where something changed. */
  get shedRanges(): readonly ShedRange[] {
    return this.#shed
  }

  /** Number of writes under way, or of which it is not known whether they happened, as far as that is durable. */
  get openIntents(): number {
    return this.#open.count
  }

  /** Bytes of the frames that cannot go: the store has not their events, or a write that is under way keeps them. */
  get heldBytes(): number {
    const { oldest } = this.#open
    return Math.max(this.#backlog.held, oldest === null ? 0 : this.#written - oldest.at)
  }

  pending(): Pending {
    const { events, bytes } = this.#backlog.size
    const ageMs = this.#backlog.waitedMs(this.#options.clock.now())
    return { events, bytes, ageMs, heldBytes: this.heldBytes }
  }

  /**
   * Reads the events that are not sealed, oldest first: whole frames until `maxBytes` are reached or a hole comes.
   * Without `sealed` in between it reads the same again.
   */
  async unsealed(maxBytes: number = Number.POSITIVE_INFINITY): Promise<Unsealed> {
    const sealed = { sequence: this.#backlog.sealedThrough, ulid: this.#durable.ulid }
    return readUnsealed(this.#options.log.read(this.#backlog.firstFrame ?? this.#durable.frame + 1), sealed, maxBytes)
  }

  /** Lets go of the events up to this sequence, which are in the store; frames with an open intent stay. */
  async sealed(throughSequence: number): Promise<void> {
    if (throughSequence <= this.#backlog.sealedThrough) return
    this.#backlog.seal(throughSequence)
    const needed = this.#backlog.firstFrame ?? this.#durable.frame + 1
    const again = (intent: Intent): void => this.#gather().builder.addIntent(intent)
    if (await this.#open.carry(this.#options.log, needed, this.heldBytes - this.#backlog.held, again)) {
      await this.#commitNow()
    }
    this.#keepFrom = this.#oldestNeeded()
    const keepFrom = this.#keepFrom
    // Recovery believes the newest frame about what may be missing: it says so before anything goes.
    await this.#commitNow()
    await this.#options.log.trim(keepFrom)
  }

  /**
   * How far the stamps are ahead of the clock, milliseconds: a clock that was set back, or is behind those of others.
   * Until it has come up to them, events are stamped later than they happened.
   */
  get clockAheadMs(): number {
    return this.#ulids.aheadMs
  }

  /** Makes every later stamp greater than `ulid`. For this opening: after the next one it has to be said again. */
  advanceTo(ulid: Ulid): void {
    this.#ulids.advanceTo(ulid)
  }

  /** A stamp that no event has: greater than that of every event so far, smaller than that of every later one. */
  mark(): Ulid {
    return this.#ulids.mark()
  }

  /**
   * From now on it is not known whether a write happened, until what this returns is called: when its outcome is
   * durable.
   */
  doubt(): () => void {
    return this.#certainty.doubt(this.#ulids.mark())
  }

  /** Behind this stamp it is not known what happened; null where there is no doubt. */
  get certainThrough(): Ulid | null {
    return this.#certainty.through(this.#open)
  }

  /** Of the last event that was stamped, durable or not yet. */
  get lastSequence(): number {
    return this.#lastSequence
  }

  /** Resolves when everything until now is durable. */
  async flush(): Promise<void> {
    await this.#commits.flush()
  }

  /** Makes everything durable and closes the log; further calls reject with `CAPTURE_CLOSED`. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    try {
      await this.#commits.flush()
    } finally {
      await this.#options.log.close()
    }
  }

  #skip(count: number): Batch {
    const batch = this.#gather({ empty: true })
    this.#lastSequence += count
    batch.builder.startAt(this.#lastSequence + 1, batch.builder.ulids.last ?? this.#ulids.next())
    return batch
  }

  #addIntent(builder: FrameBuilder, intent: Omit<Intent, 'intent'>): number {
    const id = ++this.#lastIntent
    builder.addIntent({ ...intent, intent: id })
    return id
  }

  #gather(options: GatherOptions = {}): Batch {
    if (this.#closed) {
      throw new TidemarkError(
        'CAPTURE_CLOSED',
        `The journal of stream ${this.#options.stream} is closed; nothing was written.`,
        { hint: 'Connect the database again before writing to it.' },
      )
    }
    return this.#commits.gather(options)
  }

  async #durably(batch: Batch | null): Promise<void> {
    if (batch === null) return
    this.#commits.commit()
    await batch.durable
  }

  #commitNow(): Promise<void> {
    return this.#durably(this.#gather())
  }

  async #write(builder: FrameBuilder): Promise<void> {
    const number = this.#durable.frame + 1
    const { first, last } = builder.ulids
    const ulid = last ?? this.#durable.ulid
    const firstSequence = builder.startsAt ?? this.#durable.sequence + 1
    const { sealedThrough, keepFrom } = this.#noted ?? {
      sealedThrough: this.#backlog.sealedThrough,
      keepFrom: this.#keepFrom,
    }
    const frame = builder.finish(
      {
        number,
        firstSequence,
        sealedThrough,
        keepFrom,
        lastUlid: ulid,
        writer: this.#writer,
      },
      this.#seed,
    )
    const { length } = frame
    await this.#options.log.append(frame)
    const after = builder.eventCount === 0 ? ulid : this.#durable.ulid
    this.#shed = withHole(this.#shed, this.#durable.sequence + 1, firstSequence - 1, after)
    const sequence = firstSequence - 1 + builder.eventCount
    this.#durable = { frame: number, sequence, ulid }
    this.#open.begun(builder.intentIds, { frame: number, at: this.#written })
    this.#open.ended(builder.outcomes)
    this.#written += length
    const since = first === null ? 0 : Math.min(ulidTime(first), this.#options.clock.now())
    this.#backlog.add(number, sequence, { events: builder.eventCount, bytes: builder.eventBytes, length, since })
  }

  /** The oldest frame that holds an event that is not sealed or an intent that is open. */
  #oldestNeeded(): number {
    const next = this.#durable.frame + 1
    return Math.min(next, this.#backlog.firstFrame ?? next, this.#open.oldest?.frame ?? next)
  }
}
