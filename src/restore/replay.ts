import { WINDOW_BYTES } from '../format/segment/read.ts'
import type { Image, Item } from '../model/event.ts'
import type { SegmentEntry, SnapshotEntry } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { SegmentNodes } from '../timeline/segments.ts'
import { ahead } from './ahead.ts'
import { type MergedItem, mergeRuns, mergeStamped, type StampedItem } from './merge.ts'
import { Passes } from './passes.ts'
import type { Plan } from './plan.ts'
import type { Run } from './run.ts'
import { partOf, type RunPart } from './run-part.ts'
import { type EventRange, SegmentRun } from './segment-run.ts'
import type { Segments } from './segments.ts'
import { SnapshotReader } from './snapshot-reader.ts'
import { SnapshotRun } from './snapshot-run.ts'
import type { Snapshots } from './snapshots.ts'
import type { ItemState, Selection } from './target.ts'

/** What replay reads from, and how much memory it may use. */
export interface ReplaySources {
  readonly store: ObjectStore
  readonly segments: Segments
  readonly snapshots: Snapshots
  readonly nodes: SegmentNodes
  /** Bytes. More runs than fit are merged in passes, over `scratch`. */
  readonly memory: number
  /** Local space for passes; asked for only where one is needed. */
  readonly scratch: () => ObjectStore
  /** The image of an item as it was captured, or null where it was erased; null where images are stored as they are. */
  readonly open: ((item: Item, image: Image) => Image | null) | null
}

/** Segments whose footers are read at once. */
export const OPENED_AHEAD = 16

/** Of each segment at least so many bytes are read at once: for fewer a request costs too much. */
const LEAST_WINDOW_BYTES = 128 * 1024

/** Of the memory, what the segments have besides a snapshot whose records are huge: one part of so many. */
const LEAST_PART = 4

type StoredItem = Item & { readonly image: Image | null }
type WithImage<T> = Omit<T, 'image'> & { readonly image: Image | null }

/**
 * The state at the plan's moment: every item of the selection that exists then and was not erased, in the order of
 * `compareItems`.
 */
export async function* replay(
  sources: ReplaySources,
  plan: Plan,
  selection: Selection,
): AsyncGenerator<readonly ItemState[]> {
  const stored = replayStored(sources, plan, selection)
  if (sources.open === null) yield* stored
  else for await (const batch of stored) yield opened(sources, batch).filter(exists)
}

/** The same with the images as the store has them: for what goes back there, or is compared with it. */
export async function* replayStored(
  sources: ReplaySources,
  plan: Plan,
  selection: Selection,
): AsyncGenerator<readonly ItemState[]> {
  const { snapshot, segments, moment } = plan
  const first = await snapshotRun(sources, snapshot, selection)
  for await (const batch of merged(sources, [first], segments, { after: snapshot.ulid, through: moment, selection })) {
    yield batch.filter(exists)
  }
}

/**
 * What the events of a plan leave behind of what its snapshot holds, with the images as the store has them. `reserved`: bytes
 * of the memory that whoever reads the snapshot beside it uses.
 */
export async function* storedChanges(
  sources: ReplaySources,
  { snapshot, segments, moment }: Plan,
  reserved: number,
): AsyncGenerator<readonly StampedItem[]> {
  const memory = Math.max(sources.memory - reserved, sources.memory / LEAST_PART)
  const range = { after: snapshot.ulid, through: moment, selection: {} }
  yield* mergeStamped(await fittingRuns({ ...sources, memory }, [], segments, range))
}

/** What the events in `(after, through]` leave behind: deleted and erased items with a null image, untouched ones not at all. */
export async function* replayChanges(
  sources: ReplaySources,
  segments: readonly SegmentEntry[],
  after: Ulid,
  through: Ulid,
  selection: Selection,
): AsyncGenerator<readonly MergedItem[]> {
  for await (const batch of merged(sources, [], segments, { after, through, selection })) yield opened(sources, batch)
}

/** Opens a snapshot of the timeline anew, for who checks what is in the store. */
export function openSnapshot(
  { store }: ReplaySources,
  { prefix, manifestSha256 }: SnapshotEntry,
): Promise<SnapshotReader> {
  return SnapshotReader.open(store, prefix, manifestSha256)
}

async function snapshotRun(sources: ReplaySources, snapshot: SnapshotEntry, selection: Selection): Promise<Run> {
  return new SnapshotRun(await sources.snapshots.open(snapshot), snapshot.ulid, selection)
}

async function* merged(
  sources: ReplaySources,
  runs: readonly Run[],
  segments: readonly SegmentEntry[],
  range: EventRange,
): AsyncGenerator<readonly MergedItem[]> {
  yield* mergeRuns(await fittingRuns(sources, runs, segments, range))
}

/** Runs that fit into the memory together: those that are given, and what the segments are merged into where they are too many. */
async function fittingRuns(
  sources: ReplaySources,
  runs: readonly Run[],
  segments: readonly SegmentEntry[],
  range: EventRange,
): Promise<readonly Run[]> {
  const fixed = runs.reduce((sum, { bytes }) => sum + bytes, 0)
  // What is fixed gets no smaller by passes: a part of the memory is theirs in any case.
  const memory = Math.max(sources.memory - fixed, sources.memory / LEAST_PART)
  const passes = new Passes(sources.scratch, memory)
  try {
    for await (const run of segmentRuns(sources.segments, segments, range, memory)) await passes.add(run)
  } catch (error) {
    for (const run of [...runs, ...passes.rest]) await run.close()
    throw error
  }
  return [...runs, ...passes.rest]
}

/** Every segment as a run; the files of a merged run, which follow one another, as one. So many as fit `memory` if they read less at once. */
async function* segmentRuns(
  segments: Segments,
  entries: readonly SegmentEntry[],
  range: EventRange,
  memory: number,
): AsyncGenerator<SegmentRun> {
  const units = Map.groupBy(entries, (entry) => ('run' in entry ? entry.run.key : entry.key))
  const windowBytes = Math.max(LEAST_WINDOW_BYTES, Math.min(WINDOW_BYTES, memory / (4 * units.size)))
  // The number of a file in its run is the end of its key.
  const ordered = [...units.values()].flatMap((unit) => unit.toSorted((a, b) => (a.key < b.key ? -1 : 1)))
  let parts: RunPart[] = []
  for await (const [entry, reader] of ahead(ordered, OPENED_AHEAD, (one) => segments.scan(one), OPENED_AHEAD)) {
    const isRun = 'run' in entry
    // Of the many files of a run each is opened in its turn: what is open takes memory.
    const open = isRun ? { open: () => segments.scan(entry) } : {}
    parts.push(partOf(reader, range.selection, { ...open, windowBytes }))
    if (isRun && parts.length < (units.get(entry.run.key)?.length ?? 0)) continue
    yield new SegmentRun(parts, range)
    parts = []
  }
}

/** An image as it was captured; null where there is none, and where it was erased. */
export function openedImage({ open }: ReplaySources, item: Item, image: Image | null): Image | null {
  return open === null || image === null ? image : open(item, image)
}

function opened<T extends StoredItem>(sources: ReplaySources, batch: readonly T[]): readonly WithImage<T>[] {
  if (sources.open === null) return batch
  return batch.map((item) => ({ ...item, image: openedImage(sources, item, item.image) }))
}

function exists<T extends StoredItem>(item: T): item is T & ItemState {
  return item.image !== null
}
