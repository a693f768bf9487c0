import type { Item } from '../model/event.ts'
import { compareItems } from '../model/order.ts'
import type { MergedItem } from './merge.ts'

/** Walks a sorted stream along with sorted questions. */
export class Lookahead {
  readonly #batches: AsyncIterator<readonly MergedItem[]>
  #batch: readonly MergedItem[] = []
  #index = 0
  #done = false

  constructor(batches: AsyncIterable<readonly MergedItem[]>) {
    this.#batches = batches[Symbol.asyncIterator]()
  }

  async find(item: Item): Promise<MergedItem | null> {
    for (;;) {
      const candidate = this.#batch[this.#index]
      if (candidate === undefined) {
        if (this.#done) return null
        const { done, value } = await this.#batches.next()
        this.#done = done === true
        this.#batch = this.#done ? [] : value
        this.#index = 0
        continue
      }
      const order = compareItems(candidate, item)
      if (order === 0) return candidate
      if (order > 0) return null
      this.#index++
    }
  }

  async close(): Promise<void> {
    await this.#batches.return?.()
  }
}
