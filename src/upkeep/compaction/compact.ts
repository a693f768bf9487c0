import type { Clock } from '../../base/clock.ts'
import { hasCode } from '../../base/errors.ts'
import { leaseKey, mergingKey } from '../../format/keys.ts'
import { sealJson } from '../../format/sealed-json.ts'
import { rewritings } from '../../model/erasure.ts'
import type { Interval } from '../../model/interval.ts'
import type { SegmentEntry, Timeline } from '../../model/timeline.ts'
import { beforeInstant, newUlid, type Ulid } from '../../model/ulid.ts'
import { reachOf } from '../../restore/reach.ts'
import type { ObjectStore } from '../../store/object-store.ts'
import type { TimelineLog } from '../../timeline/log.ts'
import { type SegmentNodes, segmentsBetween } from '../../timeline/segments.ts'
import { putReplaced } from '../replaced-files.ts'
import { filesOf } from '../run-chains.ts'
import { Lease } from './lease.ts'
import { LookedNodes } from './looked-nodes.ts'
import { type CompactionPlan, openSince, planCompaction } from './plan.ts'
import { Look, SettledNodes } from './settled.ts'
import { abandonRuns, type SweptReplaced, sweepReplaced } from './sweep.ts'
import type { RunRequest, WrittenRun } from './write-run.ts'

/**
 * Bytes of entries of the catalogue that are looked at together, some thousands of entries: all of them are put in order again
 * after every merge. Of what is merged, the next ones move up.
 */
const LOOKED_AT_BYTES = 2 * 1024 * 1024
/** About what an entry takes in memory, without its filter. */
const ENTRY_BYTES = 800

/** What a compaction works with. */
export interface CompactionSeams {
  readonly store: ObjectStore
  readonly timeline: TimelineLog
  readonly clock: Clock
  /** Bytes that a merge may take: see `RunRequest`. */
  readonly memory: number
  /** What earlier looks have seen; absent: nothing. */
  readonly settled?: SettledNodes
  /** Of entries of the catalogue that are looked at together. Default: 2 MiB. */
  readonly lookedAtBytes?: number
  /** As `writeRun`. */
  readonly write: (request: RunRequest, onFile: (key: string) => void) => Promise<WrittenRun>
}

/** How far a compaction goes. */
export interface CompactionLimits {
  /** How long files that were replaced stay for those who read them, milliseconds. */
  readonly graceMs: number
  /** Ends it before the next merge. */
  readonly signal?: AbortSignal
  /** Merges at most. Default: all. */
  readonly most?: number
  readonly onMerge?: (merged: Merged) => void
}

/** One merge that was committed. */
export interface Merged {
  readonly level: number
  /** Files of segments before and after. */
  readonly replaced: number
  readonly files: number
  readonly events: number
  readonly bytes: number
}

/** What a compaction did. */
export interface Compaction extends SweptReplaced {
  readonly merges: readonly Merged[]
  /** Whether another process is at it: then nothing was merged. */
  readonly isHeld: boolean
}

/**
 * Merges what there is to merge, one run and one commit after the other, and deletes what was replaced long enough ago. Where it is
 * broken off, what was committed stays, and files that no timeline names are left. Errors: those of the store, `SEGMENT_CORRUPT`,
 * `OBJECT_CORRUPT`: nothing was replaced by what could not be read back; `STORE_DENIED` where nothing may be deleted.
 */
export async function compact(seams: CompactionSeams, limits: CompactionLimits): Promise<Compaction> {
  const { store, timeline, clock, settled = new SettledNodes() } = seams
  const merges: Merged[] = []
  const nodes = new LookedNodes(timeline.nodes.segments)
  const next = async (): Promise<CompactionPlan | null> => {
    const found = await nextPlan(await timeline.refresh(), nodes, settled, seams.lookedAtBytes)
    nodes.endLook()
    return found
  }
  let plan = await next()
  // What is merged and cannot be deleted would be stored twice.
  if (plan !== null) await store.delete([leaseKey(0)])
  const lease = plan === null ? null : await Lease.take(store, clock)
  const isHeld = plan !== null && lease === null
  const { most = Number.POSITIVE_INFINITY, signal } = limits
  try {
    while (lease !== null && plan !== null && signal?.aborted !== true && (await lease.renew())) {
      if (merges.length >= most) break
      const merged = await mergeOnce(seams, plan)
      if (merged !== null) {
        merges.push(merged)
        limits.onMerge?.(merged)
      }
      plan = await next()
    }
  } finally {
    await lease?.release()
  }
  await abandonRuns(store, timeline, clock.now())
  return { merges, ...(await sweepReplaced(store, timeline, clock.now() - limits.graceMs)), isHeld }
}

/**
 * What is to be merged next; costs no request where the catalogue was read before. What `settled` has is left out, and where
 * nothing is found it has all that is over afterwards.
 */
export async function nextPlan(
  timeline: Timeline,
  nodes: Pick<SegmentNodes, 'read'>,
  settled: SettledNodes = new SettledNodes(),
  lookedAtBytes: number = LOOKED_AT_BYTES,
): Promise<CompactionPlan | null> {
  const { latest } = reachOf(timeline)
  if (latest === null) return null
  const look = new Look(settled)
  let [entries, bytes]: [SegmentEntry[], number] = [[], 0]
  for await (const some of look.entries(timeline.segments, nodes.read)) {
    for (const entry of some) {
      if (settled.isSplit(entry)) {
        settled.clear()
        return nextPlan(timeline, nodes, settled, lookedAtBytes)
      }
      // The files of a run follow one another: they are looked at together.
      if (bytes >= lookedAtBytes && !isSameRun(entries.at(-1), entry)) {
        const plan = planBefore(entries, latest, entry)
        if (plan !== null) return plan
        ;[entries, bytes] = [[], 0]
      }
      entries.push(entry)
      bytes += ENTRY_BYTES + (entry.filter?.length ?? 0)
    }
  }
  const plan = planCompaction(entries, latest)
  if (plan === null) settled.note(look, openSince(latest))
  return plan
}

/**
 * The next merge of what is looked at before `next`, whose windows are not looked at as a whole: they would be merged in pieces,
 * smaller ones from merge to merge. Only where nothing else is found, a piece is better than nothing.
 */
function planBefore(entries: readonly SegmentEntry[], latest: Ulid, next: SegmentEntry): CompactionPlan | null {
  const over = next.firstUlid < latest ? planCompaction(entries, next.firstUlid) : null
  return over ?? planCompaction(entries, latest)
}

function isSameRun(a: SegmentEntry | undefined, b: SegmentEntry): boolean {
  return a !== undefined && 'run' in a && 'run' in b && a.run.key === b.run.key
}

/** Null where an erasure or another merge came first: what was written is deleted then, and the timeline read again. */
async function mergeOnce(seams: CompactionSeams, { level, units }: CompactionPlan): Promise<Merged | null> {
  const { store, timeline, clock, memory } = seams
  const erasures = rewritings(timeline.timeline)
  const made: string[] = []
  const run = newUlid(clock.now())
  const letGo = (): Promise<void> => store.delete([...made, mergingKey(run)])
  await store.put(mergingKey(run), sealJson({ format: 1, level }), { ifAbsent: true })
  let written: WrittenRun
  try {
    const request = { run, level, erasures, units, memory }
    written = await seams.write(request, (key) => made.push(key))
  } catch (error) {
    // What is left of it nobody names.
    await letGo().catch(() => {})
    const isGone = hasCode(error, 'OBJECT_NOT_FOUND')
    const wasMoved = isGone && !(await isNamed(timeline.nodes.segments, await timeline.refresh(), units))
    if (!wasMoved) throw error
    return null
  }
  const gone = new Set(written.replaced)
  const keys = units
    .flat()
    .filter(({ key }) => gone.has(key))
    .flatMap(filesOf)
  const within = rangeOf(units.flat())
  let isCommitted = false
  await timeline.commit(async (now) => {
    const named = await namesBeside(timeline.nodes.segments, now, units)
    // The answer of an earlier attempt may have been lost.
    isCommitted = written.files.some(({ key }) => named.has(key))
    const isUnmoved = rewritings(now) === erasures && written.replaced.every((key) => named.has(key))
    // Who was taken for dead has no say any more: see `abandonRuns`.
    const isWanted = isUnmoved && !isCommitted && (await store.head(mergingKey(run))) !== null
    if (!isWanted) return null
    await putReplaced(store, { ulid: newUlid(clock.now()), erasures, keys: [...new Set(keys)], within })
    isCommitted = true
    return { merge: { replaced: written.replaced, by: written.files } }
  })
  if (!isCommitted) {
    await letGo()
    return null
  }
  await store.delete([mergingKey(run)])
  const sum = (of: 'events' | 'bytes'): number => written.files.reduce((total, file) => total + file[of], 0)
  const { replaced, files } = written
  return { level, replaced: replaced.length, files: files.length, events: sum('events'), bytes: sum('bytes') }
}

async function isNamed(nodes: SegmentNodes, timeline: Timeline, units: CompactionPlan['units']): Promise<boolean> {
  const named = await namesBeside(nodes, timeline, units)
  return units.flat().every(({ key }) => named.has(key))
}

/** The keys of all segments with events of the time of these; no other nodes are read. */
async function namesBeside(
  nodes: SegmentNodes,
  { segments }: Timeline,
  units: CompactionPlan['units'],
): Promise<ReadonlySet<string>> {
  const { from, through } = rangeOf(units.flat())
  const beside = await segmentsBetween(nodes, segments, beforeInstant(from), through)
  return new Set(beside.map(({ key }) => key))
}

/** From the first to the last event of segments. */
function rangeOf(entries: readonly SegmentEntry[]): Interval {
  return {
    from: entries.reduce((least, { firstUlid }) => (firstUlid < least ? firstUlid : least), 'Z'),
    through: entries.reduce((greatest, { lastUlid }) => (lastUlid > greatest ? lastUlid : greatest), ''),
  }
}
