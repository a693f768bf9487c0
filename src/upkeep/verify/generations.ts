import { sha256 } from '../../base/bytes.ts'
import { hasCode } from '../../base/errors.ts'
import { parseTimelineKey, timelineKey } from '../../format/keys.ts'
import { unsealJson } from '../../format/sealed-json.ts'
import type { Heads, Timeline } from '../../model/timeline.ts'
import { checkHeads, headIn } from '../../timeline/forget.ts'
import { lastForgotten } from '../../timeline/head.ts'
import { decodeRoot, type Root } from '../../timeline/root.ts'
import { wrongContent } from '../segment-check.ts'
import { type Inspection, wrongHash } from './inspection.ts'

/** Up to which generation a timeline goes, which of them were lost when it was made again, and the files of which went. */
export type Numbers = Pick<Timeline, 'generation' | 'repairs' | 'forgotten'>

/**
 * Checks every generation of the timeline from the first to its own, and that each names the hash of the one before; each
 * file is read and decoded once. Those that were damaged or missing when the timeline was made again are known to be: they
 * stay as they are. Of those whose files went, the lists of their hashes are. Returns the timeline's own root; null where it cannot
 * be read. `forgottenNow`: the last generation whose file has gone by now, which is asked for where one is missing.
 */
export async function verifyGenerations(
  inspection: Inspection,
  keys: Iterable<string>,
  { generation: latest, repairs = [], forgotten = [] }: Numbers,
  forgottenNow: () => Promise<number> = async () => 0,
): Promise<Root | null> {
  const lastKnown = (generation: number): number =>
    repairs.reduce((end, { first, last }) => (generation >= first && generation <= last ? Math.max(end, last) : end), 0)
  const end = lastForgotten({ forgotten })
  const found = [...keys]
    .map(parseTimelineKey)
    .filter((generation) => generation !== null)
    .filter((generation) => generation > end)
  found.sort((a, b) => a - b)
  const holes = (first: number, end: number): void => {
    let at = first
    while (at < end && lastKnown(at) > 0) at = lastKnown(at) + 1
    if (at < end) inspection.hole(at, end, timelineKey)
  }
  inspection.expect(found.filter((one) => lastKnown(one) === 0).map(timelineKey))
  let own: Root | null = null
  /** Of the generation before; null where it is damaged, and says nothing about the one that names it. */
  const afterLost = (generation: number): number => Math.max(generation, lastKnown(generation) + 1)
  let previous = await verifyHeads(inspection, forgotten, { forgottenNow, afterLost })
  let next = end + 1
  for (const generation of found) {
    const key = timelineKey(generation)
    holes(next, generation)
    const before = generation > next ? null : previous
    previous = null
    next = generation + 1
    if (lastKnown(generation) > 0) continue
    await inspection.guard(key, async () => {
      const bytes = await readUnless(inspection, key, async () => generation <= (await forgottenNow()))
      if (bytes === null) return
      // A file that is whole in itself is the one that the next one names, whatever is in it.
      if (unsealJson(bytes) !== null) previous = sha256(bytes)
      const root = decodeRoot(bytes, generation)
      if (generation === latest) own = root
      if (before !== null && root.previous !== before) throw wrongHash(timelineKey(generation - 1))
    })
  }
  holes(next, latest + 1)
  return own
}

/** What the lists of heads are checked with. */
interface HeadsSeams {
  readonly forgottenNow: () => Promise<number>
  /** The first generation from this one on that was not lost before a repair. */
  readonly afterLost: (generation: number) => number
}

/** Returns the hash of the last generation whose file went; null where none did, or nobody can say it. */
async function verifyHeads(
  inspection: Inspection,
  forgotten: readonly Heads[],
  { forgottenNow, afterLost }: HeadsSeams,
): Promise<string | null> {
  let last: string | null = null
  let next = 1
  for (const heads of forgotten) {
    last = null
    const expected = afterLost(next)
    next = heads.last + 1
    await inspection.guard(heads.key, async () => {
      // A longer list may be in its place.
      const bytes = await readUnless(inspection, heads.key, async () => heads.last < (await forgottenNow()))
      if (bytes === null) return
      checkHeads(heads, bytes)
      if (heads.first !== expected) throw wrongContent(heads.key, `it does not begin with generation ${expected}`)
      last = headIn(bytes, heads, heads.last)
    })
  }
  return last
}

/** The bytes of a file; null where it has gone meanwhile, as it should. */
async function readUnless(
  inspection: Inspection,
  key: string,
  hasGone: () => Promise<boolean>,
): Promise<Uint8Array | null> {
  try {
    return await inspection.read(key)
  } catch (error) {
    if (hasCode(error, 'OBJECT_NOT_FOUND') && (await hasGone())) return null
    throw error
  }
}
