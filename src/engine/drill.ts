import { TidemarkError } from '../base/errors.ts'
import type { DrillProof } from '../format/drill-file.ts'
import { newUlid } from '../model/ulid.ts'
import { isAcknowledged } from '../restore/gaps.ts'
import type { Moment } from '../restore/moment.ts'
import { reachTimes } from '../restore/reach.ts'
import { storeTarget } from '../restore/store-target.ts'
import { reachableIntervals, wholeMilliseconds } from '../restore/verdict.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { drillOnce } from '../upkeep/drill.ts'
import type { Archive } from './archive.ts'
import { checkOptions, checkPositive } from './options.ts'
import { type Progress, restoreInto } from './restore.ts'
import { openScratch } from './scratch.ts'

/** What is drilled. */
export interface DrillOptions {
  /** Default: `random`, any moment that can be restored, all of them equally likely. */
  readonly at?: 'random' | Moment
  /** How many drills. Default: 1. */
  readonly count?: number
  /** Of the random moments: the same seed and the same history give the same moments. Default: another one each time. */
  readonly seed?: number
  readonly onProgress?: (progress: Progress) => void
  /** Called after each drill. */
  readonly onProof?: (proof: DrillProof) => void
}

const NAMES = ['at', 'count', 'seed', 'onProgress', 'onProof']
const SEEDS = 2 ** 32

/**
 * Restores moments for real into scratch directories, and proves that they are what the events say. Errors: those of a
 * moment; `MOMENT_UNREACHABLE` where none can be restored.
 */
export async function runDrills(archive: Archive, options: DrillOptions): Promise<readonly DrillProof[]> {
  checkOptions('drill', options, NAMES)
  checkPositive('drill', 'count', options.count)
  if (options.seed !== undefined) checkPositive('drill', 'seed', options.seed + 1)
  const { at = 'random', count = 1, onProof = (): void => {} } = options
  const seed = options.seed ?? Math.floor(archive.seams.clock.now()) % SEEDS
  const next = uniform(seed)
  const proofs: DrillProof[] = []
  for (let i = 0; i < count; i++) {
    const moment = at === 'random' ? await randomMoment(archive, next()) : at
    const proof = await drillAt(archive, moment, at === 'random' ? seed : null, options.onProgress)
    onProof(proof)
    proofs.push(proof)
  }
  return proofs
}

async function drillAt(
  archive: Archive,
  moment: Moment,
  seed: number | null,
  onProgress: (progress: Progress) => void = () => {},
): Promise<DrillProof> {
  const { clock, file } = archive.seams
  const reached = await archive.reach(moment)
  const { timeline } = await archive.refresh()
  const scratch = openScratch()
  const restore = async (): Promise<ObjectStore> => {
    const target = storeTarget(scratch.path, scratch.store, reached.bound.ulid, file.database)
    try {
      const run = {
        selection: {},
        overwrite: false,
        dryRun: false,
        onDifference: null,
        inPlace: null,
        onConflict: 'keep',
        onProgress,
      } as const
      await restoreInto(archive, reached, target, run)
    } finally {
      await target.close()
    }
    return scratch.store
  }
  try {
    const ulid = newUlid(clock.now())
    const { plan, bound } = reached
    return await drillOnce(archive.sources, clock, { ulid, moment: bound.ulid, seed, timeline, plan, restore })
  } finally {
    scratch.dispose()
  }
}

/** The millisecond at `share` (0 to 1) of all that can be restored. Errors: `MOMENT_UNREACHABLE`. */
async function randomMoment(archive: Archive, share: number): Promise<Moment> {
  const { timeline, reach } = await archive.refresh()
  const intervals = reachableIntervals(timeline, reach, (gap) => !isAcknowledged(gap))
  const ranges = intervals.map(wholeMilliseconds).filter((range) => range !== null)
  let rest = Math.floor(share * ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0))
  for (const { first, last } of ranges) {
    if (rest <= last - first) return first + rest
    rest -= last - first + 1
  }
  const times = reachTimes(reach)
  throw new TidemarkError('MOMENT_UNREACHABLE', 'There is no moment yet that can be drilled. Nothing was restored.', {
    hint:
      times === null
        ? 'There is no snapshot in the store yet.'
        : 'Run `tidemark status`: every moment is behind a gap.',
  })
}

/** Numbers from 0 to 1 that depend on the seed only (mulberry32). */
function uniform(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / SEEDS
  }
}
