import { type Item, imageBytes, sameImage } from '../model/event.ts'
import { compareItems } from '../model/order.ts'
import type { Difference, ItemState } from './target.ts'

/** Two streams of states compared so far. */
export interface Comparison {
  readonly differences: readonly Difference[]
  /** Items that are the same in both. */
  readonly unchanged: number
}

/** Differences that are handed on at once, and bytes of their images. */
const BATCH = 500
const BATCH_BYTES = 4 * 1024 * 1024

/**
 * What makes `current` into `wanted`. Both must be in the order of `compareItems`; neither is held in memory.
 */
export async function* compareStates(
  current: AsyncIterable<readonly ItemState[]>,
  wanted: AsyncIterable<readonly ItemState[]>,
): AsyncGenerator<Comparison> {
  const left = new BatchReader(current)
  const right = new BatchReader(wanted)
  let differences: Difference[] = []
  let unchanged = 0
  let bytes = 0
  try {
    for (;;) {
      const before = left.peek() ?? ((await left.load()) ? left.peek() : null)
      const after = right.peek() ?? ((await right.load()) ? right.peek() : null)
      if (before === null && after === null) break
      const order = before === null ? 1 : after === null ? -1 : compareItems(before, after)
      if (order <= 0) left.take()
      if (order >= 0) right.take()
      const [had, has] = [order <= 0 ? before : null, order >= 0 ? after : null]
      if (sameImage(had?.image ?? null, has?.image ?? null)) unchanged++
      else {
        differences.push(difference(had, has))
        bytes += imageBytes(had?.image ?? null) + imageBytes(has?.image ?? null)
      }
      if (differences.length >= BATCH || unchanged >= BATCH || bytes >= BATCH_BYTES) {
        yield { differences, unchanged }
        differences = []
        unchanged = 0
        bytes = 0
      }
    }
  } finally {
    await left.close()
    await right.close()
  }
  if (differences.length > 0 || unchanged > 0) yield { differences, unchanged }
}

function difference(before: ItemState | null, after: ItemState | null): Difference {
  const { kind, resource, id } = (before ?? after) as Item
  return { kind, resource, id, before: before?.image ?? null, after: after?.image ?? null }
}

/** Reads a stream of batches item by item; only `load` is asynchronous, so that whole batches pass without waiting. */
class BatchReader {
  readonly #batches: AsyncIterator<readonly ItemState[]>
  #batch: readonly ItemState[] = []
  #index = 0

  constructor(batches: AsyncIterable<readonly ItemState[]>) {
    this.#batches = batches[Symbol.asyncIterator]()
  }

  peek(): ItemState | null {
    return this.#batch[this.#index] ?? null
  }

  take(): void {
    this.#index++
  }

  /** Fetches the next batch with anything in it; false at the end. */
  async load(): Promise<boolean> {
    for (;;) {
      this.#batch = [] // it is not kept while the next one is made
      const { done, value } = await this.#batches.next()
      if (done === true) return false
      if (value.length === 0) continue
      this.#batch = value
      this.#index = 0
      return true
    }
  }

  async close(): Promise<void> {
    await this.#batches.return?.()
  }
}
