import { TidemarkError } from '../base/errors.ts'
import type { Tree, TreeNode } from '../model/timeline.ts'

/*
 * The catalogue is made of trees: a bounded value in the root, and immutable nodes below it. Entries are added to the tail
 * in the root; what is too much for it becomes a node, and many nodes of one height become one that is higher, as digits are
 * carried. So a commit writes its root and, now and then, a few nodes, however much is below. What changes in the middle is
 * written anew along its path, together with what is small beside it. Nodes are never changed, so that whoever has read one keeps it.
 *
 * In a list of nodes the heights never rise: what is carried stands where the lower ones stood, at the end of the higher
 * ones; what is written anew keeps its height and its place. So entries keep their order, which is nearly that of time.
 */
/**
 * Nodes of one height that make one of the next. Of leaves, and of what has these, many: a year of ten thousand segments whose
 * entries have full filters is two nodes high. Of higher ones few: there are hardly any, and every height may stand in each
 * root, and on each way to what is written anew.
 */
const FANOUT = 24
const HIGH_FANOUT = 8

function fanoutOf(height: number): number {
  return height < 2 ? FANOUT : HIGH_FANOUT
}

/**
 * Nodes in a node that is joined with a neighbour which is written anew, and entries in such a leaf. Merges leave one entry of a
 * hundred: without it every hour would keep a node of its own, and a look at a day would read them all.
 */
const SMALL_WIDTH = 8
const SMALL_LEAF_WIDTH = 16
/** Entries differ in size: how much larger than it may be a leaf is guessed to be that is read all the same. */
const PROBABLY = 1.25

/** What stands in a node. */
export type NodeContent<Node extends TreeNode, Entry> =
  | { readonly height: 0; readonly entries: readonly Entry[] }
  | { readonly height: number; readonly nodes: readonly Node[] }

/** Makes a node of a content; the file is to be put before the commit that names it. */
export type WriteNode<Node extends TreeNode, Entry> = (content: NodeContent<Node, Entry>) => Node

/** Reads what stands in a node. */
export type ReadNode<Node extends TreeNode, Entry> = (node: Node) => Promise<NodeContent<Node, Entry>>

/** Entries as they stand in a file, one for each. */
export type ListEntries<Entry> = (entries: readonly Entry[]) => readonly unknown[]

/** What leaves are made of. */
export interface Leaves<Entry> {
  readonly listed: ListEntries<Entry>
  /** Bytes of new entries, as JSON, that make a leaf. */
  readonly leafBytes: number
  /**
   * Bytes of entries that leaves which stand side by side may have together where they are joined: whoever reads them asks once
   * for what would be several requests, and a commit writes that much. A little more than some whole leaves have.
   */
  readonly joinedBytes: number
  /** False: nodes that stay as they are are not joined with what is written beside them, so that less is written. */
  readonly joins: boolean
  /** Whether neighbours are to stand in one leaf, where there is room for both and all that belongs to them. */
  readonly belong: (a: Entry, b: Entry) => boolean
}

/** What of the root's own part of a tree goes into nodes: what is too much for it, or all entries, or nearly all nodes too. */
export type Carrying = 'full' | 'entries' | 'all'

/** The tree with what is too much for its root in nodes. A leaf is read where it and a new one beside it may become one. */
export async function carried<Node extends TreeNode, Entry>(
  { nodes, tail }: Tree<Node, Entry>,
  leaves: Leaves<Entry>,
  read: ReadNode<Node, Entry>,
  write: WriteNode<Node, Entry>,
  carrying: Carrying = 'full',
): Promise<Tree<Node, Entry>> {
  const { full, rest } = cut(tail, leaves, carrying === 'full')
  const result = [...nodes]
  let last: NodeContent<Node, Entry> | null = null
  for (const entries of full) {
    const leaf: NodeContent<Node, Entry> = { height: 0, entries }
    const before: NodeContent<Node, Entry> | null = last ?? (await roomIn(result.at(-1), entries.length, leaves, read))
    const both: NodeContent<Node, Entry> | null = before === null ? null : together(before, leaf, leaves)
    if (both === null && last !== null) result.push(write(last))
    if (both !== null && last === null) result.pop()
    last = both ?? leaf
  }
  if (last !== null) result.push(write(last))
  return { nodes: grouped(result, carrying === 'all' ? () => 2 : fanoutOf, write), tail: rest }
}

/** Entries for whole leaves, and those that are too few for one. The files of a run are in one leaf, where there is room. */
function cut<Entry>(
  tail: readonly Entry[],
  { listed, leafBytes, joinedBytes, belong }: Leaves<Entry>,
  keepsRest: boolean,
): { readonly full: readonly (readonly Entry[])[]; readonly rest: readonly Entry[] } {
  const full: (readonly Entry[])[] = []
  let [from, bytes] = [0, 0]
  for (const [i, size] of sizesOf(tail, listed).entries()) {
    bytes += size
    const isWhole = bytes >= leafBytes && !isBeside(tail, i + 1, belong)
    if (!isWhole && bytes < joinedBytes) continue
    full.push(tail.slice(from, i + 1))
    from = i + 1
    bytes = 0
  }
  const rest = tail.slice(from)
  return keepsRest || rest.length === 0 ? { full, rest } : { full: [...full, rest], rest: [] }
}

/** What stands in a leaf that probably has room for so many more entries; null: it has none, or is damaged. */
async function roomIn<Node extends TreeNode, Entry>(
  node: Node | undefined,
  more: number,
  { leafBytes, joinedBytes, joins }: Leaves<Entry>,
  read: ReadNode<Node, Entry>,
): Promise<NodeContent<Node, Entry> | null> {
  const bytes = node === undefined ? 0 : (node.width / more + 1) * leafBytes
  if (node === undefined || !joins || node.height > 0 || bytes > joinedBytes * PROBABLY) return null
  try {
    return await read(node)
  } catch (error) {
    // Nothing of it is needed for what is new, which is not to wait for a repair.
    if (error instanceof TidemarkError && error.category === 'corrupt') return null
    throw error
  }
}

/** The nodes with those of one height in ones of the next, as long as there are at least as many as `least` says. */
function grouped<Node extends TreeNode, Entry>(
  nodes: readonly Node[],
  least: (height: number) => number,
  write: WriteNode<Node, Entry>,
): readonly Node[] {
  for (let height = 0; ; height++) {
    const first = nodes.findIndex((node) => node.height === height)
    if (first < 0 && nodes.every((node) => node.height < height)) return nodes
    if (first < 0) continue
    const next = nodes.findIndex((node, i) => i > first && node.height !== height)
    const end = next < 0 ? nodes.length : next
    const higher: Node[] = []
    let at = first
    while (end - at >= least(height)) {
      const size = Math.min(fanoutOf(height), end - at)
      higher.push(write({ height: height + 1, nodes: nodes.slice(at, at + size) }))
      at += size
    }
    nodes = [...nodes.slice(0, first), ...higher, ...nodes.slice(at)]
  }
}

/** What of a tree is written anew, and how. */
export interface Rewriting<Node extends TreeNode, Entry> {
  /** Whether something below the node may change. */
  readonly mayTouch: (node: Node) => boolean
  /** What takes the place of an entry: itself, others, or nothing. Is asked once for each that may change, in their order. */
  readonly map: (entry: Entry) => readonly Entry[]
  readonly leaves: Leaves<Entry>
  /** The leaves that take the place of one that may change; absent: as many as its entries need. */
  readonly parted?: (entries: readonly Entry[]) => readonly (readonly Entry[])[]
}

/** The tree with other entries: only nodes on the way to these, and small ones beside them, are read, and written anew. */
export async function rewritten<Node extends TreeNode, Entry>(
  { nodes, tail }: Tree<Node, Entry>,
  { mayTouch, map, leaves, parted }: Rewriting<Node, Entry>,
  read: ReadNode<Node, Entry>,
  write: WriteNode<Node, Entry>,
): Promise<Tree<Node, Entry>> {
  /** `most`: nodes that may stand in the list. */
  const listOf = async (list: readonly Node[], most: number): Promise<readonly Node[]> => {
    const result: (Node | NodeContent<Node, Entry>)[] = []
    /** Of neighbours, one of which is written anew: those that fit into one node become one. */
    let joined: NodeContent<Node, Entry> | null = null
    const flush = (): void => {
      if (joined !== null) result.push(joined)
      joined = null
    }
    const add = async (node: Node, content: NodeContent<Node, Entry> | null): Promise<void> => {
      // A small one that stays as it is goes into what is written anew beside it.
      const left: NodeContent<Node, Entry> | null =
        joined ?? (content === null ? null : await smallOf(result.at(-1), content.height))
      const right: NodeContent<Node, Entry> | null =
        content ?? (joined === null ? null : await smallOf(node, joined.height))
      const both: NodeContent<Node, Entry> | null =
        left === null || right === null || parted !== undefined ? null : together(left, right, leaves)
      if (both === null) flush()
      else if (joined === null) result.pop()
      joined = both ?? content
      if (joined === null) result.push(node)
    }
    for (const node of list) {
      const parts = mayTouch(node) ? await partsOf(node) : null
      for (const content of parts ?? [null]) await add(node, content)
    }
    flush()
    return written(result, most, write)
  }
  const smallOf = async (
    one: Node | NodeContent<Node, Entry> | undefined,
    height: number,
  ): Promise<NodeContent<Node, Entry> | null> =>
    leaves.joins && one !== undefined && isNode(one) && one.height === height && isSmall(one) ? read(one) : null
  /** What is written in the place of a node: nothing where nothing is left of it, several where it is too much for one; null where nothing below it changes. */
  const partsOf = async (node: Node): Promise<readonly NodeContent<Node, Entry>[] | null> => {
    const content = await read(node)
    if ('entries' in content) {
      if (parted !== undefined) return parted(content.entries).map((entries) => ({ height: 0, entries }))
      const entries = content.entries.flatMap(map)
      return isSame(entries, content.entries) ? null : partedEntries(entries, content.entries, leaves)
    }
    const below = await listOf(content.nodes, fanoutOf(content.height - 1))
    return isSame(below, content.nodes) ? null : partedNodes(below, content.height)
  }
  return { nodes: await listOf(nodes, Number.POSITIVE_INFINITY), tail: tail.flatMap(map) }
}

/**
 * The tree with one leaf as several: of the first that has entries which are going and others too, those that go stand by
 * themselves, so that their leaf can go as a whole. Nothing else is written than this leaf, and the nodes on the way to it.
 * Null: there is no such leaf.
 */
export async function split<Node extends TreeNode, Entry>(
  tree: Tree<Node, Entry>,
  { mayTouch, isGoing, leaves }: Pick<Rewriting<Node, Entry>, 'mayTouch' | 'leaves'> & Going<Entry>,
  read: ReadNode<Node, Entry>,
  write: WriteNode<Node, Entry>,
): Promise<Tree<Node, Entry> | null> {
  const wayTo = async (list: readonly Node[]): Promise<readonly Node[] | null> => {
    for (const node of list.filter(mayTouch)) {
      const content = await read(node)
      const way = 'nodes' in content ? await wayTo(content.nodes) : isMixed(content.entries, isGoing) ? [] : null
      if (way !== null) return [node, ...way]
    }
    return null
  }
  const way = await wayTo(tree.nodes)
  if (way === null) return null
  const parted = (entries: readonly Entry[]): readonly (readonly Entry[])[] => {
    const first = entries.findIndex(isGoing)
    const behind = entries.slice(first)
    // What stands before, and what goes, and what is behind: so the rest keeps its order, whatever comes where the first stood.
    const parts = [entries.slice(0, first), behind.filter(isGoing), behind.filter((entry) => !isGoing(entry))]
    return parts.filter((part) => part.length > 0)
  }
  const rewriting = { mayTouch: (node: Node) => way.includes(node), map: (entry: Entry) => [entry], parted }
  return rewritten(tree, { ...rewriting, leaves: { ...leaves, joins: false } }, read, write)
}

/** Which entries are going: a commit that is to come takes them out, or puts others in their place. */
export interface Going<Entry> {
  readonly isGoing: (entry: Entry) => boolean
}

function isMixed<Entry>(entries: readonly Entry[], isGoing: Going<Entry>['isGoing']): boolean {
  return entries.some(isGoing) && !entries.every(isGoing)
}

function isNode<Node extends TreeNode, Entry>(one: Node | NodeContent<Node, Entry>): one is Node {
  return 'key' in one
}

function isSmall({ height, width }: TreeNode): boolean {
  return width <= (height === 0 ? SMALL_LEAF_WIDTH : SMALL_WIDTH)
}

/** The list with nodes for what is to be written. Where the nodes of one would do in the list itself, it is left out: it is a request for nothing. */
function written<Node extends TreeNode, Entry>(
  list: readonly (Node | NodeContent<Node, Entry>)[],
  most: number,
  write: WriteNode<Node, Entry>,
): readonly Node[] {
  let result: readonly Node[] = []
  for (const [i, one] of [...list.entries()].toReversed()) {
    if (isNode(one)) result = [one, ...result]
    else if ('nodes' in one && isList([...one.nodes, ...result], most - i)) result = [...one.nodes, ...result]
    else result = [write(one), ...result]
  }
  return result
}

/** Whether nodes can stand in a list: see above. */
function isList(nodes: readonly TreeNode[], most: number): boolean {
  const counts = Map.groupBy(nodes, ({ height }) => height)
  const isFalling = nodes.every(({ height }, i) => i === 0 || height <= (nodes[i - 1]?.height ?? 0))
  return isFalling && nodes.length <= most && [...counts].every(([height, same]) => same.length < fanoutOf(height))
}

function together<Node extends TreeNode, Entry>(
  a: NodeContent<Node, Entry>,
  b: NodeContent<Node, Entry>,
  { listed, joinedBytes }: Leaves<Entry>,
): NodeContent<Node, Entry> | null {
  if ('entries' in a && 'entries' in b) {
    const entries = [...a.entries, ...b.entries]
    return bytesOf(entries, listed) <= joinedBytes ? { height: 0, entries } : null
  }
  if ('entries' in a || 'entries' in b || a.height !== b.height) return null
  const nodes = [...a.nodes, ...b.nodes]
  return nodes.length <= fanoutOf(a.height - 1) ? { height: a.height, nodes } : null
}

/**
 * Entries as they fit into leaves, about as much in each; those that belong together are parted only where they are too much for
 * one. `before`: what stood there. A leaf that has not grown stays one, whatever may be joined.
 */
function partedEntries<Node extends TreeNode, Entry>(
  entries: readonly Entry[],
  before: readonly Entry[],
  { listed, joinedBytes, belong }: Leaves<Entry>,
): readonly NodeContent<Node, Entry>[] {
  const sizes = sizesOf(entries, listed)
  const total = sum(sizes)
  const most = Math.max(joinedBytes, bytesOf(before, listed))
  const enough = total / Math.ceil(total / most)
  const parts: NodeContent<Node, Entry>[] = []
  let [from, bytes] = [0, 0]
  for (const [i, size] of sizes.entries()) {
    const isFirst = !isBeside(entries, i, belong)
    // What belongs together is looked at where it begins.
    let needed = size
    for (let next = i + 1; isFirst && isBeside(entries, next, belong); next++) needed += sizes[next] ?? 0
    if (bytes > 0 && (bytes + needed > most || (isFirst && bytes >= enough))) {
      parts.push({ height: 0, entries: entries.slice(from, i) })
      from = i
      bytes = 0
    }
    bytes += size
  }
  return bytes === 0 ? parts : [...parts, { height: 0, entries: entries.slice(from) }]
}

/** Bytes of each, as it stands in a file behind those before it. */
function sizesOf<Entry>(entries: readonly Entry[], listed: ListEntries<Entry>): readonly number[] {
  return listed(entries).map((entry) => Buffer.byteLength(JSON.stringify(entry)) + 1)
}

/** Bytes of entries, as they stand in a file. */
export function bytesOf<Entry>(entries: readonly Entry[], listed: ListEntries<Entry>): number {
  return sum(sizesOf(entries, listed))
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0)
}

/** Whether an entry belongs to the one before it. */
function isBeside<Entry>(entries: readonly Entry[], i: number, belong: Leaves<Entry>['belong']): boolean {
  const [before, entry] = [entries[i - 1], entries[i]]
  return before !== undefined && entry !== undefined && belong(before, entry)
}

/** Nodes of a node of this height, as they fit into such nodes: no more in each than are made one. */
function partedNodes<Node extends TreeNode, Entry>(
  nodes: readonly Node[],
  height: number,
): readonly NodeContent<Node, Entry>[] {
  const parts = Math.ceil(nodes.length / fanoutOf(height - 1))
  const begin = (part: number): number => Math.floor((part * nodes.length) / parts)
  return Array.from({ length: parts }, (_, part) => ({ height, nodes: nodes.slice(begin(part), begin(part + 1)) }))
}

function isSame<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((one, i) => one === b[i])
}

/** How many entries or nodes stand in it. */
export function widthOf<Node extends TreeNode, Entry>(content: NodeContent<Node, Entry>): number {
  return 'entries' in content ? content.entries.length : content.nodes.length
}

/** Nodes that are read at once. */
const READ_AT_ONCE = 16

/** Every entry below the nodes that `wanted` lets pass, in order; no more than a few nodes are in memory. */
export async function* entriesOf<Node extends TreeNode, Entry>(
  nodes: readonly Node[],
  read: ReadNode<Node, Entry>,
  wanted: (node: Node) => boolean,
): AsyncGenerator<readonly Entry[]> {
  const rest = nodes.filter(wanted)
  for (let at = 0; at < rest.length; at += READ_AT_ONCE) {
    for (const content of await Promise.all(rest.slice(at, at + READ_AT_ONCE).map(read))) {
      if ('entries' in content) yield content.entries
      else yield* entriesOf(content.nodes, read, wanted)
    }
  }
}
