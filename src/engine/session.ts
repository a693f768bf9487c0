import { messageOf, type TidemarkError } from '../base/errors.ts'
import { Chain } from '../capture/chain.ts'
import { readState } from '../capture/check.ts'
import { SegmentEncoder } from '../capture/encoder.ts'
import { Findings } from '../capture/findings.ts'
import { type Backpressure, JournalBound } from '../capture/journal-bound.ts'
import { Recorder } from '../capture/recorder.ts'
import { retryMs, SEAL_DEFAULTS, Sealer } from '../capture/sealer.ts'
import type { StreamReport, Wanted } from '../capture/stream-control.ts'
import type { SnapshotEntry, StreamEntry, Timeline } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import { needsBaseline } from '../restore/gaps.ts'
import { takeBaseline } from '../upkeep/baseline.ts'
import { Adoption } from './adoption.ts'
import { Baselines } from './baselines.ts'
import { ClockWatch } from './clock-watch.ts'
import { closeLimitMs, closeWithin } from './closing.ts'
import { Confirming } from './confirming.ts'
import { Entering } from './entering.ts'
import { forgetIn } from './journal-erasure.ts'
import { Leftovers } from './leftovers.ts'
import { warnAtOpening } from './opening-warnings.ts'
import { endClockOf, isAloneIn, type OpenPeers, openPeers } from './peers.ts'
import type { SessionSeams } from './session-seams.ts'
import { enterAtOnce, enterLeft } from './stream-opening.ts'
import { type OwnedStream, openStreams } from './streams.ts'
import { undecided } from './undecided.ts'
import { Unsettled } from './unsettled.ts'
import { openWaiting } from './waiting-streams.ts'

/** The capture of one live database by this process: its stream, from the first write to the last. */
export class Session {
  readonly #seams: SessionSeams
  readonly #stream: OwnedStream
  readonly #leftovers: Leftovers
  readonly #encoder: SegmentEncoder
  readonly #sealer: Sealer
  readonly #bound: JournalBound
  /** The way in which this process captures; the reconciliation reads and records by it. */
  readonly recorder: Recorder
  readonly findings: Findings
  readonly #peers: OpenPeers
  readonly #confirming: Confirming
  readonly #clockWatch: ClockWatch
  readonly #baselines: Baselines
  /** Null: the stream was in the timeline from the beginning. */
  readonly #entering: Entering | null
  readonly #adoption: Adoption
  #unsettled: Unsettled | null = null
  #isStarted = false
  #detach: () => void = () => {}
  #settled: Promise<void> = Promise.resolve()
  #isSettling = false
  readonly #stopping = new AbortController()
  #closing: Promise<void> | null = null

  private constructor(seams: SessionSeams, [own, ...leftovers]: readonly [OwnedStream, ...OwnedStream[]]) {
    this.#seams = seams
    this.#stream = own
    const entered = (entry: StreamEntry): void => this.#entered(entry)
    const refused = (error: TidemarkError): void => this.recorder.refuse(error)
    this.#entering = seams.away === undefined ? null : new Entering({ ...seams, own, entered, refused })
    this.#adoption = new Adoption({ ...seams, adopt: (left) => this.adopt(left), signal: this.#stopping.signal })
    this.#encoder = new SegmentEncoder(seams.recordKeys, seams.log)
    this.#sealer = this.#sealerOf(own)
    this.#leftovers = new Leftovers((leftover) => this.#sealerOf(leftover), seams.log)
    this.#leftovers.add(leftovers)
    const { clock, log } = seams
    this.#bound = new JournalBound({
      ...seams,
      journal: own.journal,
      reached: () => this.#sealer.noticed(true),
      resumed: () => this.#baselines.begin(),
    })
    const ready = (): Promise<void> => this.#settled
    this.#baselines = new Baselines({ ready, take: (signal) => this.#takeBaseline(signal), clock, log })
    this.#clockWatch = new ClockWatch(() => own.journal.clockAheadMs, log)
    this.#clockWatch.look()
    const aloneSince = async (ulid: Ulid): Promise<boolean> =>
      isAloneIn(await seams.timeline.refresh(), own.entry.id, ulid)
    this.findings = new Findings({ clock, log, aloneSince })
    this.#peers = openPeers(own, { ...seams, isRead: () => this.isEntered })
    const mark = (): Ulid => own.journal.mark()
    const isAloneSince = (ulid: Ulid): boolean => {
      const isHeard = this.#peers.learn() > ulid || this.#peers.isShared()
      return this.isEntered && !isHeard && isAloneIn(seams.timeline.timeline, own.entry.id, ulid)
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
      read: (item) => readState(seams.source, item),
      database: seams.source,
    })
    this.#confirming = new Confirming({ ...seams, journal: own.journal, peers: this.#peers, recorder: this.recorder })
  }

  /** Opens the journal and enters the stream in the timeline, where the store is away when it answers. The database is not touched before `start`. */
  static async open(seams: SessionSeams): Promise<Session> {
    const { timeline, away } = seams
    const { timeline: before } = timeline
    const waiting = away === undefined ? null : await openWaiting(seams, away)
    const refresh = (): Promise<Timeline> => timeline.refresh()
    const present = { ...seams, timeline: timeline.timeline, refresh }
    const session = new Session(seams, waiting === null ? await openStreams(present) : [waiting])
    try {
      if (waiting === null) await enterAtOnce(timeline, session.#streams)
      else session.#unsettled = await Unsettled.open(seams)
      session.#serve()
      warnAtOpening(seams, before, session.#streams)
      void session.#encoder.prove()
      return session
    } catch (error) {
      await session.#release()
      throw error
    }
  }

  /** Of the streams that this session holds: its own, and those that it has taken over. */
  get sealers(): readonly Sealer[] {
    return [this.#sealer, ...this.#leftovers.sealers]
  }

  /** Id of the stream that this session writes. */
  get stream(): string {
    return this.#stream.entry.id
  }

  /** Whether the stream is in the timeline: else it was begun while the store was away. */
  get isEntered(): boolean {
    return this.#entering?.isDone ?? true
  }

  /** Resolves when it is; never, where the capture ends before. */
  get entered(): Promise<void> {
    return this.#entering?.done ?? Promise.resolve()
  }

  /** Events that are durable and not yet in the store. */
  get pending(): Backpressure {
    const { state, shedWrites } = this.#bound
    return { ...this.#stream.journal.pending(), limitBytes: this.#seams.limitBytes, state, shedWrites }
  }

  /** How the stream is doing, without asking the store. */
  report(): StreamReport {
    const { clockAheadMs } = this.#stream.journal
    const progress = { ...this.#sealer.progress, ...this.#entering?.progress }
    return { pending: this.pending, ...progress, clockAheadMs, requests: this.#seams.requests() }
  }

  /**
   * Captures every write from now on. Writes that earlier processes left open are settled first, item by item, and a
   * baseline begins where the store has no snapshot, or none that is free of gaps; both go on after this returns.
   */
  start(): void {
    const { source, timeline } = this.#seams
    this.#takeOver(this.#streams)
    this.#unsettled?.adoptInto(this.recorder)
    this.#settled = this.#settle()
    this.#detach = source.attach(this.recorder)
    this.#isStarted = true
    if (this.isEntered && needsBaseline(timeline.timeline)) this.#baselines.begin()
    this.#entering?.begin()
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
    // Without one nothing can be restored. Who asks for the writes that were begun may hold locks that it waits for.
    if (wanted === 'acknowledged') await this.#baselines.latest
    if (wanted === 'acknowledged' && this.#isSealed(through)) return
    if (wanted === 'begun') await this.recorder.journalled()
    await this.#bringIn(through, wanted)
    // Where that made room after writes were not recorded, nothing is whole before the new baseline is.
    if (wanted === 'acknowledged') await this.#baselines.latest
    const isKnown = wanted === 'acknowledged' ? through === null || this.#isSealed(through) : this.#isDecided
    if (!isKnown) throw undecided(this.stream, this.recorder.undecided.length)
  }

  /** Brings every event that was acknowledged before the call into the store. A baseline is waited for moments at most. */
  async flush(): Promise<void> {
    await this.#settled
    await this.#bringIn(null, 'acknowledged')
    await this.#baselines.soon()
  }

  /**
   * Takes over what processes that died meanwhile left in a journal directory, as a start does: it is settled and closed, now
   * by `flush` and `complete`, else in the background. Returns the streams.
   */
  adopt(directory: string): Promise<readonly OwnedStream[]> {
    return this.#adoption.run(async (over) => {
      const left = await enterLeft({ ...this.#seams, directory }, over)
      this.#leftovers.add(left)
      this.#takeOver(left)
      void this.#settleOn()
      return left
    })
  }

  /** See `StreamDoor`. */
  forget(): Promise<boolean> {
    return forgetIn(this.#streams, this.#seams.clock, () => this.#bringIn(null, 'acknowledged'))
  }

  /**
   * Ends the capture: waits for writes under way, seals everything, and closes the stream. Resolves within `withinMs`
   * milliseconds: what is not in the store by then is logged, and brought in for as long as the process lives.
   */
  close(withinMs: number = closeLimitMs(this.#seams.seal)): Promise<void> {
    this.#closing ??= closeWithin(withinMs, this.#seams, this, () => this.#close())
    return this.#closing
  }

  get #streams(): readonly [OwnedStream, ...OwnedStream[]] {
    return [this.#stream, ...this.#leftovers.streams]
  }

  get #isDecided(): boolean {
    return this.recorder.undecided.length === 0
  }

  async #bringIn(through: Ulid | null, wanted: Wanted): Promise<void> {
    if (wanted === 'acknowledged') await this.#settleNow()
    for (const sealer of this.sealers) await (wanted === 'acknowledged' ? sealer.answer(through) : sealer.seal(through))
    await this.#bound.ended()
  }

  #isSealed(through: Ulid | null): boolean {
    if (through === null) return false
    return this.sealers.every(({ completeThrough }) => through <= completeThrough)
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
      if ((await this.#unsettled?.release()) === true && this.isEntered) this.#adoption.begin(this.#seams.directory)
    } catch (error) {
      this.#seams.log.error(
        { error: messageOf(error), items: this.recorder.undecided.length },
        'Whether some writes happened is not known: a crash came between, or they failed, and the database cannot be ' +
          'read. What comes after them cannot be restored until it can; it is tried again.',
      )
    }
    await this.#leftovers.close()
  }

  /** Reads the whole live database into a snapshot, once what earlier processes left open is settled. */
  baseline(): Promise<SnapshotEntry> {
    return this.#baselines.once()
  }

  async #takeBaseline(signal: AbortSignal): Promise<SnapshotEntry> {
    await this.#entering?.enter()
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
      signal,
    })
  }

  /** What begins when a stream that was begun without the store is in the timeline. */
  #entered({ late }: StreamEntry): void {
    const { timeline, directory } = this.#seams
    if (late !== undefined) this.recorder.restamped(late.through)
    if (this.#isStarted && needsBaseline(timeline.timeline)) this.#baselines.begin()
    this.#adoption.begin(directory)
    void this.#seams.remember?.()
    this.#confirming.noticed()
  }

  async #close(): Promise<void> {
    this.#stopping.abort()
    this.#entering?.end()
    try {
      await this.#settled
      await this.#baselines.end()
    } finally {
      // What is to be read once more can be, while writes are recorded; that the store is away, the sealer says.
      if (this.recorder.unconfirmed > 0) await this.#entering?.enter().catch(() => undefined)
      await this.#confirming.end()
      await this.recorder.close()
      this.#detach()
      try {
        if (!this.#isDecided || this.#leftovers.size > 0) await this.#settleNow()
        await this.#stream.journal.endShed()
        await this.#entering?.enter()
        if (this.#entering !== null) this.#adoption.begin(this.#seams.directory)
        // What was captured here comes first. What is taken over is stamped in this stream, which is closed behind that.
        if (this.#adoption.isRunning) await this.#sealer.seal()
        await this.#adoption.ended()
        if (this.#leftovers.size > 0) await this.#settleNow()
        await this.#sealer.close()
        if (this.#sealer.stream.state === 'closed') endClockOf(this.#sealer.stream)
        await this.#seams.remember?.()
        await this.#seams.timeline.settled()
      } finally {
        await this.#release()
      }
    }
  }

  /** Nothing is written to what their earlier owners left open before it is settled. */
  #takeOver(streams: readonly OwnedStream[]): void {
    for (const { journal, recovered } of streams) this.recorder.adopt(journal, recovered.openIntents)
    this.#serve()
  }

  /** Answers other processes for every stream that this one owns. */
  #serve(): void {
    this.#stream.door?.open(this)
    this.#leftovers.serve(this)
  }

  async #release(): Promise<void> {
    await this.#adoption.ended()
    await Promise.all([this.#leftovers.gone(), this.#unsettled?.release()])
    for (const { door } of this.#streams) await door?.shut()
    this.#peers.close()
    for (const { release } of this.#streams) await release()
    await this.#encoder.close()
  }

  #sealerOf({ journal, entry }: OwnedStream): Sealer {
    const { seal, limitBytes } = this.#seams
    const fenced = (error: TidemarkError): void => this.recorder.refuse(error)
    const drained = (): void => {
      this.#bound.review()
      this.#confirming.noticed()
    }
    // What is full must have begun to go before.
    const bytes = Math.min(seal.bytes ?? SEAL_DEFAULTS.bytes, Math.ceil(limitBytes / 4))
    const entering = entry.id === this.stream ? this.#entering : null
    const enter = entering === null ? {} : { enter: () => entering.enter() }
    const waiting = (): Promise<Ulid | null> => this.#adoption.waiting()
    const seams = { ...this.#seams, journal, encoder: this.#encoder, fenced, drained, waiting, ...enter }
    return new Sealer(seams, entry, { ...seal, bytes })
  }
}
