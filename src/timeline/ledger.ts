import { isLedgerEntry, isTreeNode } from '../format/timeline-shape.ts'
import type { Timeline, TreeNode } from '../model/timeline.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { NodeReader, type TreeKind } from './nodes.ts'
import { carried, entriesOf, type ReadNode, rewritten, type WriteNode } from './tree.ts'

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
  entriesOf: (listed) => listed,
  nodeOf: (file) => file,
}

/** Reads nodes of the ledger. */
export type LedgerNodes = NodeReader<TreeNode, LedgerEntry>

/** The nodes of a store. */
export function ledgerNodes(store: Pick<ObjectStore, 'get'>): LedgerNodes {
  return new NodeReader(LEDGER, store)
}

/** The nodes of a ledger, and what stands in them: a process has all of it in memory. */
export interface Ledger {
  readonly nodes: readonly TreeNode[]
  /** The entries of every leaf, by its key. */
  readonly leaves: ReadonlyMap<string, readonly LedgerEntry[]>
}

/** Before the first generation. */
export const EMPTY_LEDGER: Ledger = { nodes: [], leaves: new Map() }

/** What a timeline says besides its segments. */
export type Sections = Omit<Timeline, 'generation' | 'segments'>

/** Reads the ledger of these nodes; leaves that are `known` are not read again. */
export async function readLedger(
  nodes: readonly TreeNode[],
  { read }: LedgerNodes,
  known: Ledger = EMPTY_LEDGER,
): Promise<Ledger> {
  if (nodes.map(({ key }) => key).join() === known.nodes.map(({ key }) => key).join()) return known
  const leaves = new Map<string, readonly LedgerEntry[]>()
  const once: ReadNode<TreeNode, LedgerEntry> = async (node) => {
    const entries = known.leaves.get(node.key)
    const content = entries === undefined ? await read(node) : { height: 0 as const, entries }
    if ('entries' in content) leaves.set(node.key, content.entries)
    return content
  }
  for await (const _ of entriesOf(nodes, once, () => true));
  return { nodes, leaves }
}

/** Everything that a timeline says besides its segments: what stands in the ledger, and what the root has itself. */
export function sectionsOf({ leaves }: Ledger, own: Sections): Sections {
  const entries = [...leaves.values()].flat()
  const all = <S extends LedgerSection>(section: S): readonly NonNullable<Timeline[S]>[number][] => [
    ...entries.map((entry) => entry[section]).filter((value) => value !== undefined),
    ...(own[section] ?? []),
  ]
  const [repairs, forgotten] = [all('repairs'), all('forgotten')]
  const [marks, holds] = [all('marks'), all('holds')]
  const [pruned, condemned] = [all('pruned'), all('condemned')]
  return {
    epochs: [...all('epochs')].sort((a, b) => a.epoch - b.epoch),
    streams: [...all('streams')].sort((a, b) => (a.id < b.id ? -1 : 1)),
    snapshots: [...all('snapshots')].sort((a, b) => (a.ulid < b.ulid ? -1 : 1)),
    losses: all('losses'),
    acknowledgements: all('acknowledgements'),
    erasures: all('erasures'),
    ...(repairs.length === 0 ? {} : { repairs }),
    ...(forgotten.length === 0 ? {} : { forgotten: [...forgotten].sort((a, b) => a.first - b.first) }),
    ...(marks.length === 0 ? {} : { marks: [...marks].sort((a, b) => (a.name < b.name ? -1 : 1)) }),
    ...(holds.length === 0 ? {} : { holds: [...holds].sort((a, b) => (a.id < b.id ? -1 : 1)) }),
    ...(pruned.length === 0 ? {} : { pruned: [...pruned].sort((a, b) => (a.from < b.from ? -1 : 1)) }),
    ...(condemned.length === 0 ? {} : { condemned: [...condemned].sort((a, b) => (a.key < b.key ? -1 : 1)) }),
  }
}

/** The ledger of the next generation, and what its root has itself: streams that are open, and what is new. */
export async function nextLedger(
  ledger: Ledger,
  timeline: Timeline,
  { read }: LedgerNodes,
  write: WriteNode<TreeNode, LedgerEntry>,
): Promise<{ readonly ledger: Ledger; readonly own: Sections }> {
  const leaves = new Map(ledger.leaves)
  const noting: WriteNode<TreeNode, LedgerEntry> = (content) => {
    const node = write(content)
    if ('entries' in content) leaves.set(node.key, content.entries)
    return node
  }
  const present = new Set(LEDGER_SECTIONS.flatMap((section): readonly object[] => timeline[section] ?? []))
  const isPresent = (entry: LedgerEntry): boolean => present.has(valueIn(entry))
  const stale = new Set([...ledger.leaves].filter(([, entries]) => !entries.every(isPresent)).map(([key]) => key))
  const known: ReadNode<TreeNode, LedgerEntry> = async (node) => {
    // The very values of the timeline, and not others that are equal.
    const entries = ledger.leaves.get(node.key)
    return entries === undefined ? read(node) : { height: 0, entries }
  }
  const mayTouch = ({ height, key }: TreeNode): boolean => height > 0 || stale.has(key)
  const map = (entry: LedgerEntry): LedgerEntry | null => (isPresent(entry) ? entry : null)
  const kept =
    stale.size === 0
      ? { nodes: ledger.nodes, tail: [] }
      : await rewritten({ nodes: ledger.nodes, tail: [] }, { mayTouch, map, listed: LEDGER.listed }, known, noting)
  for (const key of stale) leaves.delete(key)
  const placed = new Set([...leaves.values()].flat().map(valueIn))
  const fresh = LEDGER_SECTIONS.flatMap((section) =>
    (timeline[section] ?? [])
      .filter((value) => !placed.has(value) && !isOpen(value))
      .map((value) => entryOf(section, value)),
  )
  const { nodes, tail } = carried({ nodes: kept.nodes, tail: fresh }, LEDGER.listed, noting)
  const own = sectionsOf(
    { nodes: [], leaves: new Map([['', tail]]) },
    { ...NOTHING, streams: timeline.streams.filter(isOpen) },
  )
  return { ledger: { nodes, leaves }, own }
}

const NOTHING: Sections = {
  epochs: [],
  streams: [],
  snapshots: [],
  losses: [],
  acknowledgements: [],
  erasures: [],
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
