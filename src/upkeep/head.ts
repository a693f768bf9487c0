import { sha256 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { timelineKey } from '../format/keys.ts'
import { chainStart } from '../format/segment/chain.ts'
import type { Head } from '../model/head.ts'
import type { SegmentEntry, StreamEntry, Timeline } from '../model/timeline.ts'
import { prunedAt } from '../restore/pruned.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { headIn, readHeads } from '../timeline/forget.ts'
import { catalogueNodes, headOf } from '../timeline/head.ts'
import { decodeRoot } from '../timeline/root.ts'
import { eachSegment, type SegmentNodes, segmentsAt } from '../timeline/segments.ts'
import { SegmentParts } from './run-chains.ts'

/**
 * Whether `timeline` still goes on from the noted head. Errors: `TIMELINE_CORRUPT` where the history was rolled back to
 * before it, or is another one; what is wrong with files that the head does not name is for the rest of `verify`.
 */
export async function checkHead(store: ObjectStore, timeline: Timeline, noted: Head): Promise<void> {
  const { generation } = noted
  if (generation > timeline.generation) {
    throw forged(generation, `it ends with generation ${timeline.generation}: what came after was taken away`)
  }
  const heads = timeline.forgotten?.find(({ first, last }) => generation >= first && generation <= last)
  if (heads !== undefined) {
    // What it said is in none of the files any more: what came since goes on from it, as the list has it.
    if (headIn(await readHeads(store, heads), heads, generation) === noted.sha256) return
    throw forged(generation, 'another generation had that number: the history was written anew')
  }
  const bytes = await store.get(timelineKey(generation))
  if (sha256(bytes) !== noted.sha256) {
    throw forged(generation, 'that generation has another content now: the history was written anew')
  }
  const nodes = catalogueNodes(store)
  const parts = new SegmentParts(store)
  const then = (await headOf(decodeRoot(bytes, generation), nodes)).timeline
  for (const stream of then.streams) {
    if (!(await goesOn(nodes.segments, parts, timeline, stream)))
      throw forged(generation, `stream ${stream.id} does not go on from where it was`)
  }
}

/**
 * Whether the chain of a stream still passes through where it was; of events that were pruned nothing but the generations, each
 * of which names the one before, says what they were.
 */
async function goesOn(
  nodes: SegmentNodes,
  parts: SegmentParts,
  { streams, segments, pruned }: Timeline,
  { id, lastSequence, lastUlid, chain }: StreamEntry,
): Promise<boolean> {
  const now = streams.find((stream) => stream.id === id)
  if (now === undefined || now.lastSequence < lastSequence) return false
  if (now.lastSequence === lastSequence) return now.chain === chain
  if (lastSequence === 0) return chain === chainStart(id)
  if (lastSequence === now.base?.sequence) return now.base.chain === chain
  const passes = async (segment: SegmentEntry): Promise<boolean> =>
    (await parts.of(segment)).some((part) => {
      if (part.stream !== id) return false
      const ends = part.lastSequence === lastSequence && part.chain.value === chain
      return ends || (part.firstSequence === lastSequence + 1 && part.chain.previous === chain)
    })
  for (const segment of await segmentsAt(nodes, segments, lastUlid)) if (await passes(segment)) return true
  for await (const segment of eachSegment(nodes, segments)) if (await passes(segment)) return true
  return now.base !== undefined && lastSequence < now.base.sequence && prunedAt(pruned, lastUlid) !== null
}

function forged(generation: number, what: string): TidemarkError {
  const key = timelineKey(generation)
  return new TidemarkError('TIMELINE_CORRUPT', `The store is not the one whose head was noted at ${key}: ${what}.`, {
    hint: 'Do not write to this store; compare it with a copy, and find out who could write to it.',
    details: { key },
  })
}
