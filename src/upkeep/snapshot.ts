import { nonce } from '../base/bytes.ts'
import { hasCode, TidemarkError } from '../base/errors.ts'
import { snapshotPrefix } from '../format/keys.ts'
import type { SnapshotEntry, Timeline, TimelineChange } from '../model/timeline.ts'
import type { Plan } from '../restore/plan.ts'
import { type ReplaySources, replayStored } from '../restore/replay.ts'
import { type SnapshotOptions, SnapshotWriter, type WrittenSnapshot } from '../restore/snapshot-writer.ts'
import type { TimelineLog } from '../timeline/log.ts'

/**
 * The change that enters a snapshot, which was begun when the ledger had `began` entries; null where it has been entered.
 * Errors: `ERASURE_RACED` where a record was erased since: the snapshot may hold it.
 */
export function addUnerased(
  { erasures, snapshots }: Timeline,
  began: number,
  entry: SnapshotEntry,
): TimelineChange | null {
  if (snapshots.some(({ prefix }) => prefix === entry.prefix)) return null
  if (erasures.length === began) return { addSnapshots: [entry] }
  throw new TidemarkError('ERASURE_RACED', 'A record was erased while the snapshot was made, so it was discarded.', {
    hint: 'Make the snapshot again: `tidemark snapshot`.',
  })
}

/**
 * Lets `work` write a snapshot and enter it. What failed for good before that, or was refused there, is taken out of the
 * store again: it can hold a record that was erased meanwhile. Who may not delete leaves it, and `verify` tells it then.
 */
export async function writeSnapshot<T>(
  options: SnapshotOptions,
  write: (writer: SnapshotWriter) => Promise<WrittenSnapshot>,
  enter: (written: WrittenSnapshot) => Promise<T>,
): Promise<T> {
  const writer = new SnapshotWriter(options)
  const discarding = async (error: unknown): Promise<never> => {
    await writer.close()
    // What went wrong is what is told; leftovers are told by a verification.
    await discard(options).catch(() => undefined)
    throw error
  }
  const written = await write(writer).catch(discarding)
  // A commit whose answer was lost may have been made: only a refusal says that it was not.
  return enter(written).catch((error: unknown) =>
    hasCode(error, 'ERASURE_RACED') ? discarding(error) : Promise.reject(error),
  )
}

async function discard({ store, prefix }: SnapshotOptions): Promise<void> {
  const keys: string[] = []
  for await (const { key } of store.list(prefix)) keys.push(key)
  await store.delete(keys)
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
  const write = async (writer: SnapshotWriter): Promise<WrittenSnapshot> => {
    for await (const batch of replayStored(sources, plan, {})) await writer.add(batch)
    return writer.finish()
  }
  const except = plan.except.map(({ acknowledged: _, ...gap }) => gap)
  const holes = except.length === 0 ? {} : { except }
  return writeSnapshot({ store: sources.store, prefix, ulid, database, ...holes }, write, async (written) => {
    const entry: SnapshotEntry = { ulid, consistentFrom: ulid, prefix, ...written, ...holes }
    const now = await timeline.commit((present) => addUnerased(present, began, entry))
    return now.snapshots.find((snapshot) => snapshot.ulid === ulid) ?? entry
  })
}
