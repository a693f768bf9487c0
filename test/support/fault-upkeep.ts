import { durationMs } from '../../src/base/duration.ts'
import { TidemarkError } from '../../src/base/errors.ts'
import type { Archive } from '../../src/engine/archive.ts'
import { type PruneOptions, pruneArchive } from '../../src/engine/prune.ts'
import type { Plan } from '../../src/restore/plan.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { type CompactionSeams, compact } from '../../src/upkeep/compaction/compact.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'
import { takeSnapshot } from '../../src/upkeep/snapshot.ts'
import type { Tally } from '../campaign/campaign.ts'
import type { Process, Witness } from './fault-world.ts'

/** What is promised; the rest may be pruned. */
const WINDOW = '1m'
const WINDOW_MS: number = durationMs(WINDOW) ?? 0
/** What waits for those who read it, in model time. */
const GRACE = '10m'
const GRACE_MS: number = durationMs(GRACE) ?? 0

/** How a store is looked after; a broken one must be found out. */
export interface UpkeepBuild {
  /** Writes what is merged. */
  readonly write: (store: ObjectStore) => CompactionSeams['write']
  /** Of what a snapshot is made. */
  readonly folded: (plan: Plan) => Plan
  /** What is done before a pruning. */
  readonly beforePrune: (archive: Archive) => Promise<void>
}

/** As in production. */
export const SOUND_UPKEEP: UpkeepBuild = {
  write: (store) => (request, onFile) => writeRun(store, request, onFile),
  folded: (plan) => plan,
  beforePrune: async () => {},
}

/** What retention promises to a pruning, as options. */
export const PRUNING: PruneOptions = { policy: { window: WINDOW }, confirm: true, grace: GRACE }

/** Looks after the store of processes that write, in their weather: each of it may fail, and must not do wrong. */
export class FaultUpkeep {
  readonly #build: UpkeepBuild
  readonly #witness: Witness
  readonly #tally: Tally

  constructor(build: UpkeepBuild, witness: Witness, tally: Tally) {
    this.#build = build
    this.#witness = witness
    this.#tally = tally
  }

  /** A snapshot from history: the oracle reads through it later. */
  snapshot(process: Process | undefined): Promise<void> {
    return this.#attempt('snapshots', process, async ({ archive, timeline }) => {
      const { plan } = await archive.reach('latest')
      await takeSnapshot(archive.sources, timeline, this.#build.folded(plan), 'model://test')
      return 1
    })
  }

  merge(process: Process | undefined): Promise<void> {
    return this.#attempt('merges', process, async ({ archive: { seams } }) => {
      const { store, timeline, clock } = seams
      const write = this.#build.write(store)
      const { merges } = await compact({ store, timeline, clock, memory: 1e7, write }, { graceMs: GRACE_MS })
      return merges.length
    })
  }

  prune(process: Process | undefined): Promise<void> {
    return this.#attempt('segments pruned', process, async ({ archive }) => {
      // Whatever comes of it: what is older may go from now on.
      this.#witness.keptFrom = Math.max(this.#witness.keptFrom, archive.seams.clock.now() - WINDOW_MS)
      await this.#build.beforePrune(archive)
      return (await pruneArchive(archive, PRUNING)).plan.segments.length
    })
  }

  async #attempt(
    what: string,
    process: Process | undefined,
    act: (rig: Process['rig']) => Promise<number>,
  ): Promise<void> {
    if (process === undefined) return
    try {
      this.#tally.add(what, await act(process.rig))
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
      this.#tally.add(`${what} that failed`)
    }
  }
}
