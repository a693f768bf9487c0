import { join } from 'node:path'
import { Tidemark } from '../../src/engine/tidemark.ts'
import type { Item } from '../../src/model/event.ts'
import { totalsOf } from '../../src/model/segment-index.ts'
import type { Timeline } from '../../src/model/timeline.ts'
import { firstUlidAt, type Ulid } from '../../src/model/ulid.ts'
import { findEvents } from '../../src/restore/lookup.ts'
import { planRestore } from '../../src/restore/plan.ts'
import { replay } from '../../src/restore/replay.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { segmentsBetween } from '../../src/timeline/segments.ts'
import { verifyStore } from '../../src/upkeep/verify.ts'
import { CountingStore } from '../../test/support/stores.ts'
import { type Cost, costOf, type GrowthRow, growthOver } from '../lib/cost.ts'
import { type Chunk, dataset } from '../lib/dataset.ts'
import { BEFORE_DATASET, coldSources, mergeHistory, writeHistory } from '../lib/history-store.ts'
import { framesKept, keepFrames } from '../lib/kept-frames.ts'
import { inTemporaryDirectory, mustBe } from '../lib/timing.ts'

/*
 * What reading costs against how many events there are, a tenth as many records, in segments of at most 50,000 events and at
 * least 16, and then merged into runs: with nothing cached, from opening the store on. Times are those of the processor.
 */
const KIB = 1024
const CHUNK = 50_000
const LEAST_SEGMENTS = 16

interface Probe {
  readonly item: Item
  events: number
  /** Whether it is there at the end. */
  isThere: boolean
}

/** As by default. */
const SNAPSHOT_EVENTS = 1_000_000

/** Records of which one is looked for: of millions, what is noted would be most of the memory of this process. */
const PROBED = 10_000

/** A record with about ten events, as most are that are looked for. */
class Probes {
  last: Ulid = firstUlidAt(0)
  /** Of which snapshots are made: see `snapshotsOf`. */
  readonly moments: Ulid[] = []
  #events = 0
  readonly #probes = new Map<string, Probe>()

  get one(): Probe {
    const there = [...this.#probes.values()].filter(({ isThere }) => isThere)
    const found = there.sort((a, b) => Math.abs(a.events - 10) - Math.abs(b.events - 10))[0]
    if (found === undefined) throw new Error('there are no records')
    return found
  }

  *noting(chunks: Iterable<Chunk>): Generator<Chunk> {
    for (const chunk of chunks) {
      for (const change of chunk.changes) this.#note(change)
      this.last = chunk.ulids.at(-1) ?? this.last
      const snapshots = Math.round(this.#events / SNAPSHOT_EVENTS)
      this.#events += chunk.changes.length
      if (Math.round(this.#events / SNAPSHOT_EVENTS) > snapshots) this.moments.push(this.last)
      yield chunk
    }
  }

  #note({ kind, resource, id, after }: Chunk['changes'][number]): void {
    const isThere = after !== null
    const known = this.#probes.get(id)
    if (known !== undefined) {
      known.events++
      known.isThere = isThere
    } else if (this.#probes.size < PROBED) this.#probes.set(id, { item: { kind, resource, id }, events: 1, isThere })
  }
}

/** What a lookup costs, with nothing known of the store. */
interface Lookups {
  readonly get: Cost
  readonly history: Cost
}

async function lookups(store: CountingStore, { item, events }: Probe, last: Ulid): Promise<Lookups> {
  const get = await costOf(store, async () => {
    const tidemark = await Tidemark.open({ store: { url: 'bench://store', objects: store } })
    const record = await tidemark.at('latest').get(item.resource, item.id)
    await tidemark.close()
    return record
  })
  const history = await costOf(store, async () => {
    const { timeline } = await TimelineLog.open(store)
    const sources = coldSources(store)
    const segments = await segmentsBetween(sources.nodes, timeline.segments, BEFORE_DATASET, last)
    let found = 0
    for await (const _ of findEvents(sources, segments, item)) found++
    return found
  })
  mustBe(get.result !== null && history.result === events, `the history of ${item.id}`)
  return { get, history }
}

/** Processor time of replaying all events and of verifying them, whatever snapshots were made since, in microseconds an event. */
async function whole(store: CountingStore, events: number, last: Ulid): Promise<readonly [number, number]> {
  const restore = await costOf(store, async () => {
    const { timeline } = await TimelineLog.open(store)
    const sources = coldSources(store)
    let records = 0
    const plan = await planRestore(sources.nodes, withFirstSnapshot(timeline), last)
    for await (const batch of replay(sources, plan, {})) records += batch.length
    return records
  })
  mustBe(restore.result > 0, 'a restore')
  const verify = await costOf(store, async () => {
    const { timeline } = await TimelineLog.open(store)
    return verifyStore(coldSources(store), withFirstSnapshot(timeline))
  })
  mustBe(verify.result.damaged === 0 && verify.result.events === events, 'a verification')
  const each = ({ ms }: Cost): number => (ms * 1000) / events
  return [each(restore), each(verify)]
}

function withFirstSnapshot(timeline: Timeline): Timeline {
  return { ...timeline, snapshots: timeline.snapshots.toSorted((a, b) => (a.ulid < b.ulid ? -1 : 1)).slice(0, 1) }
}

/** Snapshots as whoever captures makes them by itself, one a million events: the last half a million events before the end. */
async function snapshotsOf(place: string, moments: readonly Ulid[]): Promise<void> {
  const tidemark = await Tidemark.open({ store: `file:${place}` })
  for (const at of moments) await tidemark.snapshot({ at })
  await tidemark.close()
}

async function growthAt(events: number): Promise<GrowthRow> {
  return inTemporaryDirectory(async (directory) => {
    const [place, path] = [join(directory, 'store'), join(directory, 'frames')]
    const store = new CountingStore(new FilesystemStore(place))
    const probes = new Probes()
    const chunk = Math.min(CHUNK, Math.ceil(events / LEAST_SEGMENTS))
    const kept = keepFrames(path, probes.noting(dataset({ events, records: Math.ceil(events / 10), chunk })))
    const write = await costOf(store, () => writeHistory(store, BEFORE_DATASET, [], framesKept(path, kept)))
    const { one, last } = probes
    const open = await costOf(store, async () => totalsOf((await TimelineLog.open(store)).timeline.segments))
    mustBe(open.result.events === events, 'the events of a store')
    await snapshotsOf(place, probes.moments)
    const segments = await lookups(store, one, last)
    const [restoreSegments, verifySegments] = await whole(store, events, last)
    const merge = await costOf(store, () => mergeHistory(store))
    const runs = await lookups(store, one, last)
    const [restoreRuns, verifyRuns] = await whole(store, events, last)
    return {
      size: events,
      'write, us/event': (write.ms * 1000) / events,
      'merge, us/event': (merge.ms * 1000) / events,
      'open, ms': open.ms,
      ...costsOf('segments', segments),
      'restore of segments, us/event': restoreSegments,
      'verify of segments, us/event': verifySegments,
      ...costsOf('runs', runs),
      'restore of runs, us/event': restoreRuns,
      'verify of runs, us/event': verifyRuns,
    }
  })
}

function costsOf(where: string, { get, history }: Lookups): Omit<GrowthRow, 'size'> {
  return {
    [`get in ${where}, requests`]: get.requests,
    [`get in ${where}, ms`]: get.ms,
    [`get in ${where}, KiB`]: get.read / KIB,
    [`history in ${where}, requests`]: history.requests,
    [`history in ${where}, ms`]: history.ms,
    [`history in ${where}, KiB`]: history.read / KIB,
  }
}

/** Reading at each size. */
export async function historyGrowth(sizes: readonly number[]): Promise<readonly GrowthRow[]> {
  return growthOver(sizes, growthAt)
}
