import { sha256 } from '../base/bytes.ts'
import { timelineKey } from '../format/keys.ts'
import { applyChange } from '../model/apply-change.ts'
import { union } from '../model/interval.ts'
import {
  EMPTY_TIMELINE,
  type ErasureChange,
  type IndexNode,
  type MergeChange,
  type PruneChange,
  type SegmentEntry,
  type SegmentTree,
  type Timeline,
  type TimelineChange,
  type TreeNode,
} from '../model/timeline.ts'
import type { ObjectStore } from '../store/object-store.ts'
import {
  EMPTY_LEDGER,
  LEDGER,
  type Ledger,
  type LedgerEntry,
  type LedgerNodes,
  ledgerNodes,
  nextLedger,
  readLedger,
  together,
} from './ledger.ts'
import { NodeFiles } from './nodes.ts'
import { decodeRoot, encodeRoot, type Root } from './root.ts'
import { SEGMENTS, type SegmentNodes, segmentNodes } from './segments.ts'
import { carried, rewritten, type WriteNode } from './tree.ts'

/** The last generation whose file went; 0: none. */
export function lastForgotten({ forgotten = [] }: Pick<Timeline, 'forgotten'>): number {
  return forgotten.at(-1)?.last ?? 0
}

/** What a process has of the latest generation that it knows. */
export interface TimelineHead {
  readonly timeline: Timeline
  readonly ledger: Ledger
  /** SHA-256 of the file of this generation; null before the first. */
  readonly sha256: string | null
  /** Size of that file; 0 before the first. */
  readonly rootBytes: number
}

/** Before the first generation. */
export const EMPTY_HEAD: TimelineHead = { timeline: EMPTY_TIMELINE, ledger: EMPTY_LEDGER, sha256: null, rootBytes: 0 }

/** Reads the nodes of a store. */
export interface CatalogueNodes {
  readonly segments: SegmentNodes
  readonly ledger: LedgerNodes
}

/** The nodes of a store. */
export function catalogueNodes(store: ObjectStore): CatalogueNodes {
  return { segments: segmentNodes(store), ledger: ledgerNodes(store) }
}

/** The next generation: its file, the nodes that it needs, which are put before, and the head that it makes. */
export interface NextGeneration {
  readonly bytes: Uint8Array
  readonly files: NodeFiles['files']
  readonly next: TimelineHead
}

/**
 * What `change` makes of a head. `put`: nodes that an earlier attempt has put. Errors: `LIMIT_EXCEEDED`, `TIMELINE_CORRUPT`,
 * and those of the store.
 */
export async function nextGeneration(
  head: TimelineHead,
  change: TimelineChange,
  nodes: CatalogueNodes,
  put: ReadonlyMap<string, string> = new Map(),
): Promise<NextGeneration> {
  const files = new NodeFiles(head.timeline.generation + 1, put, lastForgotten(head.timeline))
  const write: WriteNode<IndexNode, SegmentEntry> = (content) => files.add(SEGMENTS, content)
  const kept = await pruned(head.timeline.segments, change.prune, nodes.segments, write)
  const merged = await withMerge(kept, change.merge, nodes.segments, write)
  const before =
    change.erase === undefined ? merged : await replaced(merged, erasedBy(change.erase), nodes.segments, write)
  const timeline = applyChange({ ...head.timeline, segments: before }, change)
  return generationOf(
    { ...timeline, segments: await carried(timeline.segments, SEGMENTS, nodes.segments.read, write) },
    head,
    nodes.ledger,
    files,
  )
}

/** A timeline that was made otherwise, as the generation behind `head`. Errors: as `nextGeneration`. */
export async function madeGeneration(
  timeline: Timeline,
  { sha256: previous }: Pick<TimelineHead, 'sha256'>,
  nodes: CatalogueNodes,
): Promise<NextGeneration> {
  const files = new NodeFiles(timeline.generation, new Map(), 0)
  const write: WriteNode<IndexNode, SegmentEntry> = (content) => files.add(SEGMENTS, content)
  const segments = await carried(timeline.segments, SEGMENTS, nodes.segments.read, write)
  return generationOf({ ...timeline, segments }, { ...EMPTY_HEAD, sha256: previous }, nodes.ledger, files)
}

async function generationOf(
  timeline: Timeline,
  head: Pick<TimelineHead, 'timeline' | 'ledger' | 'sha256'>,
  nodes: LedgerNodes,
  files: NodeFiles,
): Promise<NextGeneration> {
  const write: WriteNode<TreeNode, LedgerEntry> = (content) => files.add(LEDGER, content)
  // Where a node of segments is written too, nothing is joined: a commit writes at most 64 KiB.
  const shape = files.files.length === 0 ? LEDGER : { ...LEDGER, joinedBytes: 0 }
  const { ledger, own } = await nextLedger(head.ledger, [head.timeline, timeline], nodes, write, shape)
  const { generation, segments } = timeline
  const content = { ...own, ledger: ledger.nodes, segments }
  const bytes = encodeRoot({ generation, previous: head.sha256, content })
  return { bytes, files: files.files, next: { timeline, ledger, sha256: sha256(bytes), rootBytes: bytes.length } }
}

/** What takes the place of segments: of an entry itself, others, or none; the ULIDs of all that change lie within `ranges`. */
interface Replacement {
  readonly map: (entry: SegmentEntry) => readonly SegmentEntry[]
  readonly ranges: readonly Pick<SegmentEntry, 'firstUlid' | 'lastUlid'>[]
}

/** The segments that an erasure has written again, in the place of those with the record, with their ranges. */
function erasedBy({ segments }: Pick<ErasureChange, 'segments'>): Replacement {
  const by = new Map(segments.map((one) => [one.key, one.by]))
  return { map: (entry) => [by.get(entry.key) ?? entry], ranges: segments.map((one) => one.by) }
}

/** With the files of a run instead of what was merged into it, where the first of that stood: so entries stay in the order of time. */
async function withMerge(
  index: SegmentTree,
  merge: MergeChange | undefined,
  nodes: SegmentNodes,
  write: WriteNode<IndexNode, SegmentEntry>,
): Promise<SegmentTree> {
  if (merge === undefined) return index
  const gone = new Set(merge.replaced)
  let rest: readonly SegmentEntry[] = merge.by
  const map = (entry: SegmentEntry): readonly SegmentEntry[] => {
    if (!gone.has(entry.key)) return [entry]
    const here = rest
    rest = []
    return here
  }
  const { nodes: list, tail } = await replaced(index, { map, ranges: merge.by }, nodes, write)
  // None of what was merged is there: that is for whoever commits, and nothing is left out here.
  return { nodes: list, tail: [...tail, ...rest] }
}

function replaced(
  index: SegmentTree,
  { map, ranges }: Replacement,
  nodes: SegmentNodes,
  write: WriteNode<IndexNode, SegmentEntry>,
): Promise<SegmentTree> {
  const firstUlid = ranges.reduce((least, range) => (range.firstUlid < least ? range.firstUlid : least), 'Z')
  const lastUlid = ranges.reduce((greatest, range) => (range.lastUlid > greatest ? range.lastUlid : greatest), '')
  const mayTouch = (node: IndexNode): boolean =>
    firstUlid <= node.lastUlid &&
    lastUlid >= node.firstUlid &&
    ranges.some((range) => range.firstUlid <= node.lastUlid && range.lastUlid >= node.firstUlid)
  return rewritten(index, { mayTouch, map, leaves: SEGMENTS }, nodes.read, write)
}

/** Without the segments that a pruning takes out. */
function pruned(
  index: SegmentTree,
  change: PruneChange | undefined,
  nodes: SegmentNodes,
  write: WriteNode<IndexNode, SegmentEntry>,
): Promise<SegmentTree> | SegmentTree {
  if (change === undefined || change.segments.length === 0) return index
  const keys = new Set(change.segments.map(({ key }) => key))
  const ranges = union(change.segments.map(({ firstUlid, lastUlid }) => ({ from: firstUlid, through: lastUlid })))
  const mayTouch = (node: IndexNode): boolean =>
    ranges.some(({ from, through }) => from <= node.lastUlid && through >= node.firstUlid)
  const map = (entry: SegmentEntry): readonly SegmentEntry[] => (keys.has(entry.key) ? [] : [entry])
  return rewritten(index, { mayTouch, map, leaves: SEGMENTS }, nodes.read, write)
}

/** The head that a root leads to; what `known` has of the ledger is not read again. Errors: `TIMELINE_CORRUPT`. */
export async function headOf(
  root: Root,
  nodes: CatalogueNodes,
  known: TimelineHead = EMPTY_HEAD,
): Promise<TimelineHead> {
  const { generation, content, sha256: hash, bytes } = root
  const ledger = await readLedger(content.ledger, content, nodes.ledger, known.ledger)
  const timeline: Timeline = { generation, ...together(ledger.settled, content), segments: content.segments }
  return { timeline, ledger, sha256: hash, rootBytes: bytes }
}

/** Reads the head at `generation`. Errors: `TIMELINE_CORRUPT`, and those of the store. */
export async function readHead(
  store: ObjectStore,
  generation: number,
  nodes: CatalogueNodes,
  known: TimelineHead = EMPTY_HEAD,
): Promise<TimelineHead> {
  if (generation === 0) return EMPTY_HEAD
  return headOf(decodeRoot(await store.get(timelineKey(generation)), generation), nodes, known)
}
