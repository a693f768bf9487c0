import { nonce, sha256 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { parseSegmentKey, prefixOfSnapshotKey, segmentKey, snapshotPrefix } from '../format/keys.ts'
import type { Erasure } from '../model/erasure.ts'
import type { Item } from '../model/event.ts'
import type { ErasureChange, SegmentEntry, SnapshotEntry, Timeline } from '../model/timeline.ts'
import { openSnapshot, type ReplaySources } from '../restore/replay.ts'
import type { SnapshotWriter, WrittenSnapshot } from '../restore/snapshot-writer.ts'
import type { ItemState } from '../restore/target.ts'
import type { TimelineLog } from '../timeline/log.ts'
import { eachSegment, type SegmentNodes } from '../timeline/segments.ts'
import { withoutItem } from './rewrite-segment.ts'
import { writeSnapshot } from './snapshot.ts'

/** Where a record stands in the history: what an erasure by rewriting writes again. */
export interface ErasurePlan {
  readonly item: Item
  readonly segments: readonly SegmentEntry[]
  readonly snapshots: readonly SnapshotEntry[]
  /** Of these files: about what is read and written. */
  readonly bytes: number
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
  return { item, segments, snapshots, bytes }
}

/** What is to be noted of an erasure, before it is known what it found. */
export type ErasureReason = Pick<Erasure, 'ulid' | 'reason' | 'by'>

/**
 * Writes every file of the plan again without the record, reads it back, commits all of them at once with an entry in
 * the ledger, and only then deletes what held the record. An attempt that is broken off has erased nothing, or has left
 * files that no timeline names: the next one takes them away, with an entry of its own. Null where nothing held the
 * record and nothing was left. Errors: `ERASURE_RACED` where another erasure was committed meanwhile: nothing was erased.
 */
export async function rewriteWithout(
  sources: ReplaySources,
  timeline: TimelineLog,
  plan: ErasurePlan,
  { ulid, reason, by }: ErasureReason,
): Promise<Erasure | null> {
  const began = timeline.timeline.erasures.length
  const segments: ErasureChange['segments'][number][] = []
  let events = 0
  for (const entry of plan.segments) {
    const rewritten = await rewriteSegment(sources, entry, plan.item)
    if (rewritten === null) continue
    segments.push({ key: entry.key, by: rewritten.by })
    events += rewritten.erased
  }
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
  const dead: string[] = []
  await timeline.commit(async (now) => {
    if (now.erasures.length !== began) throw raced()
    const named = await namesOf(sources.nodes, now)
    dead.splice(0, dead.length, ...deadAmong([...stored], named, now, change))
    return dead.length === 0 ? null : { erase: requireUnmoved(named, change) }
  })
  await sources.store.delete(dead)
  return dead.length === 0 ? null : entry
}

async function rewriteSegment(
  { store, segments }: ReplaySources,
  entry: SegmentEntry,
  item: Item,
): Promise<{ by: SegmentEntry; erased: number } | null> {
  const rewritten = await withoutItem(await segments.open(entry), item)
  if (rewritten === null) return null
  const { bytes, info, erased } = rewritten
  const key = segmentKey({ ...info, nonce: nonce() })
  await store.put(key, bytes, { ifAbsent: true })
  if (sha256(await store.get(key)) !== info.sha256) throw notWhole(key)
  return { by: { ...info, key }, erased }
}

async function rewriteSnapshot(sources: ReplaySources, entry: SnapshotEntry, item: Item): Promise<SnapshotEntry> {
  const { store } = sources
  const old = await openSnapshot(sources, entry)
  const prefix = snapshotPrefix(entry.ulid, nonce())
  const write = async (writer: SnapshotWriter): Promise<WrittenSnapshot> => {
    for await (const { kind, resource, lines } of old.lines({})) {
      const states = lines.map(
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
  const keys = segments.map(({ key }) => key)
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

/**
 * What the timeline will not name once the change is made, and nobody can be about to commit: segments of sequences that
 * are in the store, and snapshots up to the erasure. Whoever began to write such files before it is refused by its commit.
 */
function deadAmong(
  stored: readonly string[],
  named: ReadonlySet<string>,
  { streams }: Timeline,
  { entry, segments, snapshots }: ErasureChange,
): string[] {
  const replaced = new Set([...segments.map(({ key }) => key), ...snapshots.map(({ prefix }) => prefix)])
  const alive = new Set([
    ...[...named].filter((name) => !replaced.has(name)),
    ...segments.map(({ by }) => by.key),
    ...snapshots.map(({ by }) => by.prefix),
  ])
  const sealed = new Map(streams.map(({ id, lastSequence }) => [id, lastSequence]))
  const last = `snapshot/${entry.ulid}`
  return stored.filter((key) => {
    const segment = parseSegmentKey(key)
    if (segment !== null) return !alive.has(key) && segment.lastSequence <= (sealed.get(segment.stream) ?? 0)
    const prefix = prefixOfSnapshotKey(key)
    return prefix !== null && !alive.has(prefix) && prefix.slice(0, last.length) <= last
  })
}

/** The keys of all segments, and the prefixes of all snapshots. */
async function namesOf(nodes: SegmentNodes, { segments, snapshots }: Timeline): Promise<ReadonlySet<string>> {
  const names = new Set(snapshots.map(({ prefix }) => prefix))
  for await (const { key } of eachSegment(nodes, segments)) names.add(key)
  return names
}

/** The error for files that another erasure has replaced. */
export function raced(cause?: unknown): TidemarkError {
  return new TidemarkError('ERASURE_RACED', 'Another erasure was committed meanwhile. Nothing was erased.', {
    hint: 'Run the command again.',
    cause,
  })
}

function notWhole(key: string): TidemarkError {
  return new TidemarkError('OBJECT_CORRUPT', `${key} does not read back as it was written. Nothing was erased.`, {
    hint: 'The store does not keep what it is given: run `tidemark verify` before anything else.',
    details: { key },
  })
}
