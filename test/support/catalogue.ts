import { prunedRanges, rangesOf, withRanges, withSealed } from '../../src/model/sealed-ranges.ts'
import type { SealedRange, SegmentEntry, StreamSegment, Timeline } from '../../src/model/timeline.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { eachSegment, type SegmentNodes, segmentNodes } from '../../src/timeline/segments.ts'

/** For a timeline whose segments are all in its root. */
export const NO_NODES: SegmentNodes = segmentNodes(new MemoryStore())

/** Every segment of a timeline, by the beginning of each. */
export async function allSegments(store: ObjectStore, { segments }: Timeline): Promise<SegmentEntry[]> {
  const all: SegmentEntry[] = []
  for await (const segment of eachSegment(segmentNodes(store), segments)) all.push(segment)
  return all.sort((a, b) => (a.firstUlid < b.firstUlid ? -1 : 1))
}

/** The same of a store in which nothing was merged. */
export async function sealedSegments(store: ObjectStore, timeline: Timeline): Promise<StreamSegment[]> {
  return onlySealed(await allSegments(store, timeline))
}

/** Segments of which none was merged. */
export function onlySealed(segments: readonly SegmentEntry[]): StreamSegment[] {
  return segments.map((entry) => {
    if ('run' in entry) throw new Error(`${entry.key} was merged`)
    return entry
  })
}

/** Those of which none was merged. */
export function withoutRuns(segments: readonly SegmentEntry[]): StreamSegment[] {
  return segments.flatMap((entry) => ('run' in entry ? [] : [entry]))
}

/**
 * The timeline with these segments alone, as if it had been made anew from them. `parts`: what they have of each stream; of
 * unmerged ones they are themselves.
 */
export function withSegments(
  timeline: Timeline,
  segments: readonly SegmentEntry[],
  parts: readonly (SealedRange & { readonly stream: string })[] = onlySealed(segments),
): Timeline {
  const ranges = rangesOf(parts)
  const streams = timeline.streams.map((stream) =>
    withSealed(stream, withRanges(prunedRanges(stream), ranges.get(stream.id) ?? [])),
  )
  return { ...timeline, streams, segments: { nodes: [], tail: segments } }
}
