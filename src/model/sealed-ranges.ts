import type { SealedRange, StreamEntry } from './timeline.ts'

/** The sequences of a stream that are in segments, in order; of a stream without holes one range, or none. */
export function sealedRanges({ sealed, lastSequence, lastUlid, openedAt }: StreamEntry): readonly SealedRange[] {
  if (sealed !== undefined) return sealed
  return lastSequence === 0 ? [] : [{ firstSequence: 1, lastSequence, firstUlid: openedAt, lastUlid }]
}

/** What of them is before the base of the stream, whether it was pruned or not: it is no hole. */
export function prunedRanges(stream: StreamEntry): readonly SealedRange[] {
  const { base } = stream
  if (base === undefined) return []
  return sealedRanges(stream)
    .filter(({ firstSequence }) => firstSequence <= base.sequence)
    .map((range) => {
      const { lastSequence } = range
      return lastSequence <= base.sequence ? range : { ...range, lastSequence: base.sequence, lastUlid: base.ulid }
    })
}

/** Whether a range of sequences is among them. */
export function isSealed(
  ranges: readonly SealedRange[],
  { firstSequence, lastSequence }: Pick<SealedRange, 'firstSequence' | 'lastSequence'>,
): boolean {
  return ranges.some((range) => range.firstSequence <= firstSequence && range.lastSequence >= lastSequence)
}

/** The ranges with those of `added`, in any order. */
export function withRanges(ranges: readonly SealedRange[], added: readonly SealedRange[]): readonly SealedRange[] {
  const merged: SealedRange[] = []
  for (const { firstSequence, lastSequence, firstUlid, lastUlid } of [...ranges, ...added].sort(bySequence)) {
    const last = merged.at(-1)
    if (last === undefined || firstSequence > last.lastSequence + 1)
      merged.push({ firstSequence, lastSequence, firstUlid, lastUlid })
    else if (lastSequence > last.lastSequence) merged[merged.length - 1] = { ...last, lastSequence, lastUlid }
  }
  return merged
}

/** The stream with `ranges` as those that are in segments: they are not told where nothing is missing. */
export function withSealed(stream: StreamEntry, ranges: readonly SealedRange[]): StreamEntry {
  const { sealed: _, ...rest } = stream
  const [first, second] = ranges
  const isWhole =
    first === undefined
      ? stream.lastSequence === 0
      : second === undefined && first.firstSequence === 1 && first.lastSequence === stream.lastSequence
  return isWhole ? rest : { ...rest, sealed: ranges }
}

/** The ranges that segments, or what they have of each stream, make, by stream. */
export function rangesOf(
  segments: Iterable<SealedRange & { readonly stream: string }>,
): ReadonlyMap<string, readonly SealedRange[]> {
  const byStream = Map.groupBy(segments, ({ stream }) => stream)
  return new Map([...byStream].map(([stream, own]) => [stream, withRanges([], own)]))
}

function bySequence(a: SealedRange, b: SealedRange): number {
  return a.firstSequence - b.firstSequence
}
