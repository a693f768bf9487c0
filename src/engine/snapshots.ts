import type { Moment } from '../restore/moment.ts'
import { type TakenSnapshot, takeSnapshot } from '../upkeep/snapshot.ts'
import type { Archive } from './archive.ts'
import { checkOptions } from './options.ts'

/** Which snapshot is made. */
export interface TakeOptions {
  /** The moment that it is of, as for a restore. Default: the last reachable one, whether or not it is the latest. */
  readonly at?: Moment
}

/** Makes the snapshot of a moment from history. Errors: `OPTION_INVALID`, and those of `reach` and of the store. */
export async function snapshotOf(archive: Archive, options: TakeOptions): Promise<TakenSnapshot> {
  checkOptions('snapshot', options, ['at'])
  const { at } = options
  const { plan } = at === undefined ? await archive.reachLast() : await archive.reach(at)
  const { seams, sources } = archive
  return takeSnapshot(sources, seams.timeline, plan, seams.file.database)
}
