import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { RecordKeys } from '../capture/record-keys.ts'
import type { Wanted } from '../capture/stream-control.ts'
import { isNodeKey } from '../format/keys.ts'
import { totalsOf } from '../model/segment-index.ts'
import type { SegmentEntry, SegmentTree, StreamEntry, Timeline } from '../model/timeline.ts'
import { firstUlidAt, lastUlidAt, type Ulid, ulidTime } from '../model/ulid.ts'
import { hasEvent } from '../restore/lookup.ts'
import { type Bound, type Moment, markNameOf, parseMoment } from '../restore/moment.ts'
import { type Plan, planRestore } from '../restore/plan.ts'
import { requireUnpruned } from '../restore/pruned-error.ts'
import { answered, closedThrough, closingThrough, type Reach, reachOf, wholeTimes } from '../restore/reach.ts'
import type { ReplaySources } from '../restore/replay.ts'
import { type Limit, noSuchEvent, resolveMoment } from '../restore/resolve.ts'
import { Segments } from '../restore/segments.ts'
import { Snapshots } from '../restore/snapshots.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { ReadThrough, TimelineLog } from '../timeline/log.ts'
import { eachNode, eachSegment, neighboursOf, segmentNodes, segmentsAt, segmentsBetween } from '../timeline/segments.ts'
import type { Knowledge } from '../upkeep/reconcile.ts'
import { filesOf } from '../upkeep/run-chains.ts'
import type { Completion } from './completion.ts'
import { type ConditionSeams, conditionOf, type StreamCondition, type StreamState } from './condition.ts'
import type { OwnJournals } from './journal-erasure.ts'
import { namedFiles } from './named-files.ts'
import type { OpenStore } from './opening.ts'
import { ScratchSpace } from './scratch.ts'
import { journalDirectories, waitingStreams } from './waiting-streams.ts'

/** States of streams that may hold later events of which nobody is asked. */
const UNASKED: readonly StreamState[] = ['died', 'stalled']
/** After every event. */
export const END: Ulid = firstUlidAt(2 ** 48 - 1)

/** What an archive is opened over. */
export interface ArchiveSeams extends OpenStore {
  readonly timeline: TimelineLog
  /** Of the records; null where their images are stored as they are. */
  readonly recordKeys: RecordKeys | null
  readonly clock: Clock
  /** See `answering`. Absent: never. */
  readonly canAnswer?: (through: Ulid) => Promise<boolean>
  /** Bytes that replay may use. */
  readonly memory: number
  /** Brings what local processes hold unsealed into the store. */
  readonly complete: (through: Ulid | null, wanted?: Wanted) => Promise<Completion>
  /** The stream that this process writes. */
  readonly own: (NonNullable<ConditionSeams['own']> & OwnJournals) | null
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

/** A timeline, and what is reachable of it. */
interface TimelineReach {
  readonly timeline: Timeline
  readonly reach: Reach
}

/** The history in a store, for reading. */
export class Archive {
  readonly seams: ArchiveSeams
  readonly sources: ReplaySources
  readonly #scratch = new ScratchSpace()
  #passes = 0

  constructor(seams: ArchiveSeams) {
    this.seams = seams
    const { memory, recordKeys } = seams
    const store = namedFiles(seams.store, (key) => this.#names(key))
    const open = recordKeys === null ? null : recordKeys.open.bind(recordKeys)
    this.sources = {
      store,
      segments: new Segments(store),
      snapshots: new Snapshots(store),
      nodes: segmentNodes(store),
      memory,
      scratch: () => this.#scratchSpace(),
      open,
    }
  }

  async #names(key: string): Promise<boolean> {
    const { segments, snapshots } = await this.seams.timeline.refresh()
    if (isNodeKey(key)) {
      for await (const node of eachNode(this.seams.timeline.nodes.segments, segments)) if (node.key === key) return true
      return false
    }
    if (snapshots.some(({ prefix }) => key.startsWith(prefix))) return true
    for await (const segment of eachSegment(this.sources.nodes, segments))
      if (filesOf(segment).includes(key)) return true
    return false
  }

  /** The timeline as others left it, and what is reachable of it. */
  async refresh(through: ReadThrough = 'last'): Promise<TimelineReach> {
    await this.seams.timeline.refresh(through)
    return this.#known()
  }

  async #known(): Promise<TimelineReach> {
    const { timeline } = this.seams.timeline
    // What was erased meanwhile is not to be read any more, although this process may still hold the keys.
    await this.seams.recordKeys?.current()
    return { timeline, reach: reachOf(timeline) }
  }

  /** Brings what was acknowledged into the store, and reads the timeline then; where nobody was asked that has been done. */
  async #completed(): Promise<Pick<Completion, 'unheard'> & { found: TimelineReach }> {
    const { unheard, isRead = false } = await this.seams.complete(null)
    return { unheard, found: await (isRead ? this.#known() : this.refresh()) }
  }

  /**
   * Resolves a moment and plans its restore. Errors: `MOMENT_INVALID`, `MOMENT_UNREACHABLE`, `HISTORY_GAP`; never
   * another moment instead.
   */
  async reach(moment: Moment): Promise<Reached> {
    const { bound, timeline } = await this.locate(moment)
    return { bound, plan: await planRestore(this.sources.nodes, timeline, bound.ulid) }
  }

  /**
   * Resolves a moment, whatever gaps there are before it. `through`: how far the timeline is read for one that is reachable then.
   * Errors: `MOMENT_INVALID`, `MOMENT_UNREACHABLE`.
   */
  async locate(moment: Moment, through: ReadThrough = 'last'): Promise<Located> {
    const named = markNameOf(moment) === null ? null : await this.refresh()
    const wanted = parseMoment(moment, named?.timeline.marks)
    if (wanted === null) return this.#locateLatest()
    const now = this.seams.clock.now()
    const isFuture = wanted.ulid > lastUlidAt(now)
    // What is reachable is final: whoever writes, or has died of it, has nothing to say about it any more.
    const read = named ?? (await this.refresh(through))
    const isFinal = read.reach.latest !== null && wanted.ulid <= read.reach.latest
    const known = isFinal || through === 'last' ? read : await this.refresh()
    const { timeline, reach, failure } =
      isFuture || isFinal ? { ...known, failure: null } : await this.#makeFinal(wanted.ulid)
    const { openStream, latest } = reach
    const beyond = latest === null || wanted.ulid > latest
    const told = beyond && openStream !== null ? await this.#limitOf([openStream]) : beyond ? failure : null
    // Where the clock was set back, the stamp of an event may be.
    const limit = isFuture && wanted.event === null && latest !== null ? future(now) : told
    const meant = snapshotOr(wanted, timeline)
    requireUnpruned(timeline, meant.ulid, meant.label)
    const bound = resolveMoment(meant, reach, limit)
    const isKnown = timeline.epochs.some(({ startedAt, restored }) => [startedAt, restored].includes(bound.event))
    if (bound.event !== null && !isKnown) await this.#requireEvent(bound.event, timeline.segments)
    return { bound, timeline, reach }
  }

  async #requireEvent(event: Ulid, index: SegmentTree): Promise<void> {
    const { nodes } = this.sources
    const segments = await segmentsAt(nodes, index, event)
    if (await hasEvent(this.sources, segments, event)) return
    throw noSuchEvent(event, await neighboursOf(nodes, index, event))
  }

  /** The last reachable moment, whether or not it is the end of what was acknowledged. Errors: `MOMENT_UNREACHABLE`, `HISTORY_GAP`. */
  async reachLast(): Promise<Reached> {
    const { timeline, reach } = (await this.#completed()).found
    const bound = resolveMoment(null, reach)
    return { bound, plan: await planRestore(this.sources.nodes, timeline, bound.ulid) }
  }

  /**
   * The end of what was acknowledged, as far as anyone can know: every open stream was asked, or brought in for a dead
   * process, and is complete up to the last event of all. A write of which nobody knows whether it happened was not
   * acknowledged, and comes later.
   */
  async #locateLatest(): Promise<Located> {
    let { unheard, found } = await this.#completed()
    const end = lastEventOf(found.timeline)
    // A stream that has been idle is complete up to its last seal only, and others have gone on since.
    if (unheard.length === 0 && found.reach.latest !== null && found.reach.latest < end) {
      const completion = await this.seams.complete(end)
      unheard = completion.unheard
      found = await this.#refreshed(end, completion)
    }
    const { timeline, reach } = found
    const isWhole = unheard.length === 0 && (reach.latest === null || reach.latest >= end)
    const limit = isWhole ? null : await this.#limitOf(await this.#unasked(timeline))
    const last = wholeTimes(reach)?.latest
    const known =
      last === undefined ? '' : ` What is known, without what came later: restore --to ${last}, or show --at ${last}`
    const bound = resolveMoment(null, reach, limit === null ? null : { ...limit, hint: `${limit.hint}.${known}` })
    return { bound, timeline, reach }
  }

  /** Streams of this machine that were begun while the store was away, and are not in the timeline yet. */
  waiting(timeline: Timeline): Promise<readonly StreamEntry[]> {
    return waitingStreams(journalDirectories(timeline, this.seams.file.id), timeline)
  }

  /** Open streams of which something may be missing that nobody can be asked for. */
  async #unasked(timeline: Timeline): Promise<readonly StreamEntry[]> {
    const waiting = await this.waiting(timeline)
    const open = [...timeline.streams, ...waiting].filter(({ state }) => state === 'open')
    const conditions = await Promise.all(open.map((stream) => this.conditionOf(stream)))
    return open.filter((_, i) => UNASKED.includes(conditions[i]?.state ?? 'stalled'))
  }

  /**
   * Brings what streams hold into the store, so that moments up to `ulid` are final. Where none is open, that is noted in
   * the timeline where whoever writes next would not learn of it otherwise: the clock of whoever asks does not keep a later
   * writer, whose clock may be behind, from that time. `failure`: why that could not be.
   */
  async #makeFinal(ulid: Ulid): Promise<TimelineReach & { readonly failure: Limit | null }> {
    const { complete, timeline } = this.seams
    const completion = await complete(ulid)
    try {
      await timeline.refresh()
      const isTold = (await this.seams.canAnswer?.(ulid)) === true
      const now = await timeline.refresh()
      const waiting = (await this.waiting(now)).filter(({ openedAt }) => openedAt < ulid)
      if (waiting.length > 0) return { ...(await this.refresh()), failure: await this.#limitOf(waiting) }
      // Without a snapshot nothing is restored from there.
      if (!isTold) await timeline.commit((now) => (now.snapshots.length === 0 ? null : closingThrough(now, ulid)))
      const found = await this.#refreshed(ulid, completion)
      if (!isTold) return { ...found, failure: null }
      const closed = closedThrough(found.timeline, ulid)
      return { timeline: closed, reach: reachOf(closed), failure: null }
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
      const why = `no process was writing then, and that none will write at that time could not be noted in the store (${error.message})`
      const hint = 'Nothing was captured after that: latest is what the database was then.'
      return { ...(await this.refresh()), failure: { why, cause: error, hint } }
    }
  }

  /** The timeline with what streams have answered when they were asked for everything up to `through`. */
  async #refreshed(through: Ulid, { answered: owners = new Map() }: Completion): Promise<TimelineReach> {
    const found = await this.refresh()
    const timeline = answered(found.timeline, through, owners)
    return { timeline, reach: reachOf(timeline) }
  }

  /** Finds out how a stream is doing, without changing anything. */
  conditionOf(stream: StreamEntry): Promise<StreamCondition> {
    const { store, clock, own } = this.seams
    return conditionOf(stream, { store, clock, own })
  }

  /** What is known of the open streams beyond whose end a moment lies; null where there is none. */
  async #limitOf(streams: readonly StreamEntry[]): Promise<Limit | null> {
    const told = await Promise.all(
      streams.map(async (stream) => {
        const { state, why } = await this.conditionOf(stream)
        return { stream, isUnasked: UNASKED.includes(state), why: why ?? `it is ${state}` }
      }),
    )
    const [first] = told
    if (first === undefined) return null
    const why = told.map(({ stream: { id, host, sealedThrough }, why }) => {
      const since = new Date(ulidTime(sealedThrough)).toISOString()
      return `stream ${id} of host ${host} was never closed, and what it wrote after ${since} is not in the store (${why})`
    })
    const unasked = told.filter(({ isUnasked }) => isUnasked)
    const ends = unasked.map(({ stream: { id } }) => `tidemark stream end ${id} --reason <why> --name <who>`)
    const hint =
      ends.length === 0
        ? 'Close the writing process (or call its flush()) and try again.'
        : `Start its application again, or ask where it runs; if it never comes back: ${ends.join('; ')}`
    return { why: why.join('; '), hint }
  }

  /** Everything that the store can be brought to know now, also of writes that are under way. */
  async know(): Promise<Knowledge> {
    const { undecided, unheard } = await this.seams.complete(null, 'begun')
    const { timeline, reach } = await this.refresh()
    if (reach.earliest === null) resolveMoment(null, reach)
    return { plan: await planRestore(this.sources.nodes, timeline, END), undecided, unheard }
  }

  /** The segments with events after `ulid`, to the end of what is reachable once the journals are in the store. */
  async segmentsAfter(ulid: Ulid): Promise<{ segments: readonly SegmentEntry[]; through: Ulid }> {
    const { timeline, reach } = (await this.#completed()).found
    const { latest } = reach
    // The moment itself may be known to be complete where the timeline does not say so.
    const through = latest !== null && latest > ulid ? latest : ulid
    return { segments: await this.#segmentsBetween(timeline, ulid, through), through }
  }

  /**
   * The segments with events after `ulid`, of all that was acknowledged, whether or not it is reachable yet. A write that hangs
   * keeps nobody waiting.
   */
  async segmentsSince(ulid: Ulid): Promise<readonly SegmentEntry[]> {
    const { timeline } = (await this.#completed()).found
    return this.#segmentsBetween(timeline, ulid, END)
  }

  #segmentsBetween({ segments }: Timeline, after: Ulid, through: Ulid): Promise<readonly SegmentEntry[]> {
    return segmentsBetween(this.sources.nodes, segments, after, through)
  }

  /** Removes local intermediate results. */
  close(): void {
    this.#scratch.close()
  }

  #scratchSpace(): ObjectStore {
    return prefixed(this.#scratch.store, `${++this.#passes}/`)
  }
}

/** The stamp of a snapshot stands for the state in it, which no event need be at; retention may have left nothing else. */
function snapshotOr(wanted: Bound, { snapshots }: Timeline): Bound {
  const { event, ulid } = wanted
  if (event === null || ulid < event) return wanted
  const found = snapshots.find((one) => one.ulid === event || one.consistentFrom === event)
  return found === undefined ? wanted : { ulid: found.consistentFrom, event: null, label: `of snapshot ${found.ulid}` }
}

function future(nowMs: number): Limit {
  const now = new Date(nowMs).toISOString()
  return { why: 'it lies in the future', hint: `It is ${now} now: give a time until then, or latest.` }
}

function lastEventOf({ segments }: Timeline): Ulid {
  return totalsOf(segments).lastUlid
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
