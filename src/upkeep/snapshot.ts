import type { TimelineLog } from '../capture/timeline-log.ts'
import { snapshotPrefix } from '../format/keys.ts'
import type { SnapshotEntry } from '../model/timeline.ts'
import type { Plan } from '../restore/plan.ts'
import { type ReplaySources, replay } from '../restore/replay.ts'
import { SnapshotWriter } from '../restore/snapshot-writer.ts'

/**
 * Makes the snapshot of a plan's moment from the snapshot before it and the events since, without touching the
 * database. It exists when the timeline has it; files of an attempt that failed are never read.
 */
export async function takeSnapshot(
  sources: ReplaySources,
  timeline: TimelineLog,
  plan: Plan,
  database: string,
): Promise<SnapshotEntry> {
  const ulid = plan.moment
  if (plan.snapshot.ulid === ulid) return plan.snapshot
  const prefix = snapshotPrefix(ulid)
  const writer = new SnapshotWriter({ store: sources.store, prefix, ulid, database })
  for await (const batch of replay(sources, plan, {})) await writer.add(batch)
  const except = plan.except.map(({ acknowledged: _, ...gap }) => gap)
  const written = await writer.finish()
  const entry: SnapshotEntry = {
    ulid,
    consistentFrom: ulid,
    prefix,
    ...written,
    ...(except.length === 0 ? {} : { except }),
  }
  await timeline.commit(() => ({ addSnapshots: [entry] }))
  return entry
}
