import { hasCode, isMissing } from '../../base/errors.ts'
import type { Timeline } from '../../model/timeline.ts'
import type { ObjectStore } from '../../store/object-store.ts'
import { TimelineLog } from '../../timeline/log.ts'

/** The timeline as it is by now, while an older one is verified: asked only where a file of that one is missing. */
export class Present {
  readonly #store: ObjectStore
  #timeline: Timeline
  #log: TimelineLog | null = null

  constructor(store: ObjectStore, verified: Timeline) {
    this.#store = store
    this.#timeline = verified
  }

  /** As of the last time that it was asked for; at first the one that is verified. */
  get timeline(): Timeline {
    return this.#timeline
  }

  /** Null where it cannot be read, or is not the one that is verified gone on with: then that one is all that is known. */
  async refresh(): Promise<Timeline | null> {
    try {
      if (this.#log === null) this.#log = await TimelineLog.open(this.#store)
      else await this.#log.refresh()
    } catch (error) {
      if (hasCode(error, 'TIMELINE_CORRUPT')) return null
      throw error
    }
    const { timeline } = this.#log
    if (timeline.generation < this.#timeline.generation) return null
    this.#timeline = timeline
    return timeline
  }

  /** Whether one of these nodes of the ledger is named by now, as far as anybody can say. */
  async needsLedger(keys: readonly string[]): Promise<boolean> {
    if ((await this.refresh()) === null || this.#log === null) return true
    const { nodes, leaves } = this.#log.present.ledger
    return keys.some((key) => leaves.has(key) || nodes.some((node) => node.key === key))
  }

  /** Whether a snapshot is named by now, as far as anybody can say. */
  async needsSnapshot(prefix: string): Promise<boolean> {
    const now = await this.refresh()
    return now === null || now.snapshots.some((snapshot) => snapshot.prefix === prefix)
  }
}

/** What was read; null where a file is missing, and need not be there any more. Errors: those of the reading. */
export async function unlessGone<T>(read: Promise<T>, isNeeded: () => Promise<boolean>): Promise<T | null> {
  try {
    return await read
  } catch (error) {
    if (isMissing(error) && !(await isNeeded())) return null
    throw error
  }
}
