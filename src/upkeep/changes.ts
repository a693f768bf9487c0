import type { StampedItem } from '../restore/merge.ts'

/** What events left behind, one item after the other. */
export class Changes {
  readonly #batches: AsyncGenerator<readonly StampedItem[]>
  #batch: readonly StampedItem[] = []
  #at = 0
  #isEnded = false

  constructor(batches: AsyncGenerator<readonly StampedItem[]>) {
    this.#batches = batches
  }

  /** The next one, as far as it is known without waiting: null at the end, absent where `next` has to be asked. */
  get known(): StampedItem | null | undefined {
    return this.#batch[this.#at] ?? (this.#isEnded ? null : undefined)
  }

  /** The next one, which stays the next one; null at the end. */
  async next(): Promise<StampedItem | null> {
    while (this.known === undefined) {
      this.#batch = []
      this.#at = 0
      const { done, value } = await this.#batches.next()
      if (done === true) this.#isEnded = true
      else this.#batch = value
    }
    return this.known
  }

  /** Goes on to the one behind it. */
  pass(): void {
    this.#at++
  }

  async close(): Promise<void> {
    await this.#batches.return(undefined)
  }
}
