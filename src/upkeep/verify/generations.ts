import { sha256 } from '../../base/bytes.ts'
import { parseTimelineKey, timelineKey } from '../../format/keys.ts'
import { unsealJson } from '../../format/sealed-json.ts'
import { decodeHead, parseGeneration } from '../../format/timeline-codec.ts'
import type { Timeline } from '../../model/timeline.ts'
import { type Inspection, wrongHash } from './inspection.ts'

/** Up to which generation a timeline goes, and which of them were lost when it was made again. */
export type Numbers = Pick<Timeline, 'generation' | 'repairs'>

/**
 * Checks every generation of the timeline from the first to its own, and that each names the hash of the one before. Those
 * that were damaged or missing when the timeline was made again are known to be: they stay as they are. `read` gives the
 * file of a key.
 */
export async function verifyGenerations(
  inspection: Inspection,
  keys: Iterable<string>,
  { generation: latest, repairs = [] }: Numbers,
  read: (key: string) => Promise<Uint8Array>,
): Promise<void> {
  const lastKnown = (generation: number): number =>
    repairs.reduce((end, { first, last }) => (generation >= first && generation <= last ? Math.max(end, last) : end), 0)
  const found = [...keys].map(parseTimelineKey).filter((generation) => generation !== null)
  found.sort((a, b) => a - b)
  const holes = (first: number, end: number): void => {
    let at = first
    while (at < end && lastKnown(at) > 0) at = lastKnown(at) + 1
    if (at < end) inspection.hole(at, end, timelineKey)
  }
  /** Of the generation before; null where it is damaged, and says nothing about the one that names it. */
  let previous: string | null = null
  let next = 1
  for (const generation of found) {
    const key = timelineKey(generation)
    holes(next, generation)
    const before = generation > next ? null : previous
    previous = null
    next = generation + 1
    if (lastKnown(generation) > 0) continue
    await inspection.guard(key, async () => {
      const bytes = await inspection.read(key)
      const members = unsealJson(bytes)
      if (members !== null) previous = sha256(bytes)
      // What follows a checkpoint that is known to be damaged cannot be read further than itself.
      if (lastKnown(Number(members?.checkpoint)) > 0) await parseGeneration(bytes, generation)
      else
        await decodeHead(generation, (wanted) =>
          wanted === generation ? Promise.resolve(bytes) : read(timelineKey(wanted)),
        )
      if (before !== null && members?.previous !== before) throw wrongHash(timelineKey(generation - 1))
    })
  }
  holes(next, latest + 1)
}
