import { nonce } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import {
  MANIFEST_FILE,
  parseReplacedKey,
  parseRunFileKey,
  parseSegmentKey,
  prefixOfSnapshotKey,
  replacedKey,
  snapshotPrefix,
} from '../format/keys.ts'
import { type Erasure, rewritings } from '../model/erasure.ts'
import type { Item } from '../model/event.ts'
import type { ErasureChange, SegmentEntry, SnapshotEntry, Timeline } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import { openSnapshot, type ReplaySources } from '../restore/replay.ts'
import type { SnapshotWriter, WrittenSnapshot } from '../restore/snapshot-writer.ts'
import type { ItemState } from '../restore/target.ts'
import { type Keeping, keepingNow } from '../store/keeping.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { deleteAllowed, deletionRefused, type Undeleted } from '../store/refusals.ts'
import type { TimelineLog } from '../timeline/log.ts'
import { eachSegment, type SegmentNodes } from '../timeline/segments.ts'
import { notWhole, rewriteSegments } from './erase-segments.ts'
import { replacedLists } from './replaced-files.ts'
import { filesOf, SegmentParts } from './run-chains.ts'
import { writeSnapshot } from './snapshot.ts'
import { areStillThere } from './still-there.ts'

/** Where a record stands in the history: what an erasure by rewriting writes again. */
export interface ErasurePlan {
  readonly item: Item
  readonly segments: readonly SegmentEntry[]
  readonly snapshots: readonly SnapshotEntry[]
  /** Of these files: about what is read and written. */
  readonly bytes: number
  /** Streams that have events in these segments. */
  readonly streams: readonly string[]
}

/** Finds the files that may hold the item; reads footers and manifests only, and one gzip member a snapshot. */
export async function planErasure(sources: ReplaySources, timeline: Timeline, item: Item): Promise<ErasurePlan> {
  const segments: SegmentEntry[] = []
  for await (const entry of eachSegment(sources.nodes, timeline.segments)) {
    if ((await sources.segments.open(entry)).mayContain(item)) segments.push(entry)
  }
  const snapshots: SnapshotEntry[] = []
  for (const entry of timeline.snapshots) {
    if ((await (await openSnapshot(sources, entry)).find(item)) !== null) snapshots.push(entry)
  }
  const bytes = [...segments, ...snapshots].reduce((sum, entry) => sum + entry.bytes, 0)
  const parts = new SegmentParts(sources.store)
  const streams = new Set<string>()
  for (const entry of segments) for (const { stream } of await parts.of(entry)) streams.add(stream)
  return { item, segments, snapshots, bytes, streams: [...streams] }
}

/** An erasure that was committed. */
export interface Erased {
  readonly entry: Erasure
  /** What the place keeps of the files that were deleted: the store, or with `keys` that of the keyring. */
  readonly keeping: Keeping
}

/** What is to be noted of an erasure, before it is known what it found. */
export type ErasureReason = Pick<Erasure, 'ulid' | 'reason' | 'by'>

/**
 * Writes every file of the plan again without the record, reads it back, commits all of them at once with an entry in
 * the ledger, and only then deletes what held the record. An attempt that is broken off has erased nothing, or has left
 * files that no timeline names: the next one takes them away, with an entry of its own. Null where nothing held the
 * record and nothing was left. Errors: `ERASURE_RACED` where another erasure was committed meanwhile: nothing was erased;
 * `ERASURE_INCOMPLETE` where the store does not let some of what held the record go.
 */
export async function rewriteWithout(
  sources: ReplaySources,
  timeline: TimelineLog,
  plan: ErasurePlan,
  { ulid, reason, by }: ErasureReason,
): Promise<Erased | null> {
  const began = timeline.timeline.erasures.length
  const { segments, events } = await rewriteSegments(sources, timeline.timeline, plan.segments, plan.item)
  const snapshots: ErasureChange['snapshots'][number][] = []
  for (const entry of plan.snapshots)
    snapshots.push({ prefix: entry.prefix, by: await rewriteSnapshot(sources, entry, plan.item) })
  const { resource } = plan.item
  const entry: Erasure = { ulid, resource, mode: 'rewritten', reason, by, events, snapshots: snapshots.length }
  const change: ErasureChange = { entry, segments, snapshots }
  // Listed before the commit: who puts files later is refused by theirs, or has read the timeline that this one makes.
  // What is replaced is known to be there, whether or not a listing shows it yet.
  const stored = new Set(await filesReplaced(sources, plan, change))
  for await (const { key } of sources.store.list('')) stored.add(key)
  const waiting = await replacedSince(sources.store, timeline.timeline)
  const dead: string[] = []
  await timeline.commit(async (now) => {
    if (now.erasures.length !== began || !(await areStillThere(sources.store, now, writtenBy(change)))) throw raced()
    const { before, after } = await namesOf(sources.nodes, now, change)
    dead.splice(0, dead.length, ...deadAmong([...stored], after, now, ulid))
    // What merges have replaced since the last erasure goes too, but is no reason for one: what took its place has the same.
    if (dead.every((key) => waiting.has(key))) dead.splice(0, dead.length)
    return dead.length === 0 ? null : { erase: requireUnmoved(before, change) }
  })
  if (dead.length === 0) return null
  // Before they are deleted, since of older versions nobody tells a lock; and whatever comes of that, they are.
  const keeping = await keepingNow(sources.store, dead)
  const refused = await deleteAllowed(sources.store, dead)
  if (refused.length > 0) throw incomplete(refused)
  return { entry, keeping }
}

function incomplete(refused: readonly Undeleted[]): TidemarkError {
  const cause = deletionRefused(refused)
  const what = `The history has the record no more, but ${refused.length} files with it are still in the store`
  return new TidemarkError('ERASURE_INCOMPLETE', `${what}: ${cause.message}`, {
    hint: 'Type the same command again where that may be deleted, or when its lock has ended. The error has every file with the end of its lock (details.refused).',
    cause,
    details: cause.details,
  })
}

/** The keys of files that an erasure of this plan would delete, one of each snapshot. */
export function filesOfPlan({ segments, snapshots }: Pick<ErasurePlan, 'segments' | 'snapshots'>): readonly string[] {
  return [...segments.flatMap(filesOf), ...snapshots.map(({ prefix }) => prefix + MANIFEST_FILE)]
}

async function rewriteSnapshot(sources: ReplaySources, entry: SnapshotEntry, item: Item): Promise<SnapshotEntry> {
  const { store } = sources
  const old = await openSnapshot(sources, entry)
  const prefix = snapshotPrefix(entry.ulid, nonce())
  const write = async (writer: SnapshotWriter): Promise<WrittenSnapshot> => {
    for await (const { kind, resource, lines } of old.lines({})) {
      const states = Array.from(
        lines,
        (line): ItemState => ({ kind, resource, id: Buffer.from(line.id).toString('utf8'), image: line.image() }),
      )
      await writer.add(states.filter((state) => !isOf(state, item)))
    }
    return writer.finish(entry.consistentFrom)
  }
  const { database } = old.manifest
  const holes = entry.except === undefined ? {} : { except: entry.except }
  const by = await writeSnapshot({ store, prefix, ulid: entry.ulid, database, ...holes }, write, async (written) => ({
    ...entry,
    prefix,
    ...written,
  }))
  if ((await (await openSnapshot(sources, by)).find(item)) !== null) throw notWhole(prefix)
  return by
}

/** The keys of everything that a change takes out of the timeline. */
async function filesReplaced(
  sources: ReplaySources,
  plan: ErasurePlan,
  { segments, snapshots }: ErasureChange,
): Promise<readonly string[]> {
  const keys = segments.flatMap(({ key, by }) => (key === by.key ? [] : [key]))
  const replaced = new Set(snapshots.map(({ prefix }) => prefix))
  for (const entry of plan.snapshots) {
    if (replaced.has(entry.prefix)) keys.push(...(await openSnapshot(sources, entry)).keys())
  }
  return keys
}

function isOf(state: ItemState, { kind, resource, id }: Item): boolean {
  return state.kind === kind && state.resource === resource && state.id === id
}

/** What is replaced must still be what the timeline names; new files cannot hold the record, which is deleted. */
function requireUnmoved(keys: ReadonlySet<string>, change: ErasureChange): ErasureChange {
  const replaced = [...change.segments.map(({ key }) => key), ...change.snapshots.map(({ prefix }) => prefix)]
  if (replaced.every((key) => keys.has(key))) return change
  throw raced()
}

/** A file of each segment and snapshot that an erasure has written. */
function writtenBy({ segments, snapshots }: ErasureChange): readonly string[] {
  return [...segments.map(({ by }) => by.key), ...snapshots.map(({ by }) => by.prefix + MANIFEST_FILE)]
}

/**
 * What the timeline will not name once the change is made, and nobody can be about to commit: segments of sequences that
 * are in the store, runs, and snapshots up to the erasure. Whoever began to write such files before it is refused by its
 * commit.
 */
function deadAmong(
  stored: readonly string[],
  alive: ReadonlySet<string>,
  { streams }: Timeline,
  erased: Ulid,
): string[] {
  const sealed = new Map(streams.map(({ id, lastSequence }) => [id, lastSequence]))
  const last = `snapshot/${erased}`
  return stored.filter((key) => {
    const segment = parseSegmentKey(key)
    if (segment !== null) return !alive.has(key) && segment.lastSequence <= (sealed.get(segment.stream) ?? 0)
    if (parseRunFileKey(key) !== null) return !alive.has(key)
    if (parseReplacedKey(key) !== null) return true
    const prefix = prefixOfSnapshotKey(key)
    return prefix !== null && !alive.has(prefix) && prefix.slice(0, last.length) <= last
  })
}

/** The files that merges have replaced since the last erasure, and their lists. */
async function replacedSince(store: ObjectStore, timeline: Timeline): Promise<ReadonlySet<string>> {
  const waiting = new Set<string>()
  for await (const { ulid, erasures, keys } of replacedLists(store)) {
    waiting.add(replacedKey(ulid))
    if (erasures === rewritings(timeline)) for (const key of keys) waiting.add(key)
  }
  return waiting
}

/** The keys of all files of segments, and the prefixes of all snapshots, before a change and after it. */
async function namesOf(
  nodes: SegmentNodes,
  timeline: Timeline,
  change: ErasureChange,
): Promise<{ readonly before: ReadonlySet<string>; readonly after: ReadonlySet<string> }> {
  const segmentBy = new Map(change.segments.map(({ key, by }) => [key, by]))
  const snapshotBy = new Map(change.snapshots.map(({ prefix, by }) => [prefix, by]))
  const before = new Set(timeline.snapshots.map(({ prefix }) => prefix))
  const after = new Set(timeline.snapshots.map((entry) => (snapshotBy.get(entry.prefix) ?? entry).prefix))
  for await (const entry of eachSegment(nodes, timeline.segments)) {
    for (const key of filesOf(entry)) before.add(key)
    for (const key of filesOf(segmentBy.get(entry.key) ?? entry)) after.add(key)
  }
  return { before, after }
}

/** The error for files that another erasure has replaced. */
export function raced(cause?: unknown): TidemarkError {
  return new TidemarkError(
    'ERASURE_RACED',
    'Another erasure, or a pruning, was committed meanwhile. Nothing was erased.',
    {
      hint: 'Run the command again.',
      cause,
    },
  )
}
