import type { Erasure } from './erasure.ts'
import type { Acknowledgement, Gap, Loss } from './gap.ts'
import type { Hold } from './hold.ts'
import type { Mark } from './mark.ts'
import type { Condemned, PrunedRange, StreamBase } from './pruned.ts'
import type { Repair } from './repair.ts'
import type { Ulid } from './ulid.ts'

/** What every file of events has. ULIDs are the least and the greatest inside. */
export interface SegmentFile {
  readonly key: string
  /** How far it has been compacted: 0 as sealed from the journal. */
  readonly level: number
  readonly firstUlid: Ulid
  readonly lastUlid: Ulid
  readonly events: number
  readonly bytes: number
  /** Of the whole file, lower-case hex. */
  readonly sha256: string
  /** Length of the Parquet footer with its 8 trailing bytes, and its CRC-32: what a ranged reader fetches first. */
  readonly footer: { readonly bytes: number; readonly crc32: number }
  /** The Bloom filter of its items, base64, where it is short: then nothing of the file is read to know that an item is not in it. */
  readonly filter?: string
}

/** A segment of level 0: gapless events of one stream. */
export interface StreamSegment extends SegmentFile {
  readonly stream: string
  readonly firstSequence: number
  readonly lastSequence: number
  /** Of its stream: the link before its first event, and the link at its end; lower-case hex. */
  readonly chain: { readonly previous: string; readonly value: string }
}

/** A file of a run: what one merge of segments, of any streams, has written. Its files follow one another by item. */
export interface MergedSegment extends SegmentFile {
  /** What has the chains of the segments that were merged, and what tells where items are: the same for all files of the run. */
  readonly run: RunFile
}

/** A file that something else names. */
export interface NamedFile {
  readonly key: string
  readonly bytes: number
  /** Of the whole file, lower-case hex. */
  readonly sha256: string
}

/** The chain file of a run, and its index. */
export interface RunFile extends NamedFile {
  readonly index: RunIndexFile
}

/** The index of a run: tells where its items are. */
export interface RunIndexFile extends NamedFile {
  /** How many row groups the files of the run have together. */
  readonly rowGroups: number
}

/** One segment of the timeline. */
export type SegmentEntry = StreamSegment | MergedSegment

/** One snapshot of the timeline: with the events after `ulid` it gives the state of every moment from `consistentFrom` on. */
export interface SnapshotEntry {
  readonly ulid: Ulid
  /**
   * Equal to `ulid` where the snapshot was made from history. Later where it was read from a live database while writes
   * went on: it began at `ulid`, ended at `consistentFrom`, and is consistent once combined with the events in between.
   */
  readonly consistentFrom: Ulid
  /** Key prefix of its files, with a closing slash. */
  readonly prefix: string
  readonly records: number
  readonly bytes: number
  /** Of its `s3db.json`, lower-case hex; the manifest holds the hashes of the other files. */
  readonly manifestSha256: string
  /**
   * The acknowledged gaps that it was made through: what is missing in it, and in every state that is made from it.
   * Absent: none. One that was read from a live database has none: it shows what the missing events did.
   */
  readonly except?: readonly Gap[]
}

/** Where the journal of a stream is. */
export type JournalPlace =
  | { readonly kind: 'disk'; readonly path: string }
  | { readonly kind: 'store' }
  | { readonly kind: 'memory' }

/**
 * Sequences that were given to writes which were not recorded, because the bound on the journal was reached. None of
 * these writes is outside of the two stamps.
 */
export interface ShedRange {
  readonly firstSequence: number
  readonly lastSequence: number
  /** Before the first of the writes. */
  readonly after: Ulid
  /** After the last of them; null while they go on. */
  readonly before: Ulid | null
}

/** Sequences of a stream that are in segments, one behind the other, and the least and the greatest ULID of their events. */
export type SealedRange = Pick<StreamSegment, 'firstSequence' | 'lastSequence' | 'firstUlid' | 'lastUlid'>

/**
 * What was captured before the stream was in the timeline, and so late that other moments had been told to be reachable by
 * then: the events that its journal stamped up to `through` have stamps in the store that come after `after`, in their order.
 */
export interface LateStamps {
  readonly after: Ulid
  readonly through: Ulid
}

/** One stream: one writer's gapless series of events. */
export interface StreamEntry {
  readonly id: string
  /** An open stream may hold events that are not in the store yet; a closed one has none and never will. */
  readonly state: 'open' | 'closed'
  /** For people: two machines may have one name. */
  readonly host: string
  readonly pid: number
  /** When the process started, in clock ticks since the boot: tells it from a later one with its number; absent: not known. */
  readonly started?: string
  /** Id of the boot of its machine; absent: not known. */
  readonly boot?: string
  /** Of the numbers of its processes, which containers have each for themselves; absent: not known. */
  readonly namespace?: string
  /** Path of its door, where it has no directory; absent: in its directory, or it has none. */
  readonly door?: string
  /** Where its journal is: a directory on `host`, in the store, or in memory, where a crash loses it. */
  readonly journal: JournalPlace
  readonly openedAt: Ulid
  /** Every event of the stream up to this moment is in the store. */
  readonly sealedThrough: Ulid
  /** Of the last event in the store, 0 where there is none. */
  readonly lastSequence: number
  /** Of the last event in the store; `MIN_ULID` where there is none. */
  readonly lastUlid: Ulid
  /** The hash chain of the stream up to there, lower-case hex. */
  readonly chain: string
  /** From where on it is whole; absent: from its beginning. */
  readonly base?: StreamBase
  /**
   * Which opening of the journal may go on with the stream, random: whoever opens it puts its own, and a commit in the
   * name of another is refused.
   */
  readonly owner: string
  /** What is in segments, by sequence; absent: everything from 1 to `lastSequence`. Whatever else is up to there is missing. */
  readonly sealed?: readonly SealedRange[]
  /** What was told and not recorded, by sequence; absent where there is none. */
  readonly shed?: readonly ShedRange[]
  /** Absent: every stamp in the store is that of the journal. */
  readonly late?: LateStamps
}

/** A restore into the live database starts a new epoch; the history before it stays readable. */
export interface Epoch {
  readonly epoch: number
  readonly startedAt: Ulid
  /** The moment that was restored, or null for the first epoch. */
  readonly restored: Ulid | null
  /** What the restore that begins it is about, for as long as it is neither finished nor taken back; absent: it is. */
  readonly restoring?: RestoreScope
}

/** What of a database is restored in place; see `Selection`. Ids are not told: one of them may have to be erased. */
export interface RestoreScope {
  /** Absent: all. */
  readonly resources?: readonly string[]
  /** Absent: all records. `sha256` tells whether others are the same: see `scopeOf`. */
  readonly ids?: { readonly count: number; readonly sha256: string }
}

/** A node of a tree of the catalogue: an immutable file that has entries, or names nodes that are lower. */
export interface TreeNode {
  readonly key: string
  /** Of the whole file, lower-case hex. */
  readonly sha256: string
  /** 0: it has entries itself. */
  readonly height: number
  /** How many entries or nodes stand in the file. */
  readonly width: number
}

/** A node below which segments are: what is to be known of them without reading it. */
export interface IndexNode extends TreeNode {
  /** The least and the greatest of the segments. */
  readonly firstUlid: Ulid
  readonly lastUlid: Ulid
  readonly segments: number
  /** Of all segments together. */
  readonly events: number
  readonly bytes: number
}

/** A bounded value that stands for any number of entries: those of the nodes, and those of the tail, which no node has yet. */
export interface Tree<Node extends TreeNode, Entry> {
  readonly nodes: readonly Node[]
  readonly tail: readonly Entry[]
}

/** Every segment of a timeline. */
export type SegmentTree = Tree<IndexNode, SegmentEntry>

/** The catalogue of a store at one generation: everything that exists, and how far it reaches. */
export interface Timeline {
  readonly generation: number
  readonly epochs: readonly Epoch[]
  /** By `id`, ascending. */
  readonly streams: readonly StreamEntry[]
  readonly segments: SegmentTree
  /** By `ulid`, ascending. */
  readonly snapshots: readonly SnapshotEntry[]
  /** In the order of their commits. */
  readonly losses: readonly Loss[]
  /** In the order of their commits. */
  readonly acknowledgements: readonly Acknowledgement[]
  /** Records that were erased, in the order of their commits. */
  readonly erasures: readonly Erasure[]
  /** By `name`, as code units compare; absent: none. */
  readonly marks?: readonly Mark[]
  /** By `id`, ascending; absent: none. */
  readonly holds?: readonly Hold[]
  /** By `from`, ascending, apart from each other; absent: none. */
  readonly pruned?: readonly PrunedRange[]
  /** By `key`, as code units compare; absent: none. */
  readonly condemned?: readonly Condemned[]
  /** Absent: none. */
  readonly repairs?: readonly Repair[]
  /** Generations whose files went, by number; absent: none. */
  readonly forgotten?: readonly Heads[]
}

/** Generations that follow one another, whose files went: a file has the SHA-256 of each, 32 bytes, in their order. */
export interface Heads {
  readonly first: number
  readonly last: number
  readonly key: string
  /** Of that file, lower-case hex. */
  readonly sha256: string
}

/** Before the first commit. */
export const EMPTY_TIMELINE: Timeline = {
  generation: 0,
  epochs: [],
  streams: [],
  segments: { nodes: [], tail: [] },
  snapshots: [],
  losses: [],
  acknowledgements: [],
  erasures: [],
}

/** What one commit changes. Absent members change nothing. */
export interface TimelineChange {
  readonly addSegments?: readonly StreamSegment[]
  readonly merge?: MergeChange
  readonly addSnapshots?: readonly SnapshotEntry[]
  /** Replaces the entry with the same id, or adds it. */
  readonly putStreams?: readonly StreamEntry[]
  readonly addEpoch?: Epoch
  /** The restores of every epoch up to this one are finished. */
  readonly endRestores?: number
  readonly addLosses?: readonly Loss[]
  readonly addAcknowledgements?: readonly Acknowledgement[]
  readonly erase?: ErasureChange
  /** Takes the place of the list that begins with the same generation, or is added. */
  readonly forget?: Heads
  /** Replaces the mark with the same name, or adds it. */
  readonly putMark?: Mark
  /** The name of a mark that is to go. */
  readonly removeMark?: string
  readonly addHold?: Hold
  /** The id of a hold that is to go. */
  readonly endHold?: Ulid
  readonly prune?: PruneChange
  /** Files that nothing names, and that are deleted like those that were taken out. */
  readonly condemn?: readonly Condemned[]
  /** Take the place of those with the same keys. */
  readonly putCondemned?: readonly Condemned[]
  /** Keys of what is deleted, and condemned no more. */
  readonly endCondemned?: readonly string[]
}

/** What one merge changes: files with the same events in the place of others. */
export interface MergeChange {
  /** Keys of what is replaced. */
  readonly replaced: readonly string[]
  /** Come to stand, in this order, where the first of these stood. */
  readonly by: readonly MergedSegment[]
}

/** What one erasure changes: the entry in the ledger, and the files without the record in the place of those with it. */
export interface ErasureChange {
  readonly entry: Erasure
  /** `key` of what is replaced, with the same range of the same stream. */
  readonly segments: readonly { readonly key: string; readonly by: SegmentEntry }[]
  /** `prefix` of what is replaced, of the same stamp. */
  readonly snapshots: readonly { readonly prefix: string; readonly by: SnapshotEntry }[]
}

/** What one pruning changes: what goes, and what is known of it afterwards. */
export interface PruneChange {
  /** What goes; its stamps tell where it is in the index. */
  readonly segments: readonly Pick<SegmentEntry, 'key' | 'firstUlid' | 'lastUlid' | 'bytes'>[]
  readonly snapshots: readonly Pick<SnapshotEntry, 'prefix' | 'bytes'>[]
  readonly pruned: readonly PrunedRange[]
  /** By stream. */
  readonly bases: ReadonlyMap<string, StreamBase>
  /** When. */
  readonly at: Ulid
}
