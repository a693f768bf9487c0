import { instantEnd, type Ulid } from '../model/ulid.ts'
import type { HeldIntent } from './journal-recovery.ts'

/** Up to which stamp it is known what happened to the writes of a journal. */
export class Certainty {
  readonly #doubts = new Set<{ readonly since: Ulid }>()
  /** Intents that the log held when it was opened, with the last stamp before each. */
  readonly #leftOpen: ReadonlyMap<number, Ulid>

  constructor(open: ReadonlyMap<number, HeldIntent>) {
    this.#leftOpen = new Map([...open].map(([id, { through }]) => [id, instantEnd(through)]))
  }

  /** From `since`, a stamp after all so far, it is not known whether a write happened, until what this returns is called. */
  doubt(since: Ulid): () => void {
    const doubt = { since }
    this.#doubts.add(doubt)
    return () => this.#doubts.delete(doubt)
  }

  /**
   * Behind this stamp it is not known what happened; null where there is no doubt. A process that ended between an intent
   * and its outcome may have changed the database: nothing behind the last stamp before the intent is certain while it is
   * among those that are `open`.
   */
  through(open: Pick<ReadonlyMap<number, unknown>, 'has'>): Ulid | null {
    const [oldest] = this.#doubts // stamps grow
    let certain = oldest?.since ?? null
    for (const [intent, since] of this.#leftOpen) {
      if (open.has(intent) && (certain === null || since < certain)) certain = since
    }
    return certain
  }
}
