import { TidemarkError } from '../../base/errors.ts'
import { parseSegmentKey, prefixOfSnapshotKey } from '../../format/keys.ts'
import type { Timeline } from '../../model/timeline.ts'
import type { Ulid } from '../../model/ulid.ts'
import { eachSegment, type SegmentNodes } from '../../timeline/segments.ts'
import type { Inspection } from './inspection.ts'

/**
 * Whether a file that nothing names is from before a record was erased by rewriting, which it may hold: an attempt to write it
 * was broken off, or the erasure was before it had deleted it. Then it is damage.
 */
export async function isRemains(
  inspection: Inspection,
  nodes: SegmentNodes,
  timeline: Timeline,
  key: string,
): Promise<boolean> {
  const erased = lastErasure(timeline)
  if (erased === null || !(await isFromBefore(key, erased, nodes, timeline))) return false
  inspection.found(key, remains(key))
  return true
}

/** The last erasure that rewrote files; null where there was none. */
export function lastErasure({ erasures }: Timeline): Ulid | null {
  return erasures.reduce<Ulid | null>(
    (last, { mode, ulid }) => (mode === 'rewritten' && (last === null || ulid > last) ? ulid : last),
    null,
  )
}

async function isFromBefore(
  key: string,
  erased: Ulid,
  nodes: SegmentNodes,
  { segments, streams }: Timeline,
): Promise<boolean> {
  const prefix = prefixOfSnapshotKey(key)
  const last = `snapshot/${erased}`
  if (prefix !== null) return prefix.slice(0, last.length) <= last
  const segment = parseSegmentKey(key)
  if (segment === null) return false
  const { stream, firstSequence, lastSequence } = segment
  if (lastSequence > (streams.find(({ id }) => id === stream)?.lastSequence ?? 0)) return false
  // What stands at its place in the history tells of when its events are.
  for await (const one of eachSegment(nodes, segments)) {
    const isThere = one.stream === stream && one.firstSequence <= lastSequence && one.lastSequence >= firstSequence
    if (isThere) return one.firstUlid <= erased
  }
  return true
}

function remains(key: string): TidemarkError {
  return new TidemarkError(
    'ERASURE_INCOMPLETE',
    `${key} is from before an erasure, no part of the history, and may hold the record that was erased.`,
    { hint: 'Run the erasure again: it deletes such files.', details: { key } },
  )
}
