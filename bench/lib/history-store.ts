import { LIMITS } from '../../src/base/limits.ts'
import { claimStore } from '../../src/engine/store-file.ts'
import { segmentKey, snapshotPrefix } from '../../src/format/keys.ts'
import { chainStart } from '../../src/format/segment/chain.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import type { SegmentEntry, SnapshotEntry, StreamEntry, StreamSegment } from '../../src/model/timeline.ts'
import { firstUlidAt, MIN_ULID, newUlid, type Ulid, ulidTime } from '../../src/model/ulid.ts'
import { ahead } from '../../src/restore/ahead.ts'
import type { ReplaySources } from '../../src/restore/replay.ts'
import { Segments } from '../../src/restore/segments.ts'
import { SnapshotWriter } from '../../src/restore/snapshot-writer.ts'
import { Snapshots } from '../../src/restore/snapshots.ts'
import type { ItemState } from '../../src/restore/target.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { eachSegment, segmentNodes } from '../../src/timeline/segments.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'
import { type Chunk, encodeChunk } from './dataset.ts'
import type { Frames } from './kept-frames.ts'

const DATABASE = 'bench'
const MEMORY = 128 * 1024 * 1024
const PUT_AT_ONCE = 8

/**
 * Writes a whole store: `states` as its first snapshot, and every chunk as a segment of one closed stream. `start` is
 * a stamp before every event. The same files that capture writes, without a database.
 */
export async function writeHistory(
  store: ObjectStore,
  start: Ulid,
  states: Iterable<readonly ItemState[]>,
  chunks: Iterable<Chunk | Frames>,
): Promise<readonly StreamSegment[]> {
  const createdAt = new Date(ulidTime(start)).toISOString()
  const file = { format: 2, id: start, database: DATABASE, createdAt, storeKey: null, recordKeys: false } as const
  await claimStore(store, DATABASE, DATABASE, async () => ({ file, undo: async () => {} }))
  const log = await TimelineLog.open(store)
  const snapshot = await writeSnapshot(store, start, states)
  const addSegments: StreamSegment[] = []
  // Encoded in order, before anything is waited for; stored several at once.
  const add = (chunk: Chunk | Frames): Promise<void> => {
    const previous = addSegments.at(-1)?.chain.value ?? chainStart(start)
    const { bytes, info } = encodeSegment('changes' in chunk ? encodeChunk(chunk) : chunk, {
      stream: start,
      level: 0,
      previous,
    })
    const key = segmentKey({ ...info, nonce: '00000000' })
    addSegments.push({ key, ...info })
    return store.put(key, bytes)
  }
  for await (const _ of ahead(chunks, PUT_AT_ONCE, add));
  const last = addSegments.at(-1)
  const stream: StreamEntry = {
    id: start,
    state: 'closed',
    host: DATABASE,
    pid: 1,
    journal: { kind: 'memory' },
    openedAt: start,
    sealedThrough: last?.lastUlid ?? start,
    lastSequence: last?.lastSequence ?? 0,
    lastUlid: last?.lastUlid ?? MIN_ULID,
    chain: last?.chain.value ?? chainStart(start),
    owner: '0'.repeat(16),
  }
  const addEpoch = { epoch: 1, startedAt: start, restored: null }
  await log.commit(() => ({ addSnapshots: [snapshot], addSegments, putStreams: [stream], addEpoch }))
  return addSegments
}

/** Bytes that what is merged may take: enough for as many events as a run can have. */
const MERGE_MEMORY = 1024 * 1024 * 1024

/** Merges all segments of a store into as few runs of at most so many events as can be, and returns what it consists of then. */
export async function mergeHistory(
  store: ObjectStore,
  most: number = LIMITS.runEvents,
): Promise<readonly SegmentEntry[]> {
  const log = await TimelineLog.open(store)
  for (;;) {
    const entries: SegmentEntry[] = []
    for await (const entry of eachSegment(log.nodes.segments, log.timeline.segments)) entries.push(entry)
    const units = within(entries, most).map((entry) => [entry])
    if (units.length < 2) return entries
    const run = newUlid(ulidTime(units[0]?.[0]?.firstUlid ?? MIN_ULID))
    const { replaced, files } = await writeRun(
      store,
      { run, level: 1, erasures: 0, units, memory: MERGE_MEMORY },
      () => {},
    )
    await log.commit(() => ({ merge: { replaced, by: files } }))
  }
}

/** The oldest of level 0, as many as have at most so many events. */
function within(entries: readonly SegmentEntry[], most: number): readonly SegmentEntry[] {
  let events = 0
  return entries
    .filter(({ level }) => level === 0)
    .sort((a, b) => (a.firstUlid < b.firstUlid ? -1 : 1))
    .filter((entry) => {
      events += entry.events
      return events <= most
    })
}

async function writeSnapshot(
  store: ObjectStore,
  ulid: Ulid,
  states: Iterable<readonly ItemState[]>,
): Promise<SnapshotEntry> {
  const prefix = snapshotPrefix(ulid)
  const writer = new SnapshotWriter({ store, prefix, ulid, database: DATABASE })
  for (const batch of states) await writer.add(batch)
  return { ulid, consistentFrom: ulid, prefix, ...(await writer.finish()) }
}

/** A stamp before the first event of `dataset`. */
export const BEFORE_DATASET: Ulid = firstUlidAt(1_789_999_999_999)

/** What replay reads from, with no footer cached yet. */
export function coldSources(store: ObjectStore): ReplaySources {
  return {
    store,
    segments: new Segments(store),
    snapshots: new Snapshots(store),
    nodes: segmentNodes(store),
    memory: MEMORY,
    scratch: () => new MemoryStore(),
    open: null,
  }
}
