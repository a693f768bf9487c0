import type { Item } from '../model/event.ts'
import type { Comparison } from '../restore/difference.ts'
import type { ConflictRule, Difference, OnConflict } from '../restore/target.ts'

/** Items that others have written since a restore in place began. */
export interface Conflicts {
  readonly outcome: 'kept' | 'overwritten'
  readonly count: number
  /** The first 1,000. */
  readonly items: readonly Item[]
}

/** Items that are named in a result. */
export const MOST_NAMED = 1000

/** What others have written since the restore began. */
export class ConflictList implements ConflictRule {
  readonly onConflict: OnConflict
  /** The last batch of them. */
  readonly newer: Set<Difference> = new Set()
  readonly #told = new WeakSet<Difference>()
  readonly #items: Item[] = []
  #count = 0

  constructor(onConflict: OnConflict) {
    this.onConflict = onConflict
  }

  readonly tell = (difference: Difference): void => {
    const { kind, resource, id } = difference
    this.newer.add(difference)
    // The history and the target may both know of it.
    if (this.#told.has(difference)) return
    this.#told.add(difference)
    if (this.#count++ < MOST_NAMED) this.#items.push({ kind, resource, id })
  }

  /** What of a batch is, or was, to be written; the next batch begins after it. */
  restored({ differences, unchanged }: Comparison): Comparison {
    const rest = this.onConflict === 'keep' ? differences.filter((one) => !this.newer.has(one)) : differences
    this.newer.clear()
    return { differences: rest, unchanged }
  }

  get told(): Conflicts {
    return { outcome: this.onConflict === 'keep' ? 'kept' : 'overwritten', count: this.#count, items: this.#items }
  }
}
