import { dirname } from 'node:path'
import { answeredIn, noteAnswer } from '../capture/answered.ts'
import type { OneClock } from '../capture/one-clock.ts'
import type { StoreFile } from '../format/store-file.ts'
import type { Timeline } from '../model/timeline.ts'
import { type Ulid, ulidTime } from '../model/ulid.ts'
import type { TimelineLog } from '../timeline/log.ts'
import type { OwnedStream } from './streams.ts'
import { journalDirectories, journalsOf } from './waiting-streams.ts'

/** What is told without a commit. */
interface Answering {
  readonly opened: { readonly file: Pick<StoreFile, 'id'> }
  readonly timeline: Pick<TimelineLog, 'timeline'>
}

/**
 * Whether it can be told without a commit that everything up to `through` is complete, of streams from which nothing more comes until
 * then: where whoever writes next learns of it all the same. It is noted in every journal directory, and all of them are
 * here, so nobody who goes on with one of them comes before it, whatever his clock says, nor does a process begin there
 * without the store unseen; who begins with a directory that nobody knows is on this machine, whose clock has passed it. On
 * any other store only a commit tells everybody. To be asked before the last look at the timeline. `oneClock`: of everybody who
 * can reach the store; null where others may have other clocks.
 */
export function answering(
  oneClock: OneClock | null,
  { opened, timeline }: Answering,
): (through: Ulid) => Promise<boolean> {
  return async (through) => oneClock !== null && canAnswer(oneClock, opened.file.id, timeline.timeline, through)
}

async function canAnswer(oneClock: OneClock, storeId: Ulid, timeline: Timeline, through: Ulid): Promise<boolean> {
  // Of what has its journal elsewhere, whoever opens it finds no note.
  if (timeline.streams.some((stream) => journalsOf(stream, storeId) === null)) return false
  if (!(await oneClock.passed(ulidTime(through)))) return false
  for (const directory of journalDirectories(timeline, storeId)) {
    if (!(await noteAnswer(directory, through))) return false
  }
  return true
}

/** Stamps behind everything that was answered. To be done when the entries of the streams are where others look, and before anything is stamped. */
export async function heedAnswers(opened: readonly OwnedStream[]): Promise<void> {
  for (const { entry, journal } of opened) {
    if (entry.journal.kind === 'disk') journal.advanceTo(await answeredIn(dirname(entry.journal.path)))
  }
}
