import { isLedgerEntry, isTreeNode } from '../format/timeline-shape.ts'
import type { Timeline, TreeNode } from '../model/timeline.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { NodeReader, type TreeKind } from './nodes.ts'
import {
  bytesOf,
  type Carrying,
  carried,
  type Leaves,
  type NodeContent,
  type ReadNode,
  rewritten,
  split,
  type WriteNode,
} from './tree.ts'

/** What a timeline knows besides its segments, one by one. */
export type LedgerSection = Exclude<keyof Timeline, 'generation' | 'segments'>

/** The sections, in the order in which they stand in files. */
const LEDGER_SECTIONS: readonly LedgerSection[] = [
  'epochs',
  'streams',
  'snapshots',
  'losses',
  'acknowledgements',
  'erasures',
  'marks',
  'holds',
  'pruned',
  'condemned',
  'repairs',
  'forgotten',
]

/** One value of one section: `{"streams": {…}}`. */
export type LedgerEntry = { readonly [section in LedgerSection]?: NonNullable<Timeline[section]>[number] }

/** The tree of everything that is not a segment. */
export const LEDGER: TreeKind<TreeNode, LedgerEntry> = {
  name: 'ledger',
  isEntry: (value): value is LedgerEntry => isLedgerEntry(value),
  isNode: isTreeNode,
  listed: (entries) => entries,
  // Few commits add to it, and each writes all of the tail again.
  leafBytes: 8 * 1024,
  // All of it is read by whoever opens a store.
  joinedBytes: 40 * 1024,
  joins: true,
  belong: () => false,
  entriesOf: (listed) => listed,
  nodeOf: (file) => file,
}

/** Reads nodes of the ledger. */
export type LedgerNodes = NodeReader<TreeNode, LedgerEntry>

/** The nodes of a store. */
export function ledgerNodes(store: Pick<ObjectStore, 'get'>): LedgerNodes {
  return new NodeReader(LEDGER, store)
}

/** What a timeline says besides its segments. */
export type Sections = Omit<Timeline, 'generation' | 'segments'>

const NOTHING: Sections = {
  epochs: [],
  streams: [],
  snapshots: [],
  losses: [],
  acknowledgements: [],
  erasures: [],
}

/** The nodes of a ledger, and what stands in them: a process has all of it in memory. */
export interface Ledger {
  readonly nodes: readonly TreeNode[]
  /** The entries of every leaf, by its key. */
  readonly leaves: ReadonlyMap<string, readonly LedgerEntry[]>
  /** What the leaves say together: made of what they said before, since few of them change. */
  readonly settled: Sections
  /** What the root has itself, and stays as it is: streams that are open are not in it. */
  readonly tail: readonly LedgerEntry[]
}

/** Before the first generation. */
export const EMPTY_LEDGER: Ledger = { nodes: [], leaves: new Map(), settled: NOTHING, tail: [] }

type ValueOf<S extends LedgerSection> = NonNullable<Timeline[S]>[number]

const byText =
  <V>(text: (value: V) => string): ((a: V, b: V) => number) =>
  (a, b) =>
    text(a) < text(b) ? -1 : 1

/** How the values of a section are ordered; null: as they stand in the files. */
const ORDER: { readonly [S in LedgerSection]: ((a: ValueOf<S>, b: ValueOf<S>) => number) | null } = {
  epochs: (a, b) => a.epoch - b.epoch,
  streams: byText(({ id }) => id),
  snapshots: byText(({ ulid }) => ulid),
  losses: null,
  acknowledgements: null,
  erasures: null,
  marks: byText(({ name }) => name),
  holds: byText(({ id }) => id),
  pruned: byText(({ from }) => from),
  condemned: byText(({ key }) => key),
  repairs: null,
  forgotten: (a, b) => a.first - b.first,
}

/** Sections of which each is what `of` gives. */
function sectionsFrom(of: <S extends LedgerSection>(section: S) => readonly ValueOf<S>[]): Sections {
  const [repairs, forgotten] = [of('repairs'), of('forgotten')]
  const [marks, holds] = [of('marks'), of('holds')]
  const [pruned, condemned] = [of('pruned'), of('condemned')]
  return {
    epochs: of('epochs'),
    streams: of('streams'),
    snapshots: of('snapshots'),
    losses: of('losses'),
    acknowledgements: of('acknowledgements'),
    erasures: of('erasures'),
    ...(repairs.length === 0 ? {} : { repairs }),
    ...(forgotten.length === 0 ? {} : { forgotten }),
    ...(marks.length === 0 ? {} : { marks }),
    ...(holds.length === 0 ? {} : { holds }),
    ...(pruned.length === 0 ? {} : { pruned }),
    ...(condemned.length === 0 ? {} : { condemned }),
  }
}

/** More values of a section, in its order: hardly more than a copy, where few are added to many. */
function withMore<S extends LedgerSection>(
  section: S,
  values: readonly ValueOf<S>[],
  more: readonly ValueOf<S>[],
): readonly ValueOf<S>[] {
  if (more.length === 0) return values
  const order = ORDER[section]
  return order === null ? [...values, ...more] : [...values, ...more].sort(order)
}

function valuesOf<S extends LedgerSection>(section: S, entries: readonly LedgerEntry[]): readonly ValueOf<S>[] {
  return entries.map((entry): ValueOf<S> | undefined => entry[section]).filter((value) => value !== undefined)
}

/** What leaves say together; what they have in common with those of `known` is not gone through again. */
function settledOf(leaves: Ledger['leaves'], known: Ledger): Sections {
  if (leaves === known.leaves) return known.settled
  const added = [...leaves].flatMap(([key, entries]) => (known.leaves.has(key) ? [] : entries))
  const gone = new Set<object>(
    [...known.leaves].flatMap(([key, entries]) => (leaves.has(key) ? [] : entries.map(valueIn))),
  )
  return sectionsFrom((section) => {
    if (gone.size > 0 && ORDER[section] === null) return valuesOf(section, [...leaves.values()].flat())
    const before = known.settled[section] ?? []
    const kept = gone.size === 0 ? before : before.filter((value) => !gone.has(value))
    return withMore(section, kept, valuesOf(section, added))
  })
}

/** Reads the ledger of these nodes, beside what the root has itself; leaves that are `known` are not read again. */
export async function readLedger(
  nodes: readonly TreeNode[],
  own: Sections,
  { read }: LedgerNodes,
  known: Ledger = EMPTY_LEDGER,
): Promise<Ledger> {
  const tail = entriesIn(own).filter(({ streams }) => streams?.state !== 'open')
  if (nodes.map(({ key }) => key).join() === known.nodes.map(({ key }) => key).join()) return { ...known, tail }
  const leaves = await leavesOf(nodes, async (node) => {
    const entries = known.leaves.get(node.key)
    return entries === undefined ? read(node) : { height: 0, entries }
  })
  return { nodes, leaves, settled: settledOf(leaves, known), tail }
}

/** The leaves below nodes, in their order; those that have to be read are asked for at once. */
async function leavesOf(nodes: readonly TreeNode[], read: ReadNode<TreeNode, LedgerEntry>): Promise<Ledger['leaves']> {
  const below = async (node: TreeNode): Promise<readonly (readonly [string, readonly LedgerEntry[]])[]> => {
    const content = await read(node)
    if ('entries' in content) return [[node.key, content.entries]]
    return (await Promise.all(content.nodes.map(below))).flat()
  }
  return new Map((await Promise.all(nodes.map(below))).flat())
}

/** Both together: such as what stands in leaves, and what a root has itself. */
export function together(sections: Sections, more: Sections): Sections {
  return sectionsFrom((section) => withMore(section, sections[section] ?? [], more[section] ?? []))
}

/** What entries of leaves say, with what a root has itself. */
export function sectionsOf(entries: readonly LedgerEntry[], own: Sections): Sections {
  return together(
    sectionsFrom((section) => withMore(section, [], valuesOf(section, entries))),
    own,
  )
}

/** How the next ledger is laid out. */
export interface LedgerArrangement {
  readonly joins: boolean
  readonly carrying: Carrying
  /** Values that a commit is to take out: one leaf is parted, so that what stays of it need not be written then. Null: none. */
  readonly going: ReadonlySet<object> | null
}

/** As it is where there is room in a commit. */
const WHOLE: LedgerArrangement = { joins: true, carrying: 'full', going: null }

/**
 * The ledger of the generation that says `after`, made from that of the one that says `before`, and what its root has itself:
 * streams that are open, and what is new. Values that both begin and end with are hardly looked at, however many they are.
 */
export async function nextLedger(
  ledger: Ledger,
  [before, after]: readonly [before: Sections, after: Sections],
  { read }: LedgerNodes,
  write: WriteNode<TreeNode, LedgerEntry>,
  { joins, carrying, going }: LedgerArrangement = WHOLE,
): Promise<{ readonly ledger: Ledger; readonly own: Sections }> {
  const { gone, fresh } = changeOf(before, after)
  const tail = ledger.tail.filter((entry) => !gone.has(valueIn(entry)))
  for (const entry of ledger.tail) gone.delete(valueIn(entry))
  const written = new Map<string, NodeContent<TreeNode, LedgerEntry>>()
  const noting: WriteNode<TreeNode, LedgerEntry> = (content) => {
    const node = write(content)
    written.set(node.key, content)
    return node
  }
  const known: ReadNode<TreeNode, LedgerEntry> = async (node) => {
    // The very values of the timeline, and not others that are equal; and what is not stored yet.
    const entries = ledger.leaves.get(node.key)
    return written.get(node.key) ?? (entries === undefined ? read(node) : { height: 0, entries })
  }
  const leaves = { ...LEDGER, joins }
  const rewriting = { map: (entry: LedgerEntry) => (gone.has(valueIn(entry)) ? [] : [entry]), leaves }
  const parting = { isGoing: (entry: LedgerEntry) => going?.has(valueIn(entry)) === true, leaves }
  const whole = { nodes: ledger.nodes, tail: [] }
  const kept =
    gone.size === 0 ? whole : await rewritten(whole, { ...rewriting, mayTouch: holding(ledger, gone) }, known, noting)
  const parted =
    going === null ? null : await split(kept, { ...parting, mayTouch: holding(ledger, going) }, known, noting)
  const next = await carriedAfter({ nodes: (parted ?? kept).nodes, tail }, fresh, { carrying, leaves }, known, noting)
  const isSame = gone.size + written.size === 0
  const below = isSame ? ledger.leaves : await leavesOf(next.nodes, known)
  const own = sectionsOf(next.tail, { ...NOTHING, streams: after.streams.filter(isOpen) })
  return { ledger: { nodes: next.nodes, leaves: below, settled: settledOf(below, ledger), tail: next.tail }, own }
}

/**
 * With what a commit adds, which stays in its root unless it is a leaf by itself: where there are too many entries, those that are
 * there become one. So every value stands in a root, whatever becomes of the nodes.
 */
async function carriedAfter(
  { nodes, tail }: Pick<Ledger, 'nodes' | 'tail'>,
  fresh: readonly LedgerEntry[],
  { carrying, leaves }: { readonly carrying: Carrying; readonly leaves: Leaves<LedgerEntry> },
  read: ReadNode<TreeNode, LedgerEntry>,
  write: WriteNode<TreeNode, LedgerEntry>,
): Promise<Pick<Ledger, 'nodes' | 'tail'>> {
  const { listed, leafBytes } = leaves
  const all = inOrder([...tail, ...fresh])
  const isTail = bytesOf(all, listed) < leafBytes || bytesOf(fresh, listed) >= leafBytes
  if (isTail) return carried({ nodes, tail: all }, leaves, read, write, carrying)
  const before = await carried({ nodes, tail }, leaves, read, write, carrying === 'full' ? 'entries' : carrying)
  return { nodes: before.nodes, tail: inOrder(fresh) }
}

/** Whether a node may have one of these values: of leaves it is known. */
function holding({ leaves }: Ledger, values: ReadonlySet<object>): (node: TreeNode) => boolean {
  return ({ height, key }) => height > 0 || leaves.get(key)?.some((entry) => values.has(valueIn(entry))) === true
}

/** The values that can stand in leaves of `before`, and that `after` does not have. */
export function goneOf(before: Sections, after: Sections): ReadonlySet<object> {
  return changeOf(before, after).gone
}

/** What one has and the other has not: values that can stand in leaves, and entries that are to. */
function changeOf(
  before: Sections,
  after: Sections,
): { readonly gone: Set<object>; readonly fresh: readonly LedgerEntry[] } {
  const gone = new Set<object>()
  const fresh: LedgerEntry[] = []
  for (const section of LEDGER_SECTIONS) {
    const [old, now] = differing<Value>(before[section] ?? [], after[section] ?? [])
    const [had, has] = [new Set(old), new Set(now)]
    for (const value of old) if (!has.has(value) && !isOpen(value)) gone.add(value)
    for (const value of now) if (!had.has(value) && !isOpen(value)) fresh.push(entryOf(section, value))
  }
  return { gone, fresh }
}

/** Both without what they begin and end with alike. */
function differing<T>(a: readonly T[], b: readonly T[]): readonly [readonly T[], readonly T[]] {
  const least = Math.min(a.length, b.length)
  let [start, end] = [0, 0]
  while (start < least && a[start] === b[start]) start++
  while (end < least - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++
  return [a.slice(start, a.length - end), b.slice(start, b.length - end)]
}

function inOrder(entries: readonly LedgerEntry[]): readonly LedgerEntry[] {
  return LEDGER_SECTIONS.flatMap((section) => entries.filter((entry) => section in entry))
}

function entriesIn(sections: Sections): readonly LedgerEntry[] {
  return LEDGER_SECTIONS.flatMap((section) => (sections[section] ?? []).map((value) => entryOf(section, value)))
}

type Value = NonNullable<Timeline[LedgerSection]>[number]

/** A stream that is open changes with every commit of its own. */
function isOpen(value: Value): boolean {
  return 'state' in value && value.state === 'open'
}

function entryOf(section: LedgerSection, value: Value): LedgerEntry {
  return { [section]: value }
}

function valueIn(entry: LedgerEntry): object {
  const [value] = Object.values(entry)
  return value ?? entry
}
