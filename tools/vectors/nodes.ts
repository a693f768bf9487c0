import { timelineKey } from '../../src/format/keys.ts'
import type { IndexNode, TreeNode } from '../../src/model/timeline.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { LEDGER, type LedgerEntry } from '../../src/timeline/ledger.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { NodeFiles } from '../../src/timeline/nodes.ts'
import { decodeRoot, encodeRoot, type RootContent } from '../../src/timeline/root.ts'
import { SEGMENTS } from '../../src/timeline/segments.ts'

/**
 * Commits a generation that says the same, with most of it in nodes of several heights: what only a long history has otherwise,
 * and what every reader must take.
 */
export async function layInNodes(directory: string): Promise<void> {
  const store = new FilesystemStore(directory)
  const { timeline } = await TimelineLog.open(store)
  const root = decodeRoot(await store.get(timelineKey(timeline.generation)), timeline.generation)
  const generation = timeline.generation + 1
  const files = new NodeFiles(generation, new Map())
  const content = { ...root.content, ...ledgerOf(root.content, files), segments: segmentsOf(root.content, files) }
  for (const { key, bytes } of files.files) await store.put(key, bytes, { ifAbsent: true })
  const bytes = encodeRoot({ generation, previous: root.sha256, content })
  await store.put(timelineKey(generation), bytes, { ifAbsent: true })
}

function segmentsOf({ segments: { nodes, tail } }: RootContent, files: NodeFiles): RootContent['segments'] {
  if (nodes.length > 0 || tail.length < 6) throw new Error('the history has another length')
  const leaf = (from: number, to: number): IndexNode =>
    files.add(SEGMENTS, { height: 0, entries: tail.slice(from, to) })
  const branch = (height: number, below: readonly IndexNode[]): IndexNode =>
    files.add(SEGMENTS, { height, nodes: below })
  const highest = branch(2, [branch(1, [leaf(0, 2), leaf(2, 3)]), leaf(3, 4)])
  return { nodes: [highest, leaf(4, 5)], tail: tail.slice(5) }
}

/** All but the last stream and the last snapshot, which stand in the root. */
function ledgerOf(
  root: RootContent,
  files: NodeFiles,
): Pick<RootContent, 'epochs' | 'streams' | 'snapshots' | 'ledger'> {
  const { epochs, streams, snapshots } = root
  const entries: readonly LedgerEntry[] = [
    ...snapshots.slice(0, -1).map((one) => ({ snapshots: one })),
    ...epochs.map((one) => ({ epochs: one })),
    ...streams.slice(0, -1).map((one) => ({ streams: one })),
  ]
  const leaf = (from: number, to?: number): TreeNode =>
    files.add(LEDGER, { height: 0, entries: entries.slice(from, to) })
  const ledger = [files.add(LEDGER, { height: 1, nodes: [leaf(0, 1), leaf(1, 3)] }), leaf(3)]
  return { epochs: [], streams: streams.slice(-1), snapshots: snapshots.slice(-1), ledger }
}
