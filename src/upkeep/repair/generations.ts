import { sha256 } from '../../base/bytes.ts'
import { hasCode, TidemarkError } from '../../base/errors.ts'
import { parseTimelineKey, timelineKey } from '../../format/keys.ts'
import { EMPTY_TIMELINE, type Timeline, type TreeNode } from '../../model/timeline.ts'
import type { ObjectStore } from '../../store/object-store.ts'
import { type CatalogueNodes, catalogueNodes, lastForgotten } from '../../timeline/head.ts'
import { type LedgerNodes, type Sections, sectionsOf } from '../../timeline/ledger.ts'
import { decodeRoot, type Root } from '../../timeline/root.ts'
import type { ReadNode } from '../../timeline/tree.ts'
import { type Recalled, recall } from './recall.ts'

/** The first and the last of generations that follow one another. */
export type Generations = readonly [first: number, last: number]

/** What the generations that can be read still say. */
export interface Salvage {
  /** What they lead to, numbered as the latest file, with every segment in its tail; empty where none says anything. */
  readonly timeline: Timeline
  /** The greatest number of a file, whatever is in it; 0 where there is none. */
  readonly latest: number
  /** SHA-256 of that file as it stands; null where there is none, or it cannot be read at all. */
  readonly sha256: string | null
  /** Generations whose changes nobody knows any more: damaged, or missing. */
  readonly lost: readonly Generations[]
  /** Files of the catalogue that are damaged or missing, of those that it takes. With none, the timeline can be read as it is. */
  readonly damaged: readonly string[]
  /** Generations whose files nothing needs any more, and that are damaged or missing: what they changed is in later ones. */
  readonly past: readonly Generations[]
  /** What older generations say besides; null where nothing of the ledger can have been lost. */
  readonly recalled: Omit<Recalled, 'timeline'> | null
}

/**
 * Reads generations from the last one backwards, to the first that is whole, and what its nodes still say. Errors: those of the
 * store.
 */
export async function salvage(store: ObjectStore, listed: Iterable<string>): Promise<Salvage> {
  const keys = [...listed]
  const numbers = keys.map(parseTimelineKey).filter((generation) => generation !== null)
  numbers.sort((a, b) => b - a)
  const latest = numbers[0] ?? 0
  const damaged: string[] = []
  let root: Root | null = null
  for (const generation of numbers) {
    root = await readOrNull(store, generation)
    if (root !== null) break
    damaged.push(timelineKey(generation))
  }
  const inLedger: string[] = []
  const nodes = catalogueNodes(store)
  const latestRead = root === null ? EMPTY_TIMELINE : await readableOf(nodes, root, { damaged, inLedger })
  const last = root?.generation ?? 0
  const isWhole = last === latest && last > 0 && inLedger.length === 0
  const older = numbers.filter((generation) => generation <= last)
  const { timeline, ...recalled } = isWhole
    ? { timeline: latestRead }
    : await recall(store, latestRead, rootsOf(store, older), (one, onNode) => sectionsIn(nodes, one, onNode), keys)
  const lost: readonly Generations[] = last < latest ? [[last + 1, latest]] : []
  const past = await unreadableBefore(store, last === 0 ? latest + 1 : last, numbers.toReversed(), timeline)
  const hash = await hashOrNull(store, latest)
  return {
    timeline: { ...timeline, generation: latest },
    latest,
    sha256: hash,
    lost,
    damaged: [...damaged, ...inLedger],
    past,
    recalled: 'marks' in recalled ? recalled : null,
  }
}

async function* rootsOf(store: ObjectStore, numbers: readonly number[]): AsyncGenerator<Root> {
  for (const generation of numbers) {
    const root = await readOrNull(store, generation)
    if (root !== null) yield root
  }
}

/** What the ledger of a root says, as far as it can be read. */
async function sectionsIn(
  nodes: CatalogueNodes,
  { content: { ledger, segments: _, ...own } }: Root,
  onNode: (key: string) => void,
): Promise<{ readonly sections: Sections; readonly isWhole: boolean }> {
  const read: LedgerNodes['read'] = (node) => {
    onNode(node.key)
    return nodes.ledger.read(node)
  }
  const damaged: string[] = []
  const leaves = await readable(ledger, read, damaged)
  const sections = sectionsOf(leaves.flat(), own)
  return { sections, isWhole: damaged.length === 0 }
}

/** What a root and those of its nodes say that can be read. */
async function readableOf(
  nodes: CatalogueNodes,
  root: Root,
  { damaged, inLedger }: { readonly damaged: string[]; readonly inLedger: string[] },
): Promise<Timeline> {
  const { ledger, segments, ...own } = root.content
  const entries = (await readable(ledger, nodes.ledger.read, inLedger)).flat()
  const below = (await readable(segments.nodes, nodes.segments.read, damaged)).flat()
  const sections = sectionsOf(entries, own)
  return { generation: root.generation, ...sections, segments: { nodes: [], tail: [...below, ...segments.tail] } }
}

/** The entries of every leaf that can be read. */
async function readable<Node extends TreeNode, Entry>(
  nodes: readonly Node[],
  read: ReadNode<Node, Entry>,
  damaged: string[],
): Promise<readonly (readonly Entry[])[]> {
  const leaves: (readonly Entry[])[] = []
  for (const node of nodes) {
    try {
      const content = await read(node)
      if ('entries' in content) leaves.push(content.entries)
      else leaves.push(...(await readable(content.nodes, read, damaged)))
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.category !== 'corrupt') throw error
      damaged.push(node.key)
    }
  }
  return leaves
}

/** Of the generations before `end`, those that cannot be read, and that no repair has told of yet. */
async function unreadableBefore(
  store: ObjectStore,
  end: number,
  numbers: readonly number[],
  { repairs: known = [], forgotten = [] }: Timeline,
): Promise<readonly Generations[]> {
  const found: Generations[] = []
  const isKnown = (generation: number): boolean =>
    known.some(({ first, last }) => generation >= first && generation <= last)
  let next = lastForgotten({ forgotten }) + 1
  for (const generation of numbers) {
    if (generation < next) continue
    if (generation >= end) break
    if (generation > next && !isKnown(next)) found.push([next, generation - 1])
    next = generation + 1
    if (!isKnown(generation) && (await readOrNull(store, generation)) === null) found.push([generation, generation])
  }
  return found
}

async function hashOrNull(store: ObjectStore, generation: number): Promise<string | null> {
  try {
    return generation === 0 ? null : sha256(await store.get(timelineKey(generation)))
  } catch (error) {
    // What is encrypted and damaged has no content.
    if (error instanceof TidemarkError && error.category === 'corrupt') return null
    throw error
  }
}

async function readOrNull(store: ObjectStore, generation: number): Promise<Root | null> {
  try {
    return decodeRoot(await store.get(timelineKey(generation)), generation)
  } catch (error) {
    const isLost = error instanceof TidemarkError && error.category === 'corrupt'
    if (isLost || hasCode(error, 'OBJECT_NOT_FOUND')) return null
    throw error
  }
}
