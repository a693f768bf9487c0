import { randomBytes } from 'node:crypto'
import type { Intent } from '../format/intent-codec.ts'
import { FrameBuilder, streamSeed, WRITER_BYTES } from '../format/journal-frame.ts'
import type { Change, Stamp } from '../model/event.ts'
import type { ShedRange } from '../model/timeline.ts'
import { instantEnd, type Ulid, UlidGenerator, ulidTime } from '../model/ulid.ts'
import type { Backlog, Pending } from './backlog.ts'
import { Certainty } from './certainty.ts'
import { checkOutcomes } from './check.ts'
import { isDiskRefusal } from './frame-log.ts'
import { type Batch, type GatherOptions, GroupCommit, type Stage } from './group-commit.ts'
import {
  NOTHING_SEALED,
  type RecoveredJournal,
  type RecoveredState,
  recoveredFrom,
  recoverState,
} from './journal-recovery.ts'
import type { JournalSeams } from './journal-seams.ts'
import { OpenIntents } from './open-intents.ts'
import { closedJournal, refusedBy } from './refusal.ts'
import { RoomWatch } from './room-watch.ts'
import { joinShed, withHole } from './shed-ranges.ts'
import { readUnsealed, type Unsealed } from './unsealed.ts'

/** What became of an intent; 0 stands for an event without one. A null change means that nothing changed. */
export interface Outcome {
  readonly intent: number
  readonly change: Change | null
}

/**
 * The write-ahead log of one stream. An intent is in it before the database is written, and durable as `intend` is
 * asked; the event (or that there is none) is durable after it. What the disk refuses is refused to those who have not
 * written yet; what is done already waits, and is tried again until the disk takes it. After any other failure every call
 * rejects with it until the journal is opened again: what is on the disk then decides.
 */
export class Journal {
  readonly #options: JournalSeams
  readonly #commits: GroupCommit
  readonly #ulids: UlidGenerator
  readonly #backlog: Backlog
  readonly #seed: number
  #writer = randomBytes(WRITER_BYTES)
  readonly #open: OpenIntents
  /** Of all frames since the oldest that was read at the opening. */
  #written: number
  #keepFrom = 0
  /** What the newest durable frame lets go of. */
  #lettingGo = 0
  /** Of what the disk refuses. */
  readonly room: RoomWatch
  /** What the frame of the opening says of what may be missing: no more than the one before it. */
  #noted: RecoveredState['noted']
  #lastIntent: number
  #lastSequence: number
  #durable: { frame: number; sequence: number; ulid: Ulid }
  #shed: readonly ShedRange[]
  readonly #certainty: Certainty
  #state: 'open' | 'finished' | 'closed' = 'open'

  private constructor(options: JournalSeams, state: RecoveredState) {
    this.#options = options
    this.#commits = new GroupCommit((builder, written) => this.#writeOrWait(builder, written), options.pace)
    this.room = new RoomWatch(this.#commits, options, () => this.#letGoAlone())
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
    try {
      await journal.#tried()
    } catch (error) {
      journal.room.stop()
      throw error
    }
    journal.#noted = null
    return { journal, recovered: recoveredFrom(state) }
  }

  /**
   * Makes intents durable; resolves with the id of each, at `written` as soon as they outlive this process. Errors:
   * `JOURNAL_*` where the disk does not take them; then there are none, and nothing may be written.
   */
  async intend(intents: readonly Omit<Intent, 'intent'>[], until: Stage = 'tried'): Promise<readonly number[]> {
    const ids = intents.map((intent) => this.#addIntent(this.#gather().builder, intent))
    if (ids.length === 0) return ids
    try {
      await this.#tried(until)
    } catch (error) {
      // Their frame is written when the disk takes it, and says then that nothing came of them.
      if (this.#commits.failure === null) this.abort(ids)
      throw refusedBy(error)
    }
    return ids
  }

  /** The same without waiting: they become durable with what was stamped last, in the same turn of the event loop. */
  note(intents: readonly Omit<Intent, 'intent'>[]): readonly number[] {
    const { builder } = this.#gather({ together: true })
    return intents.map((intent) => this.#addIntent(builder, intent))
  }

  /**
   * Stamps the changes of one capture, in this order, now and in one instant, and resolves with the stamps when the events
   * are durable, however long the disk takes nothing: what happened must not be forgotten. Null for an outcome without a
   * change, which waits for nothing. They stand in one frame, so that a crash keeps all of them or none. Errors: `SOURCE_UNSUPPORTED` for what a frame cannot hold, `CAPTURE_CLOSED`; then nothing was stamped.
   */
  async settle(outcomes: readonly Outcome[]): Promise<readonly (Stamp | null)[]> {
    checkOutcomes(outcomes)
    if (this.#state !== 'open') throw closedJournal(this.#options.stream)
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
      const stamp = { ulid, stream: this.#options.stream, sequence: this.#lastSequence + 1 }
      batch.builder.addEvent(change, stamp.ulid, stamp.sequence, intent)
      this.#lastSequence = stamp.sequence
      stamps.push(stamp)
    }
    if (batch !== null) this.#commits.commit()
    await batch?.awaited()
    return stamps
  }

  /** Notes that the writes did not happen, with the next frame: what a crash leaves open is settled at the next start. */
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
   * `durable` resolves, so that no crash can hide it, and is made even where `tried` rejects, once the disk takes it.
   */
  beginShed(count: number): Pick<Batch, 'durable' | 'tried'> {
    const hole = this.#skip(count)
    this.persist()
    return hole
  }

  /** The hole gets larger by this. A later frame says so; that there is one is durable since `beginShed`. */
  shed(count: number): void {
    this.#skip(count)
  }

  /** Notes that no write is left that is not recorded: whatever comes now is after all of them. */
  async endShed(): Promise<void> {
    const obstacle = await this.#commits.flush()
    if (obstacle !== null) throw obstacle
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

  /**
   * Bytes that cannot go: of frames that a write that is under way keeps, or whose events the store has not, with the
   * files that hold these.
   */
  get heldBytes(): number {
    const { held } = this.#backlog
    const files = held === 0 ? 0 : (this.#options.log.room?.bytes ?? 0)
    return Math.max(held, files, this.#open.pinned(this.#written))
  }

  pending(): Pending {
    const { events, bytes } = this.#backlog.size
    return { events, bytes, ageMs: this.#backlog.waitedMs(this.#options.clock.now()), heldBytes: this.heldBytes }
  }

  /**
   * Reads the events that are not sealed, oldest first: whole frames until `maxBytes` are reached or a hole comes.
   * Without `sealed` in between it reads the same again.
   */
  async unsealed(maxBytes: number = Number.POSITIVE_INFINITY): Promise<Unsealed> {
    const sealed = { sequence: this.#backlog.sealedThrough, ulid: this.#durable.ulid }
    return readUnsealed(this.#options.log.read(this.#backlog.firstFrame ?? this.#durable.frame + 1), sealed, maxBytes)
  }

  /**
   * Lets go of the events up to this sequence, which are in the store; frames with an open intent stay, and so do all
   * where the disk does not take that they may go.
   */
  async sealed(throughSequence: number): Promise<void> {
    if (throughSequence <= this.#backlog.sealedThrough) return
    this.#backlog.seal(throughSequence)
    try {
      if (this.#commits.obstacle === null) await this.#letGo()
    } catch (error) {
      if (!isDiskRefusal(error)) throw error
    }
    if (this.room.shortage === null) return
    this.#keepFrom = this.#oldestNeeded()
    await this.room.makeRoom()
  }

  /** Takes out of the journal what is in the store, where `seal` brings it. False where a write under way keeps some of it. */
  async forget(seal: () => Promise<void>): Promise<boolean> {
    const { log } = this.#options
    const last = log.range?.last ?? 0
    log.apart()
    await this.#tried()
    await seal()
    return (await this.#letGo()) > last
  }

  /** Returns the number of the oldest frame of which anything is left. */
  async #letGo(): Promise<number> {
    const needed = this.#backlog.firstFrame ?? this.#durable.frame + 1
    const again = (intent: Intent): void => this.#gather().builder.addIntent(intent)
    const pinned = this.#open.pinned(this.#written) - this.#backlog.held
    if (await this.#open.carry(this.#options.log, needed, pinned, again)) await this.#tried()
    // What has come to nothing keeps its frame until that is durable.
    if (this.#open.isEnding) await this.#tried()
    const keepFrom = this.#oldestNeeded()
    this.#keepFrom = keepFrom
    // Recovery believes the newest frame about what may be missing: it says so before anything goes.
    await this.#tried()
    return this.#options.log.trim(keepFrom)
  }

  /** The same with a frame of its own, in front of what the disk refused: it is small, and finds room where that did not. */
  async #letGoAlone(): Promise<void> {
    if (this.#keepFrom <= this.#lettingGo) return
    await this.#writeOrWait(new FrameBuilder())
    await this.#options.log.trim(this.#lettingGo)
  }

  /**
   * Milliseconds by which the stamps are ahead of the clock, which was set back or is behind those of others: so much
   * later than they happened are events stamped.
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

  /** Resolves with true when everything until now is durable; false where the disk does not take it. */
  async flush(): Promise<boolean> {
    return (await this.#commits.flush()) === null
  }

  /** The last stamp that is durable; later ones may be waiting for the disk. */
  get durableThrough(): Ulid {
    return instantEnd(this.#durable.ulid)
  }

  /** Stamps nothing any more: `settle` rejects with `CAPTURE_CLOSED`. What was stamped becomes durable all the same. */
  finish(): void {
    if (this.#state === 'open') this.#state = 'finished'
  }

  /** Makes everything durable and closes the log; further calls reject with `CAPTURE_CLOSED`. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.room.stop()
    try {
      const obstacle = await this.#commits.flush()
      if (obstacle !== null) throw obstacle
    } finally {
      this.#commits.abandon()
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
    if (this.#state === 'closed') throw closedJournal(this.#options.stream)
    return this.#commits.gather(options)
  }

  /** Everything so far is durable; rejects where the disk does not take it. */
  async #tried(until: Stage = 'tried'): Promise<void> {
    const batch = this.#gather()
    this.#commits.commit()
    await batch[until]
  }

  async #writeOrWait(builder: FrameBuilder, written?: () => void): Promise<void> {
    try {
      await this.#write(builder, written)
    } catch (error) {
      // The next attempt may have other contents: encrypted, no two may have the same nonce.
      this.#writer = randomBytes(WRITER_BYTES)
      if (isDiskRefusal(error)) void this.room.awaitRoom()
      throw error
    }
  }

  async #write(builder: FrameBuilder, written?: () => void): Promise<void> {
    const number = this.#durable.frame + 1
    const { first, last } = builder.ulids
    const ulid = last ?? this.#durable.ulid
    const firstSequence = builder.startsAt ?? this.#durable.sequence + 1
    const { sealedThrough } = this.#noted ?? this.#backlog
    const keepFrom = this.#noted?.keepFrom ?? this.#keepFrom
    const standing = { number, firstSequence, sealedThrough, keepFrom, lastUlid: ulid, writer: this.#writer }
    const frame = builder.finish(standing, this.#seed)
    const { length } = frame
    await this.#options.log.append(frame, written)
    this.#lettingGo = keepFrom
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
