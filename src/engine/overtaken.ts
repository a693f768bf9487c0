import { OBSERVED } from '../capture/settlement.ts'
import { type Event, type Item, sameImage } from '../model/event.ts'
import type { SegmentEntry } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import { findEvents, findVersion } from '../restore/lookup.ts'
import type { Plan } from '../restore/plan.ts'
import { replayChanges } from '../restore/replay.ts'
import type { Difference, Selection } from '../restore/target.ts'
import { type Archive, END } from './archive.ts'

/** A restore in place that has written everything. */
export interface Written {
  readonly plan: Plan
  readonly selection: Selection
  /** Before its first write. */
  readonly since: Ulid
}

/**
 * What other processes have written just before the restore did, and after it had read the item under its own lock, which is
 * none of theirs: it has overwritten that without seeing it. The history has both writes, and tells by what each of
 * them found. Gives what is there now, and what they wrote. A write that is not acknowledged by now is not seen; of a database
 * that this process does not capture nothing is known.
 */
export async function* overtaken(
  archive: Archive,
  { plan, selection, since }: Written,
): AsyncGenerator<readonly Difference[]> {
  const { sources, seams } = archive
  if (seams.own === null) return
  const { stream } = seams.own
  const segments = await archive.segmentsSince(since)
  // A run may have events of both.
  const others = segments.filter((segment) => 'run' in segment || segment.stream !== stream)
  for await (const batch of replayChanges(sources, others, since, END, selection)) {
    const found: Difference[] = []
    for (const item of batch) {
      const unseen = await unseenOf(archive, segments, item, { stream, since })
      if (unseen === null) continue
      const wanted = await findVersion(sources, plan, item)
      // What this process has written beside the restore is no matter of the restore.
      if (sameImage(wanted?.image ?? null, unseen.before)) found.push(unseen)
    }
    if (found.length > 0) yield found
  }
}

/** What others wrote and a write of this process replaced that had found something else; null where there is nothing. */
async function unseenOf(
  { sources }: Archive,
  segments: readonly SegmentEntry[],
  { kind, resource, id }: Item,
  { stream, since }: { readonly stream: string; readonly since: Ulid },
): Promise<Difference | null> {
  let theirs: Event | null = null
  let ours: Event | null = null
  let last: Event | null = null
  for await (const event of findEvents(sources, segments, { kind, resource, id })) {
    if (event.stamp.ulid <= since) continue
    last = event
    if (event.context.metadata === OBSERVED.metadata) continue
    if (event.stamp.stream === stream) ours = event
    else theirs = event
  }
  if (theirs === null || ours === null || last === null) return null
  const isThere = sameImage(last.after, ours.after) && !sameImage(ours.after, theirs.after)
  if (!isThere || sameImage(ours.before, theirs.after)) return null
  return { kind, resource, id, before: last.after, after: theirs.after }
}
