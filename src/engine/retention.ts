import type { Hold } from '../model/hold.ts'
import type { Mark } from '../model/mark.ts'
import type { Archive } from './archive.ts'
import { addHold, endHold, type HoldOptions } from './holds.ts'
import { type MarkOptions, putMark, removeMark } from './marks.ts'

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
}
