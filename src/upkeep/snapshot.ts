import { nonce } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import type { TimelineLog } from '../capture/timeline-log.ts'
import { snapshotPrefix } from '../format/keys.ts'
import type { SnapshotEntry, Timeline, TimelineChange } from '../model/timeline.ts'
import type { Plan } from '../restore/plan.ts'
import { type ReplaySources, replayStored } from '../restore/replay.ts'
import { SnapshotWriter } from '../restore/snapshot-writer.ts'

/**
 * The change that enters a snapshot, which was begun when the ledger had `began` entries. Errors: `ERASURE_RACED` where
 * a record was erased since: the snapshot may hold it.
 */
export function addUnerased({ erasures }: Timeline, began: number, entry: SnapshotEntry): TimelineChange {
  if (erasures.length === began) return { addSnapshots: [entry] }
  throw new TidemarkError('ERASURE_RACED', 'A record was erased while the snapshot was made, so it was discarded.', {
    hint: 'Make the snapshot again: `tidemark snapshot`.',
  })
}

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
  const began = timeline.timeline.erasures.length
  const prefix = snapshotPrefix(ulid, nonce())
  const writer = new SnapshotWriter({ store: sources.store, prefix, ulid, database })
  for await (const batch of replayStored(sources, plan, {})) await writer.add(batch)
  const except = plan.except.map(({ acknowledged: _, ...gap }) => gap)
  const written = await writer.finish()
  const entry: SnapshotEntry = {
    ulid,
    consistentFrom: ulid,
    prefix,
    ...written,
    ...(except.length === 0 ? {} : { except }),
  }
  const now = await timeline.commit((present) => addUnerased(present, began, entry))
  return now.snapshots.find((snapshot) => snapshot.ulid === ulid) ?? entry
}
