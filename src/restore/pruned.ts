import type { Gap } from '../model/gap.ts'
import type { PrunedRange } from '../model/pruned.ts'
import type { SnapshotEntry, Timeline } from '../model/timeline.ts'
import { previousUlid, type Ulid } from '../model/ulid.ts'

/** The last moment that can be made from a snapshot, as far as pruning goes; null where it is any. */
export function cutOffOf(pruned: readonly PrunedRange[] | undefined, { consistentFrom }: SnapshotEntry): Ulid | null {
  let first: Ulid | null = null
  for (const { from, through } of pruned ?? [])
    if (through >= consistentFrom && (first === null || from < first)) first = from
  return first === null ? null : previousUlid(first)
}

/** Whether events between a snapshot and a moment were pruned. */
export function isCutOff(pruned: readonly PrunedRange[] | undefined, snapshot: SnapshotEntry, moment: Ulid): boolean {
  const last = cutOffOf(pruned, snapshot)
  return last !== null && last < moment
}

/** What took a moment; null where it was not pruned. */
export function prunedAt(pruned: readonly PrunedRange[] | undefined, moment: Ulid): PrunedRange | null {
  return pruned?.find(({ from, through }) => from <= moment && moment <= through) ?? null
}

/** Whether a gap lies in what was pruned, and touches no state that can still be made: it is a part of what is gone. */
export function isPrunedGap({ pruned, snapshots }: Timeline, { afterUlid, beforeUlid }: Gap): boolean {
  if (pruned?.some(({ from, through }) => from <= beforeUlid && through >= afterUlid) !== true) return false
  return !snapshots.some((snapshot) => snapshot.ulid < beforeUlid && !isCutOff(pruned, snapshot, afterUlid))
}
