import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { CountingStore } from '../../test/support/stores.ts'
import { peakMbOfCommand } from '../lib/command.ts'
import { type Cost, costOf, type GrowthRow, growthOver } from '../lib/cost.ts'
import { writeHistory } from '../lib/history-store.ts'
import { steadyChunks, steadyStates } from '../lib/steady-history.ts'
import { inTemporaryDirectory, mustBe } from '../lib/timing.ts'

/*
 * What looking after a store costs against how many segments there are that nothing has merged: ten events in each, one each ten
 * seconds. Everything is merged, then most of it is pruned, and what was replaced and pruned is deleted.
 */
const BEGIN = Date.UTC(2020, 0, 1)
const EVERY = 10_000
const RECORDS = 1000
const EVENTS = 10
const KIB = 1024

async function growthAt(segments: number): Promise<GrowthRow> {
  return inTemporaryDirectory(async (directory) => {
    const place = join(directory, 'store')
    const objects = new CountingStore(new FilesystemStore(place))
    const steady = { segments, events: EVENTS, records: RECORDS, beginMs: BEGIN, everyMs: EVERY }
    await writeHistory(objects, firstUlidAt(BEGIN), steadyStates(RECORDS), steadyChunks(steady))
    const opened = (): Promise<Tidemark> => Tidemark.open({ store: { url: 'bench://store', objects } })
    const status = await costOf(objects, async () => {
      const tidemark = await opened()
      const { segments: all } = await tidemark.status()
      await tidemark.close()
      return all.count
    })
    mustBe(status.result === segments, 'the segments of a store')
    const tidemark = await opened()
    // This process holds what it wrote the store from: what a compaction takes is seen in one of its own.
    const copy = join(directory, 'copy')
    await cp(place, copy, { recursive: true })
    const peakMb = await peakMbOfCommand(['compact', '--grace', '0s', '--store', `file:${copy}`])
    const late = new Date(BEGIN + segments * EVERY * 0.9).toISOString()
    const snapshot = await costOf(objects, () => tidemark.snapshot({ at: late }))
    mustBe(snapshot.result.records === RECORDS, 'a snapshot')
    const merging = await costOf(objects, () => tidemark.compact({ graceMs: 0 }))
    const { merges } = merging.result
    mustBe(merges.length > 0, 'segments were merged')
    const idle = await costOf(objects, () => tidemark.compact({ graceMs: 0 }))
    const policy = { window: `${Math.floor((segments * EVERY * 0.08) / 1000)}s` }
    const pruning = await costOf(objects, () => tidemark.retention.prune({ policy, confirm: true }))
    mustBe(pruning.result.plan.segments.length > 0, 'something was pruned')
    const sweeping = await costOf(objects, () => tidemark.retention.prune({ policy, confirm: true, grace: '0ms' }))
    mustBe((sweeping.result.swept?.files ?? 0) > 0, 'something was deleted')
    await tidemark.close()
    const each = (value: number): number => value / segments
    const bytes = (cost: Cost): number => (cost.read + cost.written) / KIB
    return {
      size: segments,
      'status, ms': status.ms,
      'status, requests': status.requests,
      'snapshot, us/segment': each(snapshot.ms * 1000),
      'compaction, ms/segment': each(merging.ms),
      'compaction, requests/segment': each(merging.requests),
      'compaction, KiB/segment': each(bytes(merging)),
      'compaction of nothing, ms': idle.ms,
      'compaction of nothing, requests': Math.max(1, idle.requests),
      'prune, us/segment': each(pruning.ms * 1000),
      'prune, requests': pruning.requests,
      'sweep, us/segment': each(sweeping.ms * 1000),
      'sweep, requests': sweeping.requests,
      'compaction, peak MiB': peakMb,
    }
  })
}

/** Upkeep at each size. */
export async function upkeepGrowth(sizes: readonly number[]): Promise<readonly GrowthRow[]> {
  return growthOver(sizes, growthAt)
}
