import type { Interval } from '../model/interval.ts'
import type { SegmentFile, SegmentTree } from '../model/timeline.ts'
import type { SegmentNodes } from '../timeline/segments.ts'
import { entriesOf } from '../timeline/tree.ts'
import { filesOf } from './run-chains.ts'

/**
 * The keys of all files of segments that a timeline names with an event in one of the ranges; null: of all. Only nodes are read that
 * may have one.
 */
export async function namedKeys(
  { read }: SegmentNodes,
  { nodes, tail }: SegmentTree,
  ranges: readonly Interval[] | null,
): Promise<ReadonlySet<string>> {
  const isWanted = ({ firstUlid, lastUlid }: Pick<SegmentFile, 'firstUlid' | 'lastUlid'>): boolean =>
    ranges === null || ranges.some(({ from, through }) => firstUlid <= through && lastUlid >= from)
  const named = new Set<string>()
  for await (const entries of entriesOf(nodes, read, isWanted))
    for (const entry of entries) for (const key of filesOf(entry)) named.add(key)
  for (const entry of tail) for (const key of filesOf(entry)) named.add(key)
  return named
}
