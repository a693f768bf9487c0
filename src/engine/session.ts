import type { Clock } from '../base/clock.ts'
import { messageOf, TidemarkError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { Chain } from '../capture/chain.ts'
import { SegmentEncoder } from '../capture/encoder.ts'
import { Findings } from '../capture/findings.ts'
import { type Backpressure, JournalBound, type WhenFull } from '../capture/journal-bound.ts'
import type { RecordKeys } from '../capture/record-keys.ts'
import { Recorder } from '../capture/recorder.ts'
import { retryMs, SEAL_DEFAULTS, Sealer, type SealOptions } from '../capture/sealer.ts'
import type { Source } from '../capture/source.ts'
import type { StreamDoor, StreamReport, Wanted } from '../capture/stream-control.ts'
import type { TimelineLog } from '../capture/timeline-log.ts'
import type { SnapshotEntry } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import { needsBaseline } from '../restore/gaps.ts'
import type { Requests } from '../store/meter.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { takeBaseline } from '../upkeep/baseline.ts'
import { ClockWatch } from './clock-watch.ts'
import { Confirming } from './confirming.ts'
import { endClockOf, isAloneIn, type OpenPeers, openPeers } from './peers.ts'
import { openingOf } from './stream-opening.ts'
import { type Ack, type OwnedStream, openStreams, orphansIn } from './streams.ts'

/** What a session is opened over. */
export interface SessionSeams {
  readonly store: ObjectStore
  readonly timeline: TimelineLog
  /** Of the records; null where their images are stored as they are. */
  readonly recordKeys: RecordKeys | null
  readonly source: Source
  readonly clock: Clock
  readonly log: Logger
  readonly ack: Ack
  /** Of the journals of this store. */
  readonly directory: string
  /** See `JournalOptions`. */
  readonly encrypt: boolean
  readonly seal: SealOptions
  /** Bytes of the journal that may wait for the store, and what becomes of writes then. */
  readonly limitBytes: number
  readonly whenFull: WhenFull
  /** Of this process, in the last 24 hours. */
  readonly requests: () => Requests
}

/** The capture of one live database by this process: its stream, from the first write to the last. */
export class Session {
  readonly #seams: SessionSeams
  readonly #stream: OwnedStream
  /** What earlier processes left and is not closed yet. */
  readonly #leftovers: Map<OwnedStream, Sealer>
  readonly #encoder: SegmentEncoder
  readonly #sealer: Sealer
  readonly #bound: JournalBound
  /** The way in which this process captures; the reconciliation reads and records by it. */
  readonly recorder: Recorder
  readonly findings: Findings
  readonly #peers: OpenPeers
  readonly #confirming: Confirming
  readonly #clockWatch: ClockWatch
  #detach: () => void = () => {}
  #settled: Promise<void> = Promise.resolve()
  #isSettling = false
  #baseline: Promise<unknown> = Promise.resolve()
  #baselineFailures = 0
  readonly #stopping = new AbortController()
  #closing: Promise<void> | null = null

  private constructor(seams: SessionSeams, [own, ...leftovers]: readonly [OwnedStream, ...OwnedStream[]]) {
    this.#seams = seams
    this.#stream = own
    this.#encoder = new SegmentEncoder(seams.recordKeys)
    this.#sealer = this.#sealerOf(own)
    this.#leftovers = new Map(leftovers.map((leftover) => [leftover, this.#sealerOf(leftover)]))
    const { clock, log, limitBytes, whenFull } = seams
    this.#bound = new JournalBound({
      journal: own.journal,
      clock,
      log,
      limitBytes,
      whenFull,
      reached: () => this.#sealer.noticed(true),
      resumed: () => this.#beginBaseline(),
    })
    this.#clockWatch = new ClockWatch(() => own.journal.clockAheadMs, log)
    this.#clockWatch.look()
    const aloneSince = async (ulid: Ulid): Promise<boolean> => {
      return isAloneIn(await seams.timeline.refresh(), own.entry.id, ulid)
    }
    this.findings = new Findings({ clock, log, aloneSince })
    this.#peers = openPeers(own, seams)
    const mark = (): Ulid => own.journal.mark()
    const isAloneSince = (ulid: Ulid): boolean => {
      const isHeard = this.#peers.isShared() || this.#peers.learn() > ulid
      return !isHeard && isAloneIn(seams.timeline.timeline, own.entry.id, ulid)
    }
    this.recorder = new Recorder({
      journal: own.journal,
      peers: this.#peers,
      bound: this.#bound,
      chain: new Chain({ isAloneSince, mark }),
      findings: this.findings,
      clock,
      log,
      noticed: () => {
        this.#clockWatch.look()
        this.#sealer.noticed()
      },
      doubted: () => {
        log.warn(
          { items: this.recorder.undecided.length },
          'A write failed, and the database could not be read: whether it happened is not known. It is read again.',
        )
        void this.#settleOn()
      },
      read: (item) => seams.source.read(item),
      volatile: seams.source.volatile,
    })
    this.#confirming = new Confirming({ ...seams, journal: own.journal, peers: this.#peers, recorder: this.recorder })
  }

  /** Opens the journal and enters the stream in the timeline. The database is not touched before `start`. */
  static async open(seams: SessionSeams): Promise<Session> {
    const { timeline } = seams
    const session = new Session(seams, await openStreams({ ...seams, timeline: timeline.timeline }))
    try {
      const dead = new Set((await orphansIn(timeline.timeline)).map(({ id }) => id))
      await timeline.commit((now) =>
        openingOf(now, [session.#stream, ...session.#leftovers.keys()], dead, session.#stream.journal.mark()),
      )
      session.#serve()
      return session
    } catch (error) {
      await session.#release()
      throw error
    }
  }

  /** Id of the stream that this session writes. */
  get stream(): string {
    return this.#stream.entry.id
  }

  /** Events that are durable and not yet in the store. */
  get pending(): Backpressure {
    const { state, shedWrites } = this.#bound
    return { ...this.#stream.journal.pending(), limitBytes: this.#seams.limitBytes, state, shedWrites }
  }

  /** How the stream is doing, without asking the store. */
  report(): StreamReport {
    const { clockAheadMs } = this.#stream.journal
    return { pending: this.pending, ...this.#sealer.progress, clockAheadMs, requests: this.#seams.requests() }
  }

  /**
   * Captures every write from now on. Writes that earlier processes left open are settled first, item by item, and a
   * baseline begins where the store has no snapshot, or none that is free of gaps; both go on after this returns.
   */
  start(): void {
    const { source, timeline } = this.#seams
    for (const { journal, recovered } of [this.#stream, ...this.#leftovers.keys()]) {
      this.recorder.adopt(journal, recovered.openIntents)
    }
    this.#settled = this.#settle()
    this.#detach = source.attach(this.recorder)
    if (needsBaseline(timeline.timeline)) this.#beginBaseline()
  }

  /** Resolves when what earlier processes left open is settled, or was tried once: what fails is tried again. */
  settled(): Promise<void> {
    return this.#settled
  }

  /** A stamp after every event so far and before every later one. */
  mark(): Ulid {
    return this.#stream.journal.mark()
  }

  /**
   * Brings every event that was acknowledged before the call into the store, or every one of a write that was begun
   * before; with `through`, later events will be stamped after it, so that it is reachable. Errors:
   * `MOMENT_UNREACHABLE` where `through`, or whether a write that was begun happened, cannot be known now.
   */
  async complete(through: Ulid | null, wanted: Wanted = 'acknowledged'): Promise<void> {
    if (wanted === 'acknowledged' && this.#isSealed(through)) return
    await this.#settled
    // Who asks for the writes that were begun may hold locks, which the baseline waits for.
    if (wanted === 'acknowledged') {
      await this.#baseline
      if (this.#isSealed(through)) return
      await this.#settleNow()
    } else {
      await this.recorder.journalled()
    }
    for (const sealer of [this.#sealer, ...this.#leftovers.values()]) await sealer.seal(through)
    await this.#bound.ended()
    // Where that made room after writes were not recorded, nothing is whole before the new baseline is.
    if (wanted === 'acknowledged') await this.#baseline
    const isKnown = wanted === 'acknowledged' ? through === null || this.#isSealed(through) : this.#isDecided
    if (!isKnown) throw undecided(this.stream, this.recorder.undecided.length)
  }

  /** Ends the capture: waits for writes under way, seals everything, and closes the stream. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  get #isDecided(): boolean {
    return this.recorder.undecided.length === 0
  }

  #isSealed(through: Ulid | null): boolean {
    if (through === null) return false
    return [this.#sealer, ...this.#leftovers.values()].every(({ stream }) => through <= stream.sealedThrough)
  }

  /** Settles what is open and closes what earlier processes left. Resolves when it was tried once; it goes on until it is done. */
  async #settle(): Promise<void> {
    await this.#settleNow()
    this.#sealer.noticed()
    void this.#settleOn()
  }

  /** Tries again, until nothing is open any more. */
  async #settleOn(): Promise<void> {
    if (this.#isSettling) return
    this.#isSettling = true
    const { signal } = this.#stopping
    for (let failures = 1; !this.#isDecided || this.#leftovers.size > 0; failures++) {
      await this.#seams.clock.idle(retryMs(failures), signal)
      if (signal.aborted) return
      await this.#settleNow()
    }
    this.#isSettling = false
  }

  /** What cannot be done now is logged. */
  async #settleNow(): Promise<void> {
    try {
      await this.recorder.settleOpen()
    } catch (error) {
      this.#seams.log.error(
        { error: messageOf(error), items: this.recorder.undecided.length },
        'Whether some writes happened is not known: a crash came between, or they failed, and the database cannot be ' +
          'read. What comes after them cannot be restored until it can; it is tried again.',
      )
    }
    for (const [leftover, sealer] of this.#leftovers) {
      try {
        await sealer.close()
        // It stays open while something of it is not settled.
        if (sealer.stream.state !== 'closed' || !this.#leftovers.delete(leftover)) continue
        endClockOf(sealer.stream)
        await leftover.release()
      } catch (error) {
        this.#seams.log.error(
          { error: messageOf(error), stream: leftover.entry.id },
          'What an earlier process left in its journal could not be brought into the store; it is tried again.',
        )
      }
    }
  }

  #beginBaseline(): void {
    // Closing ends what was not recorded too; the next opening finds that a baseline is due.
    if (this.#stopping.signal.aborted) return
    const { log, clock } = this.#seams
    const baseline = this.#settled.then(() => this.#takeBaseline())
    this.#baseline = baseline
    baseline.then(
      () => {
        this.#baselineFailures = 0
      },
      async (error: unknown) => {
        const failures = ++this.#baselineFailures
        log.error(
          { error: messageOf(error), failures },
          'The baseline failed: until one succeeds, what comes now cannot be restored. It is tried again.',
        )
        await clock.idle(retryMs(failures), this.#stopping.signal)
        if (!this.#stopping.signal.aborted && this.#baseline === baseline) this.#beginBaseline()
      },
    )
  }

  /** Reads the whole live database into a snapshot, once what earlier processes left open is settled. */
  async baseline(): Promise<SnapshotEntry> {
    await this.#settled
    await this.#baseline
    const taken = this.#takeBaseline()
    this.#baseline = taken.catch(() => undefined) // the caller has the error
    return taken
  }

  async #takeBaseline(): Promise<SnapshotEntry> {
    await this.recorder.settleOpen()
    const { store, timeline, source, recordKeys, log } = this.#seams
    const { journal } = this.#stream
    return takeBaseline({
      log,
      store,
      timeline,
      source,
      recorder: this.recorder,
      recordKeys,
      mark: () => journal.mark(),
      seal: (through) => this.#sealer.seal(through),
    })
  }

  async #close(): Promise<void> {
    this.#stopping.abort()
    try {
      await this.#settled
      await this.#baseline
    } finally {
      await this.#confirming.end()
      await this.recorder.close()
      this.#detach()
      try {
        if (!this.#isDecided || this.#leftovers.size > 0) await this.#settleNow()
        await this.#stream.journal.endShed()
        await this.#sealer.close()
        if (this.#sealer.stream.state === 'closed') endClockOf(this.#sealer.stream)
      } finally {
        await this.#release()
      }
    }
  }

  /** Answers other processes for every stream that this one owns. */
  #serve(): void {
    const { log } = this.#seams
    if (this.#stream.door === null) {
      log.warn(
        { stream: this.stream },
        'No local socket could be made for this stream: other processes cannot ask this one for its last events, so ' +
          'moments after its last seal are out of their reach until it is closed.',
      )
    }
    this.#stream.door?.open(this)
    for (const [leftover, sealer] of this.#leftovers) leftover.door?.open(this.#doorOf(leftover, sealer))
  }

  /** What is asked about a stream that an earlier process left. */
  #doorOf({ journal }: OwnedStream, sealer: Sealer): StreamDoor {
    return {
      complete: (through, wanted) => this.complete(through, wanted),
      report: () => ({
        ...this.report(),
        pending: { ...this.pending, ...journal.pending() },
        ...sealer.progress,
        clockAheadMs: journal.clockAheadMs,
      }),
    }
  }

  async #release(): Promise<void> {
    for (const { door } of [this.#stream, ...this.#leftovers.keys()]) await door?.shut()
    this.#peers.close()
    for (const { release } of [this.#stream, ...this.#leftovers.keys()]) await release()
    await this.#encoder.close()
  }

  #sealerOf({ journal, entry }: OwnedStream): Sealer {
    const { store, timeline, clock, log, seal, limitBytes } = this.#seams
    const fenced = (error: TidemarkError): void => this.recorder.refuse(error)
    const drained = (): void => {
      this.#bound.review()
      this.#confirming.noticed()
    }
    // What is full must have begun to go before.
    const bytes = Math.min(seal.bytes ?? SEAL_DEFAULTS.bytes, Math.ceil(limitBytes / 4))
    const seams = { store, timeline, journal, encoder: this.#encoder, clock, log, fenced, drained }
    return new Sealer(seams, entry, { ...seal, bytes })
  }
}

function undecided(stream: string, writes: number): TidemarkError {
  return new TidemarkError(
    'MOMENT_UNREACHABLE',
    `Whether ${writes} writes of stream ${stream} happened is not known: the database could not be read since.`,
    {
      hint: 'They are settled as soon as the database can be read (the log says why it cannot); earlier moments are reachable.',
      details: { stream, writes },
    },
  )
}
