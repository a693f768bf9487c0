import { timelineKey } from '../../src/format/keys.ts'
import type { IndexNode, SnapshotEntry, StreamEntry, TreeNode } from '../../src/model/timeline.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { LEDGER } from '../../src/timeline/ledger.ts'
import { NodeFiles } from '../../src/timeline/nodes.ts'
import { encodeRoot } from '../../src/timeline/root.ts'
import { streamOf } from './many-segments.ts'

/** The snapshot of a day. */
export function snapshotOf(day: number): SnapshotEntry {
  const ulid = firstUlidAt(1_760_000_000_000 + day * 86_400_000)
  const [prefix, manifestSha256] = [`snapshot/${ulid}-0123abcd/`, String(day).padStart(64, '0')]
  return { ulid, consistentFrom: ulid, prefix, records: 1e7, bytes: 1e11, manifestSha256 }
}

/** Streams that are open beside that of the segments, with all that one may tell of its process. */
function openStreams(count: number): readonly StreamEntry[] {
  return Array.from({ length: count }, (_, n) => ({
    ...streamOf(1, 'open', firstUlidAt(1_750_000_000_000 + n)),
    ...{ host: `ip-10-0-0-${n}.eu-central-1.compute.internal`, pid: 4_194_303, started: '1234567890' },
    ...{ boot: 'e8b1d4c6-0f3a-4c7e-9a51-2d7c0b9f6a3e', namespace: 'pid:[4026531836]' },
    journal: { kind: 'disk', path: '/var/lib/application/production/tidemark/journal' },
  }))
}

/**
 * Puts a root to which one more leaf makes a node of every height: with as many nodes of each height as a root has at most, in both
 * trees. Those of segments name files that are not there.
 */
export async function putFullestRoot(store: ObjectStore, counts: readonly number[], snapshots: number): Promise<void> {
  const files = new NodeFiles(1, new Map())
  const index: IndexNode[] = []
  const ledger: TreeNode[] = []
  let days = 10_000
  const ledgerNode = (height: number, entries: number): TreeNode =>
    height === 0
      ? files.add(LEDGER, {
          height,
          entries: Array.from({ length: entries }, () => ({ snapshots: snapshotOf(days++) })),
        })
      : files.add(LEDGER, { height, nodes: [ledgerNode(height - 1, entries)] })
  for (const [height, count] of [...counts.entries()].toReversed()) {
    for (let n = 0; n < count; n++) {
      index.push(indexNode(height, index.length))
      // No room in the last one, so that nothing is joined with it.
      ledger.push(ledgerNode(height, height === 0 && n === count - 1 ? 140 : 1))
    }
  }
  for (const { key, bytes } of files.files) await store.put(key, bytes)
  const sections = {
    ...{ epochs: [{ epoch: 1, startedAt: firstUlidAt(1), restored: null }], streams: openStreams(4) },
    ...{ losses: [], acknowledgements: [], erasures: [] },
  }
  const tail = Array.from({ length: snapshots }, (_, day) => snapshotOf(day))
  const content = { ...sections, snapshots: tail, ledger, segments: { nodes: index, tail: [] } }
  await store.put(timelineKey(1), encodeRoot({ generation: 1, previous: null, content }))
}

function indexNode(height: number, n: number): IndexNode {
  const [firstUlid, lastUlid] = [firstUlidAt(1_700_000_000_000 + n * 1000), firstUlidAt(1_700_000_000_999 + n * 1000)]
  const about = { firstUlid, lastUlid, segments: 1e7, events: 1e11, bytes: 1e14 }
  const key = `node/000000000001-${n.toString(16).padStart(8, '0')}.json`
  return { key, sha256: 'f'.repeat(64), height, width: 24, ...about }
}
