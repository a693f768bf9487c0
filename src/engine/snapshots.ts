import type { Logger } from '../base/log.ts'
import type { Timeline } from '../model/timeline.ts'
import type { Moment } from '../restore/moment.ts'
import type { Job } from '../upkeep/schedule.ts'
import { type TakenSnapshot, takeSnapshot } from '../upkeep/snapshot.ts'
import { dueAfter, isStillAfter, isWorthwhile, type SnapshotPolicy } from '../upkeep/snapshot-due.ts'
import type { Archive } from './archive.ts'
import { checkOptions } from './options.ts'

/** How often it is looked whether one is due, milliseconds. */
const LOOK_MS = 5_000
/** After a failure that many looks are left out, twice as many each time: it costs what a snapshot costs. */
const MOST_LEFT_OUT = 720

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

/** What scheduled snapshots are made with. */
export interface SnapshotSeams {
  readonly archive: Archive
  /** Id of the stream that this process writes. */
  readonly stream: string
  readonly policy: SnapshotPolicy
  readonly log: Logger
}

/** Makes a snapshot whenever one is due. */
export class SnapshotJob implements Job {
  readonly name: string = 'snapshot'
  readonly everyMs: number
  readonly #seams: SnapshotSeams
  #failures = 0
  #leftOut = 0

  constructor(seams: SnapshotSeams) {
    this.#seams = seams
    this.everyMs = Math.min(LOOK_MS, seams.policy.everyMs ?? LOOK_MS)
  }

  async run(signal: AbortSignal): Promise<void> {
    if (this.#leftOut > 0) {
      this.#leftOut--
      return
    }
    try {
      await this.#makeDue(signal)
      this.#failures = 0
    } catch (error) {
      this.#leftOut = Math.min(MOST_LEFT_OUT, 2 ** this.#failures++)
      throw error
    }
  }

  async #makeDue(signal: AbortSignal): Promise<void> {
    const { archive, policy, stream, log } = this.#seams
    const { timeline, clock, file } = archive.seams
    const { sources } = archive
    const due = (): ReturnType<typeof dueAfter> =>
      dueAfter(sources.nodes, timeline.timeline, policy, { stream, nowMs: clock.now() })
    if ((await due()) === null) return
    // Another process may have made it.
    await timeline.refresh()
    const last = await due()
    if (last === null) return
    const { plan } = await archive.reachLast()
    if (plan.snapshot.ulid !== last.ulid || !isWorthwhile(plan, policy)) return
    const terms = { signal, isWanted: (present: Timeline) => isStillAfter(present, last) }
    const { ulid, isNew, carried, written } = await takeSnapshot(sources, timeline, plan, file.database, terms)
    if (isNew) log.info({ ulid, carried, written }, 'A snapshot was made.')
  }
}
