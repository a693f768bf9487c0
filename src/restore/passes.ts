import type { ObjectStore } from '../store/object-store.ts'
import { mergeStamped } from './merge.ts'
import type { Run } from './run.ts'
import { spillRun } from './spill.ts'

/** Fewer are not merged into one: a pass must leave less than it takes. */
const LEAST_RUNS = 2

/**
 * Merges runs into fewer ones, over scratch space, as far as the memory for the last merge demands: all of it is for runs as
 * they come, and after the first pass half, the other half for what passes left. Each row is written once for each level of
 * passes, of which there are as many as the logarithm of the number of runs.
 */
export class Passes {
  readonly #scratch: () => ObjectStore
  readonly #memory: number
  /** Runs as they came, then what one pass has made, then two. */
  readonly #levels: Run[][] = [[]]
  #passes = 0

  /** `memory`: bytes that the runs of `rest` may hold together, unless two of them hold more. */
  constructor(scratch: () => ObjectStore, memory: number) {
    this.#scratch = scratch
    this.#memory = memory
  }

  async add(run: Run): Promise<void> {
    const fresh = this.#level(0)
    const most = this.#passes === 0 ? this.#memory : this.#memory / 2
    if (fresh.length >= LEAST_RUNS && bytesOf(fresh) + run.bytes > most) await this.#pass(0)
    this.#level(0).push(run)
  }

  /** What is left to be merged. */
  get rest(): readonly Run[] {
    return this.#levels.flat()
  }

  /** Makes one run of those of a level, and then of those of the level above that holds the most, where these hold too much. */
  async #pass(level: number): Promise<void> {
    const runs = this.#levels[level] ?? []
    this.#levels[level] = []
    const made = await spillRun(this.#scratch(), `pass-${this.#passes++}`, mergeStamped(runs))
    this.#level(level + 1).push(made)
    const above = this.#levels.slice(1)
    if (bytesOf(above.flat()) <= this.#memory / 2) return
    // Where each level has one run there is nothing to gain: they are few, and hold a part each.
    let next = -1
    for (const [at, others] of above.entries()) {
      const isMore = next < 0 || bytesOf(others) > bytesOf(above[next] ?? [])
      if (others.length >= LEAST_RUNS && isMore) next = at
    }
    if (next >= 0) await this.#pass(next + 1)
  }

  #level(level: number): Run[] {
    const runs = this.#levels[level] ?? []
    this.#levels[level] = runs
    return runs
  }
}

function bytesOf(runs: readonly Run[]): number {
  return runs.reduce((sum, { bytes }) => sum + bytes, 0)
}
