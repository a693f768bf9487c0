import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/log.ts'
import { type Finding, findingKind } from '../model/found.ts'

/** How many writes that were not captured have been found, and when the last one was; times are RFC 3339. */
export interface FindingCount {
  readonly count: number
  readonly last: string | null
}

/** Tells everybody who asked of what was found, once its event is durable. */
export class Findings {
  readonly #clock: Clock
  readonly #log: Logger
  readonly #listeners = new Set<(finding: Finding) => void>()
  #count = 0
  #last: string | null = null

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock
    this.#log = log
  }

  /** Since the capture began. */
  get count(): FindingCount {
    return { count: this.#count, last: this.#last }
  }

  /** Calls `listener` with each finding from now on; returns what ends that. */
  listen(listener: (finding: Finding) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  raise(finding: Finding): void {
    this.#count++
    this.#last = new Date(this.#clock.now()).toISOString()
    const { kind, resource, id, interval } = finding
    this.#log.warn(
      { kind, resource, id, difference: findingKind(finding), ...interval },
      'A write that was not captured was found: its event is in the history, with the interval in which it happened.',
    )
    for (const listener of this.#listeners) listener(finding)
  }
}
