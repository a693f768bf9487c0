import type { Clock } from '../base/clock.ts'
import type { RecordKeys } from '../capture/record-keys.ts'
import type { Wanted } from '../capture/stream-control.ts'
import type { TimelineLog } from '../capture/timeline-log.ts'
import type { StreamEntry, Timeline } from '../model/timeline.ts'
import { firstUlidAt, lastUlidAt, type Ulid } from '../model/ulid.ts'
import { hasEvent } from '../restore/lookup.ts'
import { type Bound, type Limit, type Moment, noSuchEvent, parseMoment, resolveMoment } from '../restore/moment.ts'
import { type Plan, planRestore, segmentsBetween } from '../restore/plan.ts'
import { type Reach, reachOf } from '../restore/reach.ts'
import type { ReplaySources } from '../restore/replay.ts'
import { Segments } from '../restore/segments.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { createScratch, type Scratch } from '../store/scratch.ts'
import type { Knowledge } from '../upkeep/reconcile.ts'
import type { Completion } from './completion.ts'
import { type ConditionSeams, conditionOf, type StreamCondition } from './condition.ts'
import type { OpenStore } from './opening.ts'

/** After every event. */
const END: Ulid = firstUlidAt(2 ** 48 - 1)

/** What an archive is opened over. */
export interface ArchiveSeams extends OpenStore {
  readonly timeline: TimelineLog
  /** Of the records; null where their images are stored as they are. */
  readonly recordKeys: RecordKeys | null
  readonly clock: Clock
  /** Bytes that replay may use. */
  readonly memory: number
  /** Brings what local processes hold unsealed into the store. */
  readonly complete: (through: Ulid | null, wanted?: Wanted) => Promise<Completion>
  /** The stream that this process writes. */
  readonly own: ConditionSeams['own']
}

/** A moment that was reached: its stamp and what a restore of it reads. */
export interface Reached {
  readonly bound: Bound
  readonly plan: Plan
}

/** A moment that lies in what is reachable, and the timeline that says so. */
export interface Located {
  readonly bound: Bound
  readonly timeline: Timeline
  readonly reach: Reach
}

/** The history in a store, for reading. */
export class Archive {
  readonly seams: ArchiveSeams
  readonly sources: ReplaySources
  #scratch: Scratch | null = null
  #passes = 0

  constructor(seams: ArchiveSeams) {
    this.seams = seams
    const { store, memory, recordKeys } = seams
    const open = recordKeys === null ? null : recordKeys.open.bind(recordKeys)
    this.sources = { store, segments: new Segments(store), memory, scratch: () => this.#scratchSpace(), open }
  }

  /** The timeline as others left it, and what is reachable of it. */
  async refresh(): Promise<{ timeline: Timeline; reach: Reach }> {
    // Before the timeline is read: a stream that is entered while it is has events from now on.
    const nowMs = this.seams.clock.now()
    const timeline = await this.seams.timeline.refresh()
    // What was erased meanwhile is not to be read any more, although this process may still hold the keys.
    await this.seams.recordKeys?.current()
    return { timeline, reach: reachOf(timeline, nowMs) }
  }

  /**
   * Resolves a moment and plans its restore. Errors: `MOMENT_INVALID`, `MOMENT_UNREACHABLE`, `HISTORY_GAP`; never
   * another moment instead.
   */
  async reach(moment: Moment): Promise<Reached> {
    const { bound, timeline } = await this.locate(moment)
    return { bound, plan: planRestore(timeline, bound.ulid) }
  }

  /** Resolves a moment, whatever gaps there are before it. Errors: `MOMENT_INVALID`, `MOMENT_UNREACHABLE`. */
  async locate(moment: Moment): Promise<Located> {
    const wanted = parseMoment(moment)
    const future = wanted !== null && wanted.ulid > lastUlidAt(this.seams.clock.now())
    if (!future) await this.seams.complete(wanted?.ulid ?? null)
    const { timeline, reach } = await this.refresh()
    const beyond = reach.latest === null || (wanted !== null && wanted.ulid > reach.latest)
    const limit = beyond && reach.openStream !== null ? await this.#limitOf(reach.openStream) : null
    const bound = resolveMoment(moment, reach, limit)
    if (bound.event !== null && !(await hasEvent(this.sources, timeline.segments, bound.event))) {
      throw noSuchEvent(bound.event, timeline)
    }
    return { bound, timeline, reach }
  }

  /** Finds out how a stream is doing, without changing anything. */
  conditionOf(stream: StreamEntry): Promise<StreamCondition> {
    const { store, clock, own } = this.seams
    return conditionOf(stream, { store, clock, own })
  }

  async #limitOf(stream: StreamEntry): Promise<Limit> {
    const { state, why } = await this.conditionOf(stream)
    const may = state === 'died' || state === 'elsewhere'
    return {
      stream,
      why: why ?? `it is ${state}`,
      hint: may
        ? `Start its application again, or ask on its host; if it never comes back: tidemark stream end ${stream.id} --reason <why> --name <who>`
        : 'Close the writing process (or call its flush()) and try again.',
    }
  }

  /** Everything that the store can be brought to know now, also of writes that are under way. */
  async know(): Promise<Knowledge> {
    const { undecided, unheard } = await this.seams.complete(null, 'begun')
    const { timeline, reach } = await this.refresh()
    if (reach.earliest === null) resolveMoment('latest', reach)
    return { plan: planRestore(timeline, END), undecided, unheard }
  }

  /** The segments with events after `ulid`, to the end of what is reachable once the journals are in the store. */
  async segmentsAfter(ulid: Ulid): Promise<{ segments: ReturnType<typeof segmentsBetween>; through: Ulid }> {
    await this.seams.complete(null)
    const { timeline, reach } = await this.refresh()
    const through = reach.latest ?? ulid
    return { segments: segmentsBetween(timeline, ulid, through), through }
  }

  /** Removes local intermediate results. */
  close(): void {
    this.#scratch?.dispose()
    this.#scratch = null
  }

  #scratchSpace(): ObjectStore {
    this.#scratch ??= createScratch()
    return prefixed(this.#scratch.store, `${++this.#passes}/`)
  }
}

/** The part of a store under a prefix, as a store. */
function prefixed(store: ObjectStore, prefix: string): ObjectStore {
  return {
    put: (key, body, options) => store.put(prefix + key, body, options),
    get: (key, range) => store.get(prefix + key, range),
    head: (key) => store.head(prefix + key),
    list: (under, options) => store.list(prefix + under, options),
    delete: (keys) => store.delete(keys.map((key) => prefix + key)),
  }
}
