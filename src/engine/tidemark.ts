import { type Clock, systemClock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import { createLogger, type Logger } from '../base/log.ts'
import { oneClockOf } from '../capture/one-clock.ts'
import type { Source } from '../capture/source.ts'
import type { Wanted } from '../capture/stream-control.ts'
import type { DrillProof } from '../format/drill-file.ts'
import type { Event, Kind } from '../model/event.ts'
import type { Finding } from '../model/found.ts'
import type { Loss } from '../model/gap.ts'
import type { Head } from '../model/head.ts'
import type { SnapshotEntry } from '../model/timeline.ts'
import { MIN_ULID, type Ulid } from '../model/ulid.ts'
import { gapError, gapsOf, isAcknowledged } from '../restore/gaps.ts'
import { findEvents } from '../restore/lookup.ts'
import type { Moment } from '../restore/moment.ts'
import type { Selection, Target } from '../restore/target.ts'
import { type GapReport, gapReport, type Verdict } from '../restore/verdict.ts'
import type { Environment } from '../store/encryption/secret.ts'
import { keepingOf } from '../store/keeping.ts'
import { RequestMeter } from '../store/meter.ts'
import { lastDrill } from '../upkeep/drill.ts'
import type { Reconciliation } from '../upkeep/reconcile.ts'
import { Schedule } from '../upkeep/schedule.ts'
import type { TakenSnapshot } from '../upkeep/snapshot.ts'
import { replayedAtTheEnd, type SnapshotPolicy } from '../upkeep/snapshot-due.ts'
import type { Verification } from '../upkeep/verify.ts'
import { answering } from './answers.ts'
import { Archive, type Reached } from './archive.ts'
import { closeLimitMs } from './closing.ts'
import { type CompactionPolicy, type CompactOptions, type CompactReport, compactNow } from './compaction.ts'
import { type Completion, completeOthers } from './completion.ts'
import { type DrillOptions, runDrills } from './drill.ts'
import { type EndStreamOptions, endStream } from './end-stream.ts'
import { type EraseOptions, type EraseResult, eraseRecord } from './erasure.ts'
import { type AcknowledgeOptions, acknowledgeGap } from './gaps.ts'
import { markAfter, prepareInPlace } from './in-place.ts'
import { journalOptions } from './journal-options.ts'
import { encryptionOf } from './keys.ts'
import { requireRecords, requireResource } from './names.ts'
import { cannotEncrypt, placeOf } from './opening.ts'
import { checkChoice, checkName, checkOptions, checkText } from './options.ts'
import type { ScheduledRetention } from './prune.ts'
import { reachableAt } from './reachable.ts'
import { type ReconcileOptions, reconcileWith } from './reconcile.ts'
import { type RestoreResult, restoreInto } from './restore.ts'
import { Retention } from './retention.ts'
import { jobsOf, type ScheduleOptions } from './schedule.ts'
import { Session } from './session.ts'
import { snapshotOf, type TakeOptions } from './snapshots.ts'
import { openToRead, type Started, startCapture } from './starting.ts'
import { type Status, statusOf } from './status.ts'
import { journalDirectory } from './streams.ts'
import { openDirectoryTarget, refuseWithinStore } from './targets.ts'
import {
  type CloseOptions,
  checkRestoreOptions,
  checkTidemarkOptions,
  dryRunOf,
  type RestoreOptions,
  selectionOf,
  type TidemarkOptions,
  targetOf,
  type VerifyOptions,
} from './tidemark-options.ts'
import { verifyArchive } from './verification.ts'
import { View } from './view.ts'

/** Bytes that a restore may use for what it merges. */
export const DEFAULT_MEMORY: number = 128 * 1024 * 1024

/** What a process has besides the store. */
interface Process {
  readonly meter: RequestMeter
  readonly log: Logger
  /** The database that it captures. */
  readonly source: Source | null
  readonly snapshots: SnapshotPolicy | false
  /** What of the history is kept; null: all of it. */
  readonly retention: ScheduledRetention | null
  readonly compaction: CompactionPolicy | false
}

/** A store, with the capture of a live database where one was given: the whole system. */
export class Tidemark {
  readonly #archive: Archive
  readonly #session: Session | null
  readonly #process: Process
  #schedule: Schedule | null = null

  private constructor(archive: Archive, session: Session | null, process: Process) {
    this.#archive = archive
    this.#session = session
    this.#process = process
  }

  /**
   * Opens a store; with a source it is made where the place is empty. One that cannot be reached, and that journals of this
   * directory were brought into before, is not waited for: capture begins in the journal, see `entered`. Errors:
   * `OPTION_INVALID`, `STORE_*`, `ENCRYPTION_*`, `RECORD_KEYS_*`, `JOURNAL_*`, `TIMELINE_CORRUPT`; the last one, where
   * there is no source, from what is asked first.
   */
  static async open(
    options: TidemarkOptions,
    clock: Clock = systemClock,
    environment: Environment = process.env,
  ): Promise<Tidemark> {
    checkTidemarkOptions(options)
    const log = options.logger ?? createLogger()
    const meter = new RequestMeter(clock)
    const place = await placeOf(options.store, environment, (store) => meter.over(store))
    const { source, memory = DEFAULT_MEMORY, snapshots = {}, retention = null, compaction = {} } = options
    const oneClock = oneClockOf(options.store)
    const whole = (started: Started, session: Session | null): Tidemark => {
      const { opened, timeline, recordKeys } = started
      const { store, file } = opened
      const canAnswer = answering(oneClock, started)
      const complete = (through: Ulid | null, wanted: Wanted = 'acknowledged'): Promise<Completion> =>
        completeOthers({ store, timeline, recordKeys, clock, canAnswer, log, file }, session, through, wanted)
      const archive = new Archive({ ...opened, timeline, recordKeys, clock, canAnswer, memory, complete, own: session })
      return new Tidemark(archive, session, { meter, log, source: source ?? null, snapshots, retention, compaction })
    }
    if (source === undefined) return whole(await openToRead(place), null)
    const { ack = 'journal', database = source.identity, seal = {} } = options
    const { directory, limitBytes, whenFull, encrypt } = journalOptions(options.journal)
    return startCapture({ place, database, ack, directory, clock, log }, async (started) => {
      const { opened, ...rest } = started
      const { store, file, name } = opened
      if (encrypt && store.secrets === undefined) throw cannotEncrypt(name)
      const session = await Session.open({
        ...rest,
        store,
        source,
        clock,
        canAnswer: answering(oneClock, started),
        log,
        directory: journalDirectory(directory, file.id),
        limitBytes,
        whenFull,
        encrypt,
        ack,
        seal,
        requests: () => meter.requests,
      })
      return whole(started, session)
    })
  }

  /** `open`, then `start`; resolves when what earlier processes left open is settled too, as `start` does. */
  static async capture(options: TidemarkOptions & { readonly source: Source }, clock?: Clock): Promise<Tidemark> {
    const tidemark = await Tidemark.open(options, clock)
    await tidemark.start()
    return tidemark
  }

  /**
   * Captures every write of the source from now on, not only from when it resolves: that is when what earlier
   * processes left open is settled, or cannot be now: then it is tried again, and nothing from now on is reachable
   * until it is. Once.
   */
  async start(): Promise<void> {
    this.#session?.start()
    if (this.#schedule === null) await this.schedule({})
    await this.#session?.settled()
  }

  /** Resolves when the stream of this process is in the timeline: at once, unless it was started without the store. */
  get entered(): Promise<void> {
    return this.#session?.entered ?? Promise.resolve()
  }

  /** Whether the history has begun, as it was read last: before its first snapshot nothing can be missing in it. */
  get hasBegun(): boolean {
    return this.#session?.isEntered === false || this.#archive.seams.timeline.timeline.snapshots.length > 0
  }

  /** The database as it was at a moment. */
  at(moment: Moment): View {
    return new View(this.#archive, moment)
  }

  /** Every event of one item, oldest first, with both images, who and when; includes what happened until now. */
  async *history(resource: string, id: string, kind: Kind = 'record'): AsyncGenerator<Event> {
    if (kind === 'record')
      for (const [name, value] of Object.entries({ resource, id })) checkName('history', name, value)
    const { sources, seams } = this.#archive
    const segments = await this.#archive.segmentsSince(MIN_ULID)
    const alarm = gapsOf(seams.timeline.timeline).find((gap) => !isAcknowledged(gap))
    if (alarm !== undefined) throw gapError(alarm)
    yield* findEvents(sources, segments, { kind, resource, id })
  }

  /**
   * Restores a moment into a target, or tells what that would do. Errors: `MOMENT_*`, `TARGET_NOT_EMPTY`,
   * `RESOURCE_NOT_FOUND`, `RECORD_NOT_FOUND`, `SEGMENT_CORRUPT`, `SNAPSHOT_CORRUPT`, `HISTORY_GAP`, those of the target,
   * and in place `RESTORE_UNFINISHED`.
   */
  async restoreAt(moment: Moment, options: RestoreOptions): Promise<RestoreResult> {
    const target = targetOf(options)
    const given = typeof target === 'string' ? null : target
    try {
      checkRestoreOptions(options)
      const selection = selectionOf(options)
      refuseWithinStore(target, this.#archive.seams.name)
      const reached = await this.#archive.reach(moment)
      for (const resource of selection.resources ?? []) await requireResource(this.#archive, reached.plan, resource)
      if (typeof target !== 'string') return await this.#restore(reached, target, selection, options)
      const request = { moment: reached.bound.ulid, database: this.#archive.seams.file.database }
      const directory = openDirectoryTarget(target, request)
      try {
        return await this.#restore(reached, directory, selection, options)
      } finally {
        await directory.close()
      }
    } finally {
      await given?.close()
    }
  }

  /**
   * Takes a record that was deleted out of the whole history, for good; what remains is an entry in the ledger. Errors:
   * `RECORD_EXISTS`, `RECORD_NOT_FOUND`, `MOMENT_UNREACHABLE`, `ERASURE_RACED`.
   */
  async erase(resource: string, id: string, options: EraseOptions): Promise<EraseResult> {
    checkOptions('erase', options, ['reason', 'by', 'mode', 'dryRun'])
    checkChoice('erase', 'mode', options.mode, ['keys', 'rewritten'])
    checkText('erase', 'reason', options.reason ?? '')
    checkText('erase', 'by', options.by)
    return eraseRecord(this.#archive, { kind: 'record', resource, id }, options)
  }

  /** Makes a snapshot of a moment from history, without touching the database. Errors: as `restoreAt`, and `ERASURE_RACED`. */
  snapshot(options: TakeOptions = {}): Promise<TakenSnapshot> {
    return snapshotOf(this.#archive, options)
  }

  /**
   * Reads the live database into a snapshot while writes go on: the moments after it are free of every gap before it.
   * Errors: `SOURCE_NOT_CONNECTED` where nothing is captured.
   */
  baseline(): Promise<SnapshotEntry> {
    if (this.#session !== null) return this.#session.baseline()
    throw new TidemarkError('SOURCE_NOT_CONNECTED', 'A baseline is read from a live database, and none is captured.', {
      hint: 'Call baseline() in the application that captures it.',
    })
  }

  /**
   * Whether a moment can be restored, found out as `restoreAt` does: what local processes hold for it is brought into the
   * store first. Errors: `MOMENT_INVALID`, and those of the store.
   */
  reachable(moment: Moment): Promise<Verdict> {
    return reachableAt(this.#archive, moment)
  }

  /** What the store holds and how far it reaches, without changing or completing anything. */
  async status(): Promise<Status> {
    const { timeline: entered, reach } = await this.#archive.refresh()
    const { name: store, file, clock } = this.#archive.seams
    const timeline = { ...entered, streams: [...entered.streams, ...(await this.#archive.waiting(entered))] }
    const conditions = await Promise.all(timeline.streams.map((stream) => this.#archive.conditionOf(stream)))
    const names = { store, database: file.database, encryption: await encryptionOf(this.#archive.seams) }
    const { requests } = this.#process.meter
    const own = this.#session?.report() ?? null
    const findings = this.#session?.findings.count ?? null
    const drill = await lastDrill(this.#archive.seams.store)
    const catalogueBytes = this.#archive.seams.timeline.rootBytes
    const replayed = await replayedAtTheEnd(this.#archive.sources.nodes, entered)
    const keeping = await keepingOf(this.#archive.seams.store, [])
    const parts = { timeline, reach, catalogueBytes, names, conditions, own, findings, requests, drill, replayed }
    return statusOf({ ...parts, keeping, nowMs: clock.now() })
  }

  /**
   * Restores moments for real into scratch space (the system's directory for temporary files, large enough for the whole
   * database), compares every item with what the events say, and records what was found in the store. A failed drill is in
   * the result, not thrown. Errors: `MOMENT_*`, and those of the store.
   */
  drill(options: DrillOptions = {}): Promise<readonly DrillProof[]> {
    return runDrills(this.#archive, options)
  }

  /** What of the history is kept: marks and holds. */
  get retention(): Retention {
    return new Retention(this.#archive)
  }

  /** Merges segments into larger ones, and lets old generations of the catalogue go: no moment, head or event changes. Errors: those of the store, `*_CORRUPT`. */
  compact(options: CompactOptions = {}): Promise<CompactReport> {
    return compactNow(this.#archive, options)
  }

  /** Every gap of the history, acknowledged or not. */
  async gaps(): Promise<readonly GapReport[]> {
    return gapsOf((await this.#archive.refresh()).timeline).map(gapReport)
  }

  /** Notes that somebody knows of gaps: restores then go on without their events. Errors: `GAP_NOT_FOUND`. */
  async acknowledgeGap(options: AcknowledgeOptions): Promise<readonly GapReport[]> {
    const { timeline, clock } = this.#archive.seams
    return (await acknowledgeGap(timeline, () => clock.now(), options)).map(gapReport)
  }

  /**
   * Ends a stream whose process will never come back; null where nothing of it is missing, else the loss: a gap from then
   * on. Errors: `STREAM_NOT_FOUND`, `STREAM_LIVE`.
   */
  endStream(options: EndStreamOptions): Promise<Loss | null> {
    return endStream({ ...this.#archive.seams, log: this.#process.log }, options)
  }

  /** Reads and checks everything in the store, and whether every erased key is gone. Damage is in the result, not thrown. */
  verify(options: VerifyOptions = {}): Promise<Verification> {
    return verifyArchive(this.#archive, options)
  }

  /**
   * What fixes the history up to now: noted where whoever can write to the store cannot, it shows later whether the
   * history was cut back or rewritten. Errors: `STORE_NOT_FOUND` while there is no timeline.
   */
  async head(): Promise<Head> {
    await this.#archive.refresh()
    const { name, timeline } = this.#archive.seams
    if (timeline.head !== null) return timeline.head
    throw new TidemarkError('STORE_NOT_FOUND', `The store at ${name} has no timeline yet.`, {
      hint: 'It begins when a database is captured for the first time.',
    })
  }

  /**
   * Compares the live database with its history and tells every write that was not captured; with `record` it becomes
   * an event that is marked as found. Writes may go on. Errors: `OPTION_INVALID`, `MOMENT_UNREACHABLE` without a
   * snapshot, and those of replay and of the source.
   */
  reconcile(options: ReconcileOptions = {}): Promise<Reconciliation> {
    return reconcileWith(this.#archive, this.#session, this.#process.source, options)
  }

  /** Calls `listener` with each write that was not captured, as it is found; returns what ends that. */
  onFinding(listener: (finding: Finding) => void): () => void {
    return this.#session?.findings.listen(listener) ?? ((): void => {})
  }

  /** Does upkeep again and again from now on, until `close`; replaces what was scheduled. Errors: `OPTION_INVALID`. */
  async schedule(options: ScheduleOptions): Promise<void> {
    const jobs = jobsOf(options, { ...this.#process, archive: this.#archive, session: this.#session })
    const before = this.#schedule
    this.#schedule = new Schedule(this.#archive.seams.clock, this.#process.log, jobs)
    await before?.end()
  }

  /**
   * Resolves when every event that was acknowledged before the call is in the store. While the first baseline is under
   * way that is not yet enough to restore from; it is waited for a second at most.
   */
  async flush(): Promise<void> {
    await this.#session?.flush()
  }

  /**
   * Ends the capture, with everything in the store, and lets go of the store. What is not in the store within
   * `seal.closeMs` is logged and stays in the journal. Errors: those of the store.
   */
  async close(options: CloseOptions = {}): Promise<void> {
    checkOptions('close', options, ['withinMs'])
    const { withinMs = closeLimitMs() } = options
    const done = new AbortController()
    try {
      // A run under way stops at its next step, which may be long; the capture does not wait for it.
      const ended = Promise.race([this.#schedule?.end(), this.#archive.seams.clock.idle(withinMs, done.signal)])
      await this.#session?.close(options.withinMs)
      await ended
    } finally {
      done.abort()
      this.#archive.close()
    }
  }

  async #restore(
    reached: Reached,
    target: Target,
    selection: Selection,
    options: RestoreOptions,
  ): Promise<RestoreResult> {
    const { inPlace = false, overwrite = false, onConflict = 'keep' } = options
    const { dryRun, onDifference } = dryRunOf(options)
    const { onProgress = (): void => {} } = options
    await requireRecords(this.#archive, reached.plan, selection, target)
    const { timeline, clock } = this.#archive.seams
    const mark = this.#session?.mark() ?? markAfter(timeline.timeline, clock)
    const request = { restored: reached.bound.ulid, selection, dryRun, mark }
    const prepared = inPlace ? await prepareInPlace(timeline, request) : null
    const run = { selection, overwrite, dryRun, onDifference, inPlace: prepared, onConflict, onProgress }
    const result = await restoreInto(this.#archive, reached, target, run)
    if (prepared === null || dryRun) return result
    await this.#session?.complete(null)
    await prepared.end()
    return result
  }
}
