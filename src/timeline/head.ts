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
  goneOf,
  LEDGER,
  type Ledger,
  type LedgerArrangement,
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
import { type Carrying, carried, type Leaves, rewritten, split, type WriteNode } from './tree.ts'

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

/** How a generation is laid out in nodes: what it says is the same. */
export interface Arrangement {
  /** Of which trees nodes that are small, and need not change, are joined with what is written beside them. */
  readonly joins: 'both' | 'segments' | 'none'
  readonly carrying: Carrying
  /** What a later commit is to take out. Null: that is not known. */
  readonly going: GoingOut | null
}

/** What a commit takes out, or writes anew in its place. */
export interface GoingOut {
  /** Keys of segments. */
  readonly keys: ReadonlySet<string>
  /** Where they are. */
  readonly ranges: readonly Range[]
  /** Values of the ledger. */
  readonly values: ReadonlySet<object>
}

type Range = Pick<SegmentEntry, 'firstUlid' | 'lastUlid'>

/** As it is where there is room in a commit. */
const WHOLE: Arrangement = { joins: 'both', carrying: 'full', going: null }

/**
 * What `change` makes of a head. `put`: nodes that an earlier attempt has put. Errors: `LIMIT_EXCEEDED`, `TIMELINE_CORRUPT`,
 * and those of the store.
 */
export async function nextGeneration(
  head: TimelineHead,
  change: TimelineChange,
  nodes: CatalogueNodes,
  put: ReadonlyMap<string, string> = new Map(),
  { joins, carrying, going }: Arrangement = WHOLE,
): Promise<NextGeneration> {
  const files = new NodeFiles(head.timeline.generation + 1, put)
  const write: WriteNode<IndexNode, SegmentEntry> = (content) => files.add(SEGMENTS, content)
  const editing: Editing = { nodes: nodes.segments, write, leaves: { ...SEGMENTS, joins: joins !== 'none' } }
  const kept = await pruned(head.timeline.segments, change.prune, editing)
  const merged = await withMerge(kept, change.merge, editing)
  const before = change.erase === undefined ? merged : await replaced(merged, erasedBy(change.erase), editing)
  const timeline = applyChange({ ...head.timeline, segments: before }, change)
  const parted = going === null ? null : await withoutMixed(timeline.segments, going, editing)
  const { read } = nodes.segments
  const segments = await carried(parted ?? timeline.segments, editing.leaves, read, write, carrying)
  // One at a time.
  const values = parted === null && going !== null ? going.values : null
  const arrangement = { joins: joins === 'both', carrying, going: values }
  return generationOf({ ...timeline, segments }, head, nodes.ledger, files, arrangement)
}

/** What a change takes out of a head, or writes anew in its place. */
export function goingOut({ timeline }: Pick<TimelineHead, 'timeline'>, change: TimelineChange): GoingOut {
  const { merge, erase, prune } = change
  const keys = [
    ...(merge?.replaced ?? []),
    ...(erase?.segments ?? []).map(({ key }) => key),
    ...(prune?.segments ?? []).map(({ key }) => key),
  ]
  const ranges = [...(merge?.by ?? []), ...(erase?.segments ?? []).map(({ by }) => by), ...(prune?.segments ?? [])]
  return { keys: new Set(keys), ranges, values: goneOf(timeline, applyChange(timeline, change)) }
}

/** A timeline that was made otherwise, as the generation behind `head`. Errors: as `nextGeneration`. */
export async function madeGeneration(
  timeline: Timeline,
  { sha256: previous }: Pick<TimelineHead, 'sha256'>,
  nodes: CatalogueNodes,
): Promise<NextGeneration> {
  const files = new NodeFiles(timeline.generation, new Map())
  const write: WriteNode<IndexNode, SegmentEntry> = (content) => files.add(SEGMENTS, content)
  const segments = await carried(timeline.segments, SEGMENTS, nodes.segments.read, write)
  return generationOf({ ...timeline, segments }, { ...EMPTY_HEAD, sha256: previous }, nodes.ledger, files)
}

/** How segments of nodes are replaced. */
interface Editing {
  readonly nodes: SegmentNodes
  readonly write: WriteNode<IndexNode, SegmentEntry>
  readonly leaves: Leaves<SegmentEntry>
}

async function generationOf(
  timeline: Timeline,
  head: Pick<TimelineHead, 'timeline' | 'ledger' | 'sha256'>,
  nodes: LedgerNodes,
  files: NodeFiles,
  arrangement?: LedgerArrangement,
): Promise<NextGeneration> {
  const write: WriteNode<TreeNode, LedgerEntry> = (content) => files.add(LEDGER, content)
  const { ledger, own } = await nextLedger(head.ledger, [head.timeline, timeline], nodes, write, arrangement)
  const { generation, segments } = timeline
  const content = { ...own, ledger: ledger.nodes, segments }
  const bytes = encodeRoot({ generation, previous: head.sha256, content })
  return { bytes, files: files.files, next: { timeline, ledger, sha256: sha256(bytes), rootBytes: bytes.length } }
}

/** What takes the place of segments: of an entry itself, others, or none; the ULIDs of all that change lie within `ranges`. */
interface Replacement {
  readonly map: (entry: SegmentEntry) => readonly SegmentEntry[]
  readonly ranges: readonly Range[]
}

/** The segments that an erasure has written again, in the place of those with the record, with their ranges. */
function erasedBy({ segments }: Pick<ErasureChange, 'segments'>): Replacement {
  const by = new Map(segments.map((one) => [one.key, one.by]))
  return { map: (entry) => [by.get(entry.key) ?? entry], ranges: segments.map((one) => one.by) }
}

/** With the files of a run instead of what was merged into it, where the first of that stood: so entries stay in the order of time. */
async function withMerge(index: SegmentTree, merge: MergeChange | undefined, editing: Editing): Promise<SegmentTree> {
  if (merge === undefined) return index
  const gone = new Set(merge.replaced)
  let rest: readonly SegmentEntry[] = merge.by
  const map = (entry: SegmentEntry): readonly SegmentEntry[] => {
    if (!gone.has(entry.key)) return [entry]
    const here = rest
    rest = []
    return here
  }
  const { nodes: list, tail } = await replaced(index, { map, ranges: merge.by }, editing)
  // None of what was merged is there: that is for whoever commits, and nothing is left out here.
  return { nodes: list, tail: [...tail, ...rest] }
}

function replaced(
  index: SegmentTree,
  { map, ranges }: Replacement,
  { nodes, write, leaves }: Editing,
): Promise<SegmentTree> {
  return rewritten(index, { mayTouch: touching(ranges), map, leaves }, nodes.read, write)
}

/** Without the segments that a pruning takes out. */
function pruned(
  index: SegmentTree,
  change: PruneChange | undefined,
  editing: Editing,
): Promise<SegmentTree> | SegmentTree {
  if (change === undefined || change.segments.length === 0) return index
  const keys = new Set(change.segments.map(({ key }) => key))
  const map = (entry: SegmentEntry): readonly SegmentEntry[] => (keys.has(entry.key) ? [] : [entry])
  return replaced(index, { map, ranges: change.segments }, editing)
}

/** With one leaf less that has segments which are going and others too. Null: there is none. */
function withoutMixed(
  index: SegmentTree,
  { keys, ranges }: GoingOut,
  { nodes, write, leaves }: Editing,
): Promise<SegmentTree | null> {
  const isGoing = ({ key }: SegmentEntry): boolean => keys.has(key)
  return split(index, { mayTouch: touching(ranges), isGoing, leaves }, nodes.read, write)
}

/** Whether a node has ULIDs of one of the ranges. */
function touching(ranges: readonly Range[]): (node: IndexNode) => boolean {
  const apart = union(ranges.map(({ firstUlid, lastUlid }) => ({ from: firstUlid, through: lastUlid })))
  return ({ firstUlid, lastUlid }) => apart.some(({ from, through }) => from <= lastUlid && through >= firstUlid)
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
