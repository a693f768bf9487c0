import type { Item } from '../model/event.ts'
import type { Journal } from './journal.ts'
import type { OpenIntent } from './journal-recovery.ts'
import { nameOf } from './locks.ts'

/** A write of which it is not known whether it happened; its intent is 0 where the journal holds none. */
interface Doubt {
  readonly journal: Journal
  readonly intent: OpenIntent
  readonly resolved: () => void
}

/**
 * Writes of which it is not known whether they happened: a crash came between, or they failed and the database could
 * not be read. Until it can, their journals call nothing complete that comes after.
 */
export class Undecided {
  readonly #doubts = new Map<string, Doubt[]>()

  add(journal: Journal, intent: OpenIntent): void {
    const name = nameOf(intent.item)
    const doubts = this.#doubts.get(name) ?? []
    doubts.push({ journal, intent, resolved: journal.doubt() })
    this.#doubts.set(name, doubts)
  }

  get isEmpty(): boolean {
    return this.#doubts.size === 0
  }

  /** What they may have written. */
  get items(): readonly Item[] {
    return [...this.#doubts.values()].flatMap(([first]) => (first === undefined ? [] : [first.intent.item]))
  }

  /** Settles those of an item, the oldest first, under its lock. What fails, and what is behind it, stays. */
  async settle(item: Item, settle: (journal: Journal, intent: OpenIntent) => Promise<void>): Promise<void> {
    const name = nameOf(item)
    const doubts = this.#doubts.get(name)
    if (doubts === undefined) return
    for (let [first] = doubts; first !== undefined; [first] = doubts) {
      await settle(first.journal, first.intent)
      first.resolved()
      doubts.shift()
    }
    this.#doubts.delete(name)
  }
}
