import { sha256 } from '../../base/bytes.ts'
import { hasCode, TidemarkError } from '../../base/errors.ts'
import { parseTimelineKey, timelineKey } from '../../format/keys.ts'
import { type GenerationFile, parseGeneration } from '../../format/timeline-codec.ts'
import type { Repair } from '../../model/repair.ts'
import { applyChange, EMPTY_TIMELINE, type Timeline, type TimelineChange } from '../../model/timeline.ts'
import type { ObjectStore } from '../../store/object-store.ts'

/** The first and the last of generations that follow one another. */
export type Generations = readonly [first: number, last: number]

/** What the generations that can be read still say. */
export interface Salvage {
  /** What they lead to, numbered as the latest file; empty where none says anything. */
  readonly timeline: Timeline
  /** The greatest number of a file, whatever is in it; 0 where there is none. */
  readonly latest: number
  /** SHA-256 of that file as it stands; null where there is none, or it cannot be read at all. */
  readonly sha256: string | null
  /** Generations whose changes nobody knows any more: damaged, or missing. Empty: the timeline can be read as it is. */
  readonly lost: readonly Generations[]
  /** Files that are damaged, of those that it takes. */
  readonly damaged: readonly string[]
  /** Generations whose files nothing needs any more, and that are damaged or missing: what they changed is in later ones. */
  readonly past: readonly Generations[]
}

/**
 * Reads generations from the last one backwards, to the last checkpoint that is whole. A file has the changes since its
 * checkpoint, so that those behind a damaged one may be known from a later file. Errors: those of the store.
 */
export async function salvage(store: ObjectStore, keys: Iterable<string>): Promise<Salvage> {
  const numbers = [...keys].map(parseTimelineKey).filter((generation) => generation !== null)
  numbers.sort((a, b) => b - a)
  const latest = numbers[0] ?? 0
  const changes = new Map<number, TimelineChange>()
  const damaged: string[] = []
  const read = async (generation: number): Promise<GenerationFile | null> => {
    const file = await readOrNull(store, generation)
    if (file === null) damaged.push(timelineKey(generation))
    return file
  }
  let base: Timeline | null = null
  for (let at = 0; at < numbers.length && base === null; at++) {
    const generation = numbers[at] ?? 0
    const file = await read(generation)
    if (file === null) continue
    base = file.timeline
    if (base !== null) continue
    const { checkpoint } = file
    for (const [i, change] of file.changes.entries()) {
      if (!changes.has(checkpoint + 1 + i)) changes.set(checkpoint + 1 + i, change)
    }
    base = (await read(checkpoint))?.timeline ?? null
    // Files between the two have no change that this one has not; a checkpoint that is none says nothing of them.
    while ((numbers[at + 1] ?? 0) >= checkpoint) at++
  }
  const whole = lead(base ?? EMPTY_TIMELINE, changes, latest)
  const first = whole.lost[0]?.[0] ?? latest + 1
  const past = await unreadableBefore(store, first, numbers.toReversed(), base?.repairs ?? [])
  return { ...whole, latest, sha256: await hashOrNull(store, latest), damaged, past }
}

/** Of the generations before `end`, those that cannot be read, and that no repair has told of yet. */
async function unreadableBefore(
  store: ObjectStore,
  end: number,
  numbers: readonly number[],
  known: readonly Repair[],
): Promise<readonly Generations[]> {
  const found: Generations[] = []
  const isKnown = (generation: number): boolean =>
    known.some(({ first, last }) => generation >= first && generation <= last)
  let next = 1
  for (const generation of numbers) {
    if (generation >= end) break
    if (generation > next && !isKnown(next)) found.push([next, generation - 1])
    next = generation + 1
    if (!isKnown(generation) && (await readOrNull(store, generation)) === null) found.push([generation, generation])
  }
  return found
}

async function hashOrNull(store: ObjectStore, generation: number): Promise<string | null> {
  try {
    return generation === 0 ? null : sha256(await store.get(timelineKey(generation)))
  } catch (error) {
    // What is encrypted and damaged has no content.
    if (error instanceof TidemarkError && error.category === 'corrupt') return null
    throw error
  }
}

async function readOrNull(store: ObjectStore, generation: number): Promise<GenerationFile | null> {
  try {
    return await parseGeneration(await store.get(timelineKey(generation)), generation)
  } catch (error) {
    const isLost = error instanceof TidemarkError && error.category === 'corrupt'
    if (isLost || hasCode(error, 'OBJECT_NOT_FOUND')) return null
    throw error
  }
}

function lead(
  base: Timeline,
  changes: ReadonlyMap<number, TimelineChange>,
  latest: number,
): Pick<Salvage, 'timeline' | 'lost'> {
  const lost: Generations[] = []
  let timeline = base
  let next = base.generation + 1
  for (const [generation, change] of [...changes].sort(([a], [b]) => a - b)) {
    if (generation < next) continue
    if (generation > next) lost.push([next, generation - 1])
    timeline = applyChange(timeline, change)
    next = generation + 1
  }
  if (next <= latest) lost.push([next, latest])
  return { timeline: { ...timeline, generation: latest }, lost }
}
