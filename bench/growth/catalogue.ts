import { monitorEventLoopDelay } from 'node:perf_hooks'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { segmentsBetween } from '../../src/timeline/segments.ts'
import { segment, segments, streamOf } from '../../test/support/many-segments.ts'
import { CountingStore } from '../../test/support/stores.ts'
import { type Cost, costOf, type GrowthRow, growthOver } from '../lib/cost.ts'
import { inTemporaryDirectory, mustBe } from '../lib/timing.ts'

/*
 * What the catalogue costs against how many segments there are, none of them merged: entries of the catalogue without the
 * files behind them, in a directory. Times are those of the processor.
 */

const COMMITS = 256
const AT_ONCE = 10_000

async function storeOf(directory: string, count: number): Promise<CountingStore> {
  const store = new CountingStore(new FilesystemStore(directory))
  const log = await TimelineLog.open(store)
  for (let n = 0; n < count; n += AT_ONCE) {
    const upTo = Math.min(count, n + AT_ONCE)
    await log.commit(() => ({ putStreams: [streamOf(upTo)], addSegments: segments(upTo - n, n) }))
  }
  return store
}

const KIB = 1024

/** Of one size. */
async function growthAt(count: number): Promise<GrowthRow> {
  return inTemporaryDirectory(async (directory) => {
    const store = await storeOf(directory, count)
    await TimelineLog.open(store)
    const open = await costOf(store, () => TimelineLog.open(store))
    const log = open.result
    const middle = Math.floor(count / 2)
    const [from, through] = [segment(middle).firstUlid, segment(middle + 99).lastUlid]
    const plan = await costOf(store, () => segmentsBetween(log.nodes.segments, log.timeline.segments, from, through))
    mustBe(plan.result.length === 100, 'a plan of 100 segments')
    const reader = await TimelineLog.open(store)
    const loop = monitorEventLoopDelay({ resolution: 1 })
    const commits: Cost[] = []
    const refreshes: Cost[] = []
    loop.enable()
    for (let n = count; n < count + COMMITS; n++) {
      const change = { putStreams: [streamOf(n + 1)], addSegments: [segment(n)] }
      commits.push(await costOf(store, () => log.commit(() => change)))
      refreshes.push(await costOf(store, () => reader.refresh()))
    }
    loop.disable()
    const mean = (costs: readonly Cost[], of: keyof Cost): number =>
      costs.reduce((sum, cost) => sum + cost[of], 0) / costs.length
    const most = (costs: readonly Cost[], of: keyof Cost): number => Math.max(...costs.map((cost) => cost[of]))
    return {
      size: count,
      'open, ms': open.ms,
      'open, KiB': open.read / KIB,
      'commit, KiB': mean(commits, 'written') / KIB,
      'commit, most KiB': most(commits, 'written') / KIB,
      'commit, ms': mean(commits, 'ms'),
      'commit, requests': mean(commits, 'requests'),
      'refresh, KiB': most(refreshes, 'read') / KIB,
      'refresh, ms': mean(refreshes, 'ms'),
      'refresh, most ms of its code': most(refreshes, 'threadMs'),
      'plan of 100, requests': plan.requests,
      'plan of 100, ms': plan.ms,
      'loop held, ms': loop.max / 1e6,
    }
  })
}

/** The catalogue at each size. */
export async function catalogueGrowth(sizes: readonly number[]): Promise<readonly GrowthRow[]> {
  return growthOver(sizes, growthAt)
}
