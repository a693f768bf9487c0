import { isNodeKey } from '../../format/keys.ts'
import type { IndexNode, SegmentEntry, Timeline, TreeNode } from '../../model/timeline.ts'
import { ledgerNodes } from '../../timeline/ledger.ts'
import type { Root } from '../../timeline/root.ts'
import type { SegmentNodes } from '../../timeline/segments.ts'
import type { Inspection } from './inspection.ts'

/** What the catalogue names, as far as it can be read. */
export interface NamedFiles {
  readonly isNamed: (key: string) => boolean
  /** False where a node is damaged: then nobody knows everything that is named. */
  readonly isWhole: boolean
}

/** Reads every node of the catalogue once, and gives every segment to `onSegment`. `nodes` count what they read. */
export async function verifyNodes(
  inspection: Inspection,
  nodes: SegmentNodes,
  { segments }: Timeline,
  root: Root | null,
  onSegment: (entry: SegmentEntry) => Promise<void>,
): Promise<NamedFiles> {
  const named = new Set<string>()
  let isWhole = true
  const each = async (entries: readonly SegmentEntry[]): Promise<void> => {
    for (const entry of entries) {
      named.add(entry.key)
      if ('run' in entry) named.add(entry.run.key)
      await onSegment(entry)
    }
  }
  const walk = async (node: IndexNode): Promise<void> => {
    named.add(node.key)
    const read = inspection.guard(node.key, async () => {
      const content = await nodes.read(node)
      if ('entries' in content) await each(content.entries)
      else for (const below of content.nodes) await walk(below)
    })
    isWhole = (await read) && isWhole
  }
  for (const node of segments.nodes) await walk(node)
  await each(segments.tail)
  const ledger = ledgerNodes({ get: (key) => inspection.read(key) })
  const look = async (node: TreeNode): Promise<void> => {
    named.add(node.key)
    const read = inspection.guard(node.key, async () => {
      const content = await ledger.read(node)
      for (const below of 'nodes' in content ? content.nodes : []) await look(below)
    })
    isWhole = (await read) && isWhole
  }
  for (const node of root?.content.ledger ?? []) await look(node)
  // Of a timeline that is made again, or whose root cannot be read, the nodes are not known.
  const isKnown = root !== null && isSame(root.content.segments.nodes, segments.nodes)
  return { isNamed: (key) => named.has(key) || (!isKnown && isNodeKey(key)), isWhole }
}

function isSame(a: readonly TreeNode[], b: readonly TreeNode[]): boolean {
  return a.length === b.length && a.every(({ key }, i) => key === b[i]?.key)
}
