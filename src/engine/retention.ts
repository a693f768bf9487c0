import type { Hold } from '../model/hold.ts'
import type { Mark } from '../model/mark.ts'
import type { PrunedRange } from '../model/pruned.ts'
import { type Ulid, ulidTime } from '../model/ulid.ts'
import type { Archive } from './archive.ts'
import { addHold, endHold, type HoldOptions } from './holds.ts'
import { type MarkOptions, putMark, removeMark } from './marks.ts'
import { type PruneOptions, type PruneReport, pruneArchive } from './prune.ts'

/** Moments that were pruned, with their times. */
export interface PrunedReport extends PrunedRange {
  readonly interval: { readonly from: string; readonly to: string }
}

function prunedReport(range: PrunedRange): PrunedReport {
  return { ...range, interval: { from: timeOf(range.from), to: timeOf(range.through) } }
}

function timeOf(ulid: Ulid): string {
  return new Date(ulidTime(ulid)).toISOString()
}

/** What of a history is kept, and what may go. Which marks and holds there are, `status` tells. */
export class Retention {
  readonly #archive: Archive

  constructor(archive: Archive) {
    this.#archive = archive
  }

  /**
   * Gives a moment a name: usable wherever a moment is, and kept until it is removed. Errors: those of a moment;
   * `OPTION_INVALID` for what is no name, `MARK_EXISTS`.
   */
  mark(name: string, options: MarkOptions = {}): Promise<Mark> {
    return putMark(this.#archive, name, options)
  }

  /** Removes a mark. Errors: `MARK_NOT_FOUND`. */
  unmark(name: string): Promise<void> {
    return removeMark(this.#archive, name)
  }

  /** Keeps moments reachable, whatever the policy says. Errors: those of a moment; `OPTION_INVALID`. */
  hold(options: HoldOptions): Promise<Hold> {
    return addHold(this.#archive, options)
  }

  /** Ends a hold. Errors: `HOLD_NOT_FOUND`. */
  release(id: string): Promise<void> {
    return endHold(this.#archive, id)
  }

  /** Moments that were pruned, and with them the events that are not in the history any more. Times are RFC 3339. */
  async pruned(): Promise<readonly PrunedReport[]> {
    const { timeline } = await this.#archive.refresh()
    return (timeline.pruned ?? []).map(prunedReport)
  }

  /**
   * Takes out of the history what no promise needs, and deletes it after a grace; tells only what would go where it is not
   * confirmed. Promised are the policy, marks and holds, and always the newest whole snapshot with everything behind it.
   * Errors: `OPTION_INVALID`, `RETENTION_PAUSED` since a repair, and those of the store.
   */
  prune(options: PruneOptions): Promise<PruneReport> {
    return pruneArchive(this.#archive, options)
  }
}
