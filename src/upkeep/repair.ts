import { systemClock } from '../base/clock.ts'
import { hasCode, TidemarkError } from '../base/errors.ts'
import {
  GENERATION_DIGITS,
  isNodeKey,
  MANIFEST_FILE,
  parseSegmentKey,
  parseTimelineKey,
  timelineKey,
} from '../format/keys.ts'
import { type Hold, isPause, pauseOf } from '../model/hold.ts'
import type { PrunedRange } from '../model/pruned.ts'
import type { Repair } from '../model/repair.ts'
import { prunedRanges, rangesOf, withRanges, withSealed } from '../model/sealed-ranges.ts'
import type { SegmentEntry, SnapshotEntry, StreamEntry, StreamSegment, Timeline } from '../model/timeline.ts'
import { newUlid, type Ulid } from '../model/ulid.ts'
import { ahead } from '../restore/ahead.ts'
import { claimGeneration, latestBeyond } from '../store/generations.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { catalogueNodes, madeGeneration } from '../timeline/head.ts'
import { GENERATIONS } from '../timeline/log.ts'
import { type Generations, type Salvage, salvage } from './repair/generations.ts'
import { type NewIndex, putIndexes, withIndexes } from './repair/indexes.ts'
import type { Recalled } from './repair/recall.ts'
import { fittingRuns, readFoundRuns } from './repair/runs.ts'
import { type FoundSegment, fitting, readFound } from './repair/segments.ts'
import { expectSnapshot, prefixesIn, readFoundSnapshot } from './repair/snapshots.ts'
import { continued, frameStream, streamsWithFrames } from './repair/streams.ts'
import { filesOf, type SegmentPart, SegmentParts } from './run-chains.ts'
import { type Damage, Inspection, type OnDamage, type OnFile } from './verify/inspection.ts'
import { lastErasure } from './verify/remains.ts'
import type { Listing } from './verify/snapshots.ts'

/**
 * The generation that follows a catalogue of which no file is left: greater than any that a process which has still got
 * it in memory could be at, so that its next commit is not taken for the latest.
 */
const AFTER_A_LOST_CATALOGUE = 1_000_000_000

/** Segments that are read at once, each as a whole. */
const READ_AT_ONCE = 4

/** How the catalogue would be made again from the files of the store. */
export interface RepairPlan {
  /** False where nothing has to be done. */
  readonly isNeeded: boolean
  /** Files of generations that are damaged: each stays where it is. */
  readonly damaged: readonly string[]
  /** Generations whose changes no file tells any more. */
  readonly lost: readonly Generations[]
  /** Keys of segments, and prefixes of snapshots, that are entered again. */
  readonly entered: readonly string[]
  /**
   * Files that the catalogue names, and that are damaged or missing: what needs them is taken out of it, and nothing is
   * deleted. The first 1,000.
   */
  readonly takenOut: readonly Damage[]
  /** How many there are. */
  readonly taken: number
  /** Whether a file is among them. */
  readonly isTakenOut: (key: string) => boolean
  /** Indexes of runs that are damaged or missing: others are made from the files of the runs. */
  readonly remade: readonly Damage[]
  /** The indexes that are to be made. */
  readonly indexes: readonly NewIndex[]
  /** Streams of which nobody knows any more whether they hold more events. */
  readonly streams: readonly string[]
  /** Marks and holds that only older generations, or nodes that nothing names, say: they may have been removed since. */
  readonly recalled: Pick<Recalled, 'marks' | 'holds'>
  /** The hold of everything, until somebody says that all marks and holds are there; null where none can have been lost. */
  readonly paused: Hold | null
  /** The catalogue as it would be. */
  readonly timeline: Timeline
  /** SHA-256 of the latest file, as it is; null where there is none. */
  readonly previous: string | null
  /** The greatest number of a generation so far; 0 where there is none. */
  readonly latest: number
}

/**
 * Reads the whole store, and makes its catalogue again: from the generations that can be read, and from the segments and
 * snapshots that only lost ones named. Writes nothing. Errors: those of the store.
 */
export async function planRepair(
  store: ObjectStore,
  onFile: OnFile,
  onTakenOut: OnDamage = () => {},
  nowMs: number = systemClock.now(),
): Promise<RepairPlan> {
  const listing = new Map<string, number>()
  for await (const { key, bytes } of store.list('')) listing.set(key, bytes)
  await addUnlisted(store, listing)
  const inspection = new Inspection(store, onFile, onTakenOut, listing)
  const salvaged = await salvage(store, listing.keys())
  const { recalled } = salvaged
  const isLost = salvaged.lost.length > 0 || salvaged.latest === 0 || salvaged.damaged.some(isNodeKey)
  const whole = await readable(inspection, salvaged.timeline, listing)
  const indexed = await withIndexes(store, whole.segments.tail, listing)
  const named = { ...whole, segments: { nodes: [], tail: indexed.segments } }
  const known = await partsIn(store, named)
  const foundRuns = isLost ? await readFoundRuns(store, unnamedIn(listing, named)) : []
  const runs = fittingRuns(
    foundRuns.filter(({ files }) => !files.every((file) => isPruned(named, file))),
    known,
  )
  const sealed = await segmentsFor(store, [...known, ...runs.flatMap(({ parts }) => parts)], named, listing, isLost)
  const segments = {
    files: [...runs.flatMap(({ files }) => files), ...sealed],
    parts: [...runs.flatMap(({ parts }) => parts), ...sealed],
  }
  const snapshots = await snapshotsFor(inspection, named, listing, isLost)
  const entered = [...segments.files.flatMap(filesOf), ...snapshots.map(({ prefix }) => prefix)]
  const streams = streamsFor(named, segments.parts, isLost ? listing : new Map())
  const before = new Map(named.streams.map((stream) => [stream.id, stream]))
  const all = withRangesOf({ ...named, streams, ...merged(named, segments.files, snapshots) }, [
    ...known,
    ...segments.parts,
  ])
  const isDamaged = salvaged.damaged.length > 0 || inspection.damaged > 0 || indexed.made.length > 0
  const isNeeded = isDamaged || salvaged.past.length > 0 || entered.length > 0
  const promised = recalled === null || !isNeeded ? { timeline: all, paused: null } : promisedIn(all, recalled, nowMs)
  const timeline = numbered(salvaged, promised.timeline)
  await inspection.told()
  return {
    isNeeded,
    damaged: [...new Set([...salvaged.past.map(([first]) => timelineKey(first)), ...salvaged.damaged])],
    lost: salvaged.lost,
    entered,
    takenOut: inspection.damage,
    taken: inspection.damaged,
    isTakenOut: (key) => inspection.isDamaged(key),
    remade: indexed.damage,
    indexes: [...indexed.made, ...runs.flatMap(({ made }) => made)],
    streams: streams
      .filter(({ id, state }) => state === 'open' && before.get(id)?.state !== 'open')
      .map(({ id }) => id),
    recalled: { marks: recalled?.marks ?? [], holds: recalled?.holds ?? [] },
    paused: promised.paused,
    timeline,
    previous: salvaged.sha256,
    latest: salvaged.latest,
  }
}

/** Why everything is held. */
const PAUSED =
  'the catalogue was repaired, and a part of it was lost: see that every mark and hold is there, then remove this hold'

/** With what only nodes say that was pruned, where nothing of that is there, and with retention paused. */
function promisedIn(
  timeline: Timeline,
  { doubtful }: Pick<Recalled, 'doubtful'>,
  nowMs: number,
): { readonly timeline: Timeline; readonly paused: Hold } {
  const { segments, snapshots, holds = [] } = timeline
  const isThere = ({ from, through }: PrunedRange): boolean =>
    segments.tail.some(({ firstUlid, lastUlid }) => firstUlid <= through && lastUlid >= from) ||
    snapshots.some(({ consistentFrom }) => consistentFrom >= from && consistentFrom <= through)
  const gone = doubtful.filter((range) => !isThere(range))
  const pruned = [...(timeline.pruned ?? []), ...gone].sort((a, b) => (a.from < b.from ? -1 : 1))
  const before = holds.find(isPause)
  const paused = before ?? pauseOf(newUlid(nowMs), PAUSED)
  const held = before === undefined ? [...holds, paused].sort((a, b) => (a.id < b.id ? -1 : 1)) : holds
  return { timeline: { ...timeline, holds: held, ...(pruned.length === 0 ? {} : { pruned }) }, paused }
}

/** Whether all events of a file were pruned: it was taken out of the timeline, and is not to be in it again. */
function isPruned(
  { pruned = [] }: Timeline,
  { firstUlid, lastUlid }: Pick<SegmentEntry, 'firstUlid' | 'lastUlid'>,
): boolean {
  return pruned.some(({ from, through }) => from <= firstUlid && lastUlid <= through)
}

/** Commits the catalogue of a plan as the next generation. False where another process committed it first. */
export async function commitRepair(store: ObjectStore, { timeline, previous, indexes }: RepairPlan): Promise<boolean> {
  await putIndexes(store, indexes)
  const { bytes, files } = await madeGeneration(timeline, { sha256: previous }, catalogueNodes(store))
  for (const file of files) await store.put(file.key, file.bytes, { ifAbsent: true })
  return claimGeneration(store, GENERATIONS, timeline.generation, bytes)
}

/** The timeline without the segments and snapshots that cannot be read: what is wrong with them is gathered. */
async function readable(inspection: Inspection, timeline: Timeline, listing: Listing): Promise<Timeline> {
  const segments: SegmentEntry[] = []
  const broken = new Set<string>()
  inspection.expect(timeline.segments.tail.map(({ key }) => key))
  for (const entry of timeline.segments.tail) {
    const check = (): Promise<void> => inspection.expectHash(entry.key, listing.get(entry.key), entry.sha256)
    if (await isReadable(inspection, entry.key, check)) segments.push(entry)
    else if ('run' in entry) broken.add(entry.run.key)
  }
  const runs = new Map(segments.flatMap((entry) => ('run' in entry ? [[entry.run.key, entry.run]] : [])))
  inspection.expect(runs.keys())
  for (const run of runs.values()) {
    const check = (): Promise<void> => inspection.expectHash(run.key, listing.get(run.key), run.sha256)
    if (!(await isReadable(inspection, run.key, check))) broken.add(run.key)
  }
  // Of a run the chains are those of all its files: it is there as a whole, or not at all.
  const whole = segments.filter((entry) => !('run' in entry) || !broken.has(entry.run.key))
  const snapshots: SnapshotEntry[] = []
  for (const entry of timeline.snapshots) {
    const check = (): Promise<void> => expectSnapshot(inspection, entry, listing)
    if (await isReadable(inspection, `${entry.prefix}${MANIFEST_FILE}`, check)) snapshots.push(entry)
  }
  return { ...timeline, segments: { nodes: [], tail: whole }, snapshots }
}

/** What the store does not let us read says nothing: only damage takes a file out of the catalogue. */
async function isReadable(inspection: Inspection, key: string, check: () => Promise<void>): Promise<boolean> {
  try {
    await check()
    return true
  } catch (error) {
    const isDamage = error instanceof TidemarkError && error.category === 'corrupt'
    if (!isDamage && !hasCode(error, 'OBJECT_NOT_FOUND')) throw error
    inspection.found(key, error)
    await inspection.told()
    return false
  }
}

/** A listing may be behind what was put: generations, and files that the catalogue names, are asked for by their keys. */
async function addUnlisted(store: ObjectStore, listing: Map<string, number>): Promise<void> {
  const numbers = [...listing.keys()].flatMap((key) => parseTimelineKey(key) ?? [])
  const listed = numbers.reduce((a, b) => Math.max(a, b), 0)
  const latest = await latestBeyond(store, GENERATIONS, listed)
  for (let generation = listed + 1; generation <= latest; generation++) listing.set(timelineKey(generation), 0)
}

/** Segments to enter: those that fill holes; and, where generations are lost, those that go on from what is known. */
async function segmentsFor(
  store: ObjectStore,
  known: readonly SegmentPart[],
  timeline: Timeline,
  listing: Listing,
  isLost: boolean,
): Promise<readonly StreamSegment[]> {
  const { streams } = timeline
  const ends = new Map(streams.map((stream) => [stream.id, stream]))
  const found = new Map<string, FoundSegment[]>()
  const candidates = unnamedIn(listing, timeline).filter((key) => {
    const name = parseSegmentKey(key)
    return name !== null && (isLost || name.lastSequence <= (ends.get(name.stream)?.lastSequence ?? 0))
  })
  for await (const [, segment] of ahead(candidates, READ_AT_ONCE, (key) => readFound(store, key))) {
    if (segment === null || (isLost && isPruned(timeline, segment.entry))) continue
    const { stream } = segment.entry
    const others = found.get(stream)
    if (others === undefined) found.set(stream, [segment])
    else others.push(segment)
  }
  const byStream = Map.groupBy(known, ({ stream }) => stream)
  return [...found].flatMap(([id, candidates]) => {
    const stream = ends.get(id) ?? { id, lastSequence: 0, chain: '' }
    return fitting(stream, byStream.get(id) ?? [], candidates).map(({ entry }) => entry)
  })
}

/** What the segments of a timeline have of each stream. */
async function partsIn(store: ObjectStore, { segments }: Timeline): Promise<readonly SegmentPart[]> {
  const parts = new SegmentParts(store)
  const known = new Set<SegmentPart>()
  for (const entry of segments.tail) for (const part of await parts.of(entry)) known.add(part)
  return [...known]
}

/** The files that a timeline neither names nor lets go. */
function unnamedIn(listing: Listing, { segments, condemned = [] }: Timeline): readonly string[] {
  const named = new Set([...segments.tail.flatMap(filesOf), ...condemned.map(({ key }) => key)])
  return [...listing.keys()].filter((key) => !named.has(key))
}

/**
 * Snapshots to enter, one of each stamp: the one with the fewest records, since an erasure takes some out. Those from before
 * the last erasure may be what it has replaced.
 */
async function snapshotsFor(
  inspection: Inspection,
  timeline: Timeline,
  listing: Listing,
  isLost: boolean,
): Promise<readonly SnapshotEntry[]> {
  if (!isLost) return []
  const going = (timeline.condemned ?? []).map(({ key }) => key)
  const named = new Set([...timeline.snapshots.map(({ prefix }) => prefix), ...going])
  const stamps = new Set(timeline.snapshots.map(({ ulid }) => ulid))
  const erased = lastErasure(timeline)
  const found = new Map<Ulid, SnapshotEntry>()
  for (const prefix of prefixesIn(listing)) {
    const entry = named.has(prefix) ? null : await readFoundSnapshot(inspection, prefix, listing)
    if (entry === null || stamps.has(entry.ulid) || (erased !== null && entry.ulid <= erased)) continue
    if (isPruned(timeline, { firstUlid: entry.consistentFrom, lastUlid: entry.consistentFrom })) continue
    const other = found.get(entry.ulid)
    if (other === undefined || entry.records < other.records) found.set(entry.ulid, entry)
  }
  return [...found.values()]
}

function streamsFor({ streams }: Timeline, entered: readonly SegmentPart[], listing: Listing): readonly StreamEntry[] {
  const all = new Map(streams.map((stream) => [stream.id, stream]))
  for (const id of streamsWithFrames(listing.keys())) if (!all.has(id)) all.set(id, frameStream(id))
  const byStream = Map.groupBy(entered, ({ stream }) => stream)
  for (const [id, own] of byStream) all.set(id, continued(all.get(id), own, id))
  return [...all.values()]
}

function merged(
  { segments: { tail: segments }, snapshots, epochs }: Timeline,
  entered: readonly SegmentEntry[],
  added: readonly SnapshotEntry[],
): Pick<Timeline, 'segments' | 'snapshots' | 'epochs'> {
  const tail = [...segments, ...entered]
  const all = [...snapshots, ...added].sort((a, b) => (a.ulid < b.ulid ? -1 : 1))
  const [first] = all
  const isBegun = epochs.length > 0 || first === undefined
  return {
    // In a stream the order of the sequences is that of the stamps.
    segments: { nodes: [], tail: tail.sort((a, b) => (a.firstUlid < b.firstUlid ? -1 : 1)) },
    snapshots: all,
    epochs: isBegun ? epochs : [{ epoch: 1, startedAt: first.ulid, restored: null }],
  }
}

/** With what each stream has in segments, which may be less than it had. */
function withRangesOf(timeline: Timeline, parts: readonly SegmentPart[]): Timeline {
  const ranges = rangesOf(parts)
  const streams = timeline.streams.map((stream) => {
    return withSealed(stream, withRanges(prunedRanges(stream), ranges.get(stream.id) ?? []))
  })
  return { ...timeline, streams: streams.sort((a, b) => (a.id < b.id ? -1 : 1)) }
}

/** With the number of the next generation, and with those that are lost: numbers that were given stay taken. */
function numbered({ latest, lost, past }: Salvage, timeline: Timeline): Timeline {
  const generation = latest === 0 ? AFTER_A_LOST_CATALOGUE : latest + 1
  if (generation >= 10 ** GENERATION_DIGITS) throw numbersUsedUp(timelineKey(latest))
  const first = latest === 0 ? 1 : lost[0]?.[0]
  const ranges: readonly Generations[] = first === undefined ? past : [...past, [first, generation - 1]]
  const made = ranges.map(([from, last]): Repair => ({ generation, first: from, last }))
  const repairs = [...(timeline.repairs ?? []), ...made]
  return { ...timeline, generation, ...(repairs.length === 0 ? {} : { repairs }) }
}

function numbersUsedUp(key: string): TidemarkError {
  return new TidemarkError('LIMIT_EXCEEDED', `${key} has the last number that there is: no generation can follow it.`, {
    hint: 'No Tidemark has written it: move that file away, and type the same command again.',
    details: { key },
  })
}
