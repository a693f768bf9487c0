import type { Archive } from '../../src/engine/archive.ts'
import { pruneArchive } from '../../src/engine/prune.ts'
import { rewritings } from '../../src/model/erasure.ts'
import type { SegmentEntry, Timeline } from '../../src/model/timeline.ts'
import { newUlid } from '../../src/model/ulid.ts'
import { reachOf } from '../../src/restore/reach.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'
import { partsOf, readRunChain, type SegmentPart } from '../../src/upkeep/run-chains.ts'
import { allSegments } from './catalogue.ts'
import type { World } from './reach-world.ts'

/** Files that belong together: a segment, or a run. */
export type Unit = readonly SegmentEntry[]

/** The units of a timeline, by their beginnings; the files of a run in their order. */
export async function unitsOf({ store }: World, timeline: Timeline): Promise<readonly Unit[]> {
  const segments = await allSegments(store, timeline)
  const units = Map.groupBy(segments, (entry) => ('run' in entry ? entry.run.key : entry.key))
  // The number of a file in its run is the end of its key.
  return Array.from(units.values(), (unit) => unit.sort((a, b) => (a.key < b.key ? -1 : 1)))
}

/** What units have of each stream. */
export async function partsIn({ store }: World, units: readonly Unit[]): Promise<readonly SegmentPart[]> {
  const parts: SegmentPart[] = []
  for (const [entry] of units) {
    if (entry === undefined) continue
    if ('run' in entry) parts.push(...partsOf(await readRunChain(store, entry.run)))
    else parts.push(entry)
  }
  return parts
}

/**
 * Merges some neighbours among the units that are complete, into a run of small files, whatever their times are: the windows of a
 * real merge are minutes long, and a world lasts less than one. Returns how many units were merged.
 */
export async function mergeSome(world: World, next: () => number): Promise<number> {
  const log = await TimelineLog.open(world.store)
  const { latest } = reachOf(log.timeline)
  const complete = (await unitsOf(world, log.timeline)).filter((unit) =>
    unit.every(({ lastUlid }) => latest !== null && lastUlid <= latest),
  )
  if (complete.length < 2) return 0
  const from = Math.floor(next() * (complete.length - 1))
  const units = complete.slice(from, from + 2 + Math.floor(next() * 6))
  const level = 1 + Math.max(...units.flat().map((entry) => entry.level))
  const run = newUlid(world.clock.now())
  const request = { run, level, erasures: rewritings(log.timeline), units, memory: 1e7, fileBytes: 600 }
  const { replaced, files } = await writeRun(world.store, request, () => {})
  await log.commit(() => ({ merge: { replaced, by: files } }))
  // Nobody is in the middle of reading them.
  await world.store.delete(replaced)
  return units.length
}

/** Prunes what is older than a part of the history, and deletes it. Returns how many segments went. */
export async function pruneSome(archive: Archive, ms: number): Promise<number> {
  const options = { policy: { window: `${Math.max(1, Math.round(ms))}ms` }, confirm: true, grace: '0ms' }
  return (await pruneArchive(archive, options)).plan.segments.length
}
