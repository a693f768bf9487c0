import { entriesOfList, listedSegments } from '../format/run-names.ts'
import { areSegments, isIndexNode } from '../format/timeline-shape.ts'
import type { IndexNode, SegmentEntry, SegmentTree, TreeNode } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { NodeReader, type TreeKind } from './nodes.ts'
import { entriesOf, type NodeContent } from './tree.ts'

/** The tree of segments. */
export const SEGMENTS: TreeKind<IndexNode, SegmentEntry> = {
  name: 'segments',
  isEntry: (value): value is SegmentEntry => areSegments([value]),
  isNode: isIndexNode,
  listed: listedSegments,
  leafBytes: 16 * 1024,
  joinedBytes: 36 * 1024,
  joins: true,
  belong: isOneRun,
  entriesOf: entriesOfList,
  nodeOf,
}

/** Reads nodes that have segments below them. */
export type SegmentNodes = NodeReader<IndexNode, SegmentEntry>

/** The nodes of a store. */
export function segmentNodes(store: Pick<ObjectStore, 'get'>): SegmentNodes {
  return new NodeReader(SEGMENTS, store)
}

/** Who looks for an item in a run needs all files of it. */
function isOneRun(a: SegmentEntry, b: SegmentEntry): boolean {
  return 'run' in a && 'run' in b && a.run.key === b.run.key
}

function nodeOf(file: TreeNode, content: NodeContent<IndexNode, SegmentEntry>): IndexNode {
  const below = 'entries' in content ? content.entries.map((entry) => ({ ...entry, segments: 1 })) : content.nodes
  const sum = (of: 'segments' | 'events' | 'bytes'): number => below.reduce((total, one) => total + one[of], 0)
  return {
    ...file,
    firstUlid: below.reduce((least, { firstUlid }) => (firstUlid < least ? firstUlid : least), 'Z'),
    lastUlid: below.reduce((greatest, { lastUlid }) => (lastUlid > greatest ? lastUlid : greatest), ''),
    segments: sum('segments'),
    events: sum('events'),
    bytes: sum('bytes'),
  }
}

/** The segments with events in `(after, through]`, oldest first; reads only nodes that have one of these. */
export async function segmentsBetween(
  nodes: SegmentNodes,
  index: SegmentTree,
  after: Ulid,
  through: Ulid,
): Promise<readonly SegmentEntry[]> {
  const isWanted = ({ firstUlid, lastUlid }: Pick<SegmentEntry, 'firstUlid' | 'lastUlid'>): boolean =>
    lastUlid > after && firstUlid <= through
  const found: SegmentEntry[] = []
  for await (const entries of entriesOf(index.nodes, nodes.read, isWanted)) found.push(...entries.filter(isWanted))
  found.push(...index.tail.filter(isWanted))
  return found.sort((a, b) => (a.firstUlid < b.firstUlid ? -1 : 1))
}

/** The segments with events in `(after, through]`, in any order, without a request; null: nodes would have to be read for it. */
export function knownBetween(
  nodes: SegmentNodes,
  { nodes: list, tail }: SegmentTree,
  after: Ulid,
  through: Ulid,
): readonly SegmentEntry[] | null {
  const isWanted = ({ firstUlid, lastUlid }: Pick<SegmentEntry, 'firstUlid' | 'lastUlid'>): boolean =>
    lastUlid > after && firstUlid <= through
  const found = tail.filter(isWanted)
  for (const node of list.filter(isWanted)) {
    const content = nodes.known(node)
    if (content === null) return null
    const below =
      'entries' in content
        ? content.entries.filter(isWanted)
        : knownBetween(nodes, { nodes: content.nodes, tail: [] }, after, through)
    if (below === null) return null
    found.push(...below)
  }
  return found
}

/** The events of the segments that reach beyond a ULID; reads only nodes that it lies within. */
export async function eventsAfter(nodes: SegmentNodes, index: SegmentTree, ulid: Ulid): Promise<number> {
  let events = 0
  const count = (one: Pick<SegmentEntry, 'lastUlid' | 'events'>): void => {
    if (one.lastUlid > ulid) events += one.events
  }
  const isAround = (node: IndexNode): boolean => {
    if (node.firstUlid > ulid) count(node)
    return node.firstUlid <= ulid && node.lastUlid > ulid
  }
  for await (const entries of entriesOf(index.nodes, nodes.read, isAround)) entries.forEach(count)
  index.tail.forEach(count)
  return events
}

/** The segments among whose stamps a ULID is. */
export async function segmentsAt(
  nodes: SegmentNodes,
  index: SegmentTree,
  ulid: Ulid,
): Promise<readonly SegmentEntry[]> {
  const isWanted = ({ firstUlid, lastUlid }: Pick<SegmentEntry, 'firstUlid' | 'lastUlid'>): boolean =>
    lastUlid >= ulid && firstUlid <= ulid
  const found = index.tail.filter(isWanted)
  for await (const entries of entriesOf(index.nodes, nodes.read, isWanted)) found.push(...entries.filter(isWanted))
  return found
}

/** Every segment, in no order that means anything; a few nodes are in memory at once. */
export async function* eachSegment(nodes: SegmentNodes, index: SegmentTree): AsyncGenerator<SegmentEntry> {
  for await (const entries of entriesOf(index.nodes, nodes.read, () => true)) yield* entries
  yield* index.tail
}

/** Every node of the index, the higher ones first. */
export async function* eachNode(nodes: SegmentNodes, index: Pick<SegmentTree, 'nodes'>): AsyncGenerator<IndexNode> {
  for (const node of index.nodes) {
    yield node
    if (node.height === 0) continue
    const content = await nodes.read(node)
    if ('nodes' in content) yield* eachNode(nodes, content)
  }
}

/** The end of the last segment before a ULID, and the beginning of the first one after it. */
export interface Neighbours {
  readonly before: Ulid | null
  readonly after: Ulid | null
}

/** What is next to a ULID; reads only nodes that it lies within. */
export async function neighboursOf(nodes: SegmentNodes, index: SegmentTree, ulid: Ulid): Promise<Neighbours> {
  let before: Ulid | null = null
  let after: Ulid | null = null
  const look = ({ firstUlid, lastUlid }: Pick<SegmentEntry, 'firstUlid' | 'lastUlid'>): boolean => {
    if (lastUlid < ulid && (before === null || lastUlid > before)) before = lastUlid
    if (firstUlid > ulid && (after === null || firstUlid < after)) after = firstUlid
    return lastUlid >= ulid && firstUlid <= ulid
  }
  for await (const entries of entriesOf(index.nodes, nodes.read, look)) entries.forEach(look)
  index.tail.forEach(look)
  return { before, after }
}
