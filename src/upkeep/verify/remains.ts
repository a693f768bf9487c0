import { TidemarkError } from '../../base/errors.ts'
import { parseRunFileKey, parseSegmentKey, prefixOfSnapshotKey, type RunFileName } from '../../format/keys.ts'
import { decodeRunChain } from '../../format/segment/run-chain.ts'
import { rewritings } from '../../model/erasure.ts'
import type { Timeline } from '../../model/timeline.ts'
import type { Ulid } from '../../model/ulid.ts'
import { eachSegment, type SegmentNodes } from '../../timeline/segments.ts'
import type { SegmentParts } from '../run-chains.ts'
import type { Inspection } from './inspection.ts'

/** What tells where a file comes from that no timeline names. */
export interface Origins {
  readonly timeline: Timeline
  readonly nodes: SegmentNodes
  readonly parts: SegmentParts
  /** Files that merges have replaced, and how many erasures by rewriting there were then. */
  readonly replaced: ReadonlyMap<string, number>
  /** The chain files in the store. */
  readonly chainKeys: readonly string[]
  readonly isNamed: (key: string) => boolean
}

/**
 * Whether a file that nothing names is from before a record was erased by rewriting, which it may hold: an attempt to write it
 * was broken off, or the erasure was before it had deleted it. Then it is damage.
 */
export async function isRemains(inspection: Inspection, key: string, origins: Origins): Promise<boolean> {
  const { timeline, replaced } = origins
  const erased = lastErasure(timeline)
  if (erased === null || replaced.get(key) === rewritings(timeline)) return false
  if (!(await isFromBefore(inspection, key, erased, origins))) return false
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

async function isFromBefore(inspection: Inspection, key: string, erased: Ulid, origins: Origins): Promise<boolean> {
  const { nodes, parts, timeline } = origins
  const prefix = prefixOfSnapshotKey(key)
  const last = `snapshot/${erased}`
  if (prefix !== null) return prefix.slice(0, last.length) <= last
  const run = parseRunFileKey(key)
  if (run !== null) return !(await isNewRun(inspection, run, origins))
  const segment = parseSegmentKey(key)
  if (segment === null) return false
  const { stream, firstSequence, lastSequence } = segment
  if (lastSequence > (timeline.streams.find(({ id }) => id === stream)?.lastSequence ?? 0)) return false
  // What stands at its place in the history tells of when its events are.
  for await (const one of eachSegment(nodes, timeline.segments)) {
    const isThere = (await parts.of(one)).some(
      (part) => part.stream === stream && part.firstSequence <= lastSequence && part.lastSequence >= firstSequence,
    )
    if (isThere) return one.firstUlid <= erased
  }
  return true
}

/** Whether a merge since the last erasure has made it: one that is not committed yet, or was broken off. */
async function isNewRun(
  inspection: Inspection,
  { run }: RunFileName,
  { chainKeys, isNamed, timeline }: Origins,
): Promise<boolean> {
  const own = chainKeys.filter((key) => parseRunFileKey(key)?.run === run)
  // What an erasure has left of a run is written again.
  if (own.some(isNamed)) return false
  let isNew = false
  for (const key of own) {
    await inspection.guard(key, async () => {
      isNew ||= decodeRunChain(key, await inspection.read(key)).erasures === rewritings(timeline)
    })
  }
  return isNew
}

function remains(key: string): TidemarkError {
  return new TidemarkError(
    'ERASURE_INCOMPLETE',
    `${key} is from before an erasure, no part of the history, and may hold the record that was erased.`,
    { hint: 'Run the erasure again: it deletes such files.', details: { key } },
  )
}
