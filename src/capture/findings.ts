import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { type Finding, findingKind } from '../model/found.ts'
import type { Ulid } from '../model/ulid.ts'

/** What is needed to tell of findings. */
export interface FindingsSeams {
  readonly clock: Clock
  readonly log: Logger
  /** Whether no other stream can hold an event after `ulid`, as the store has it now. */
  readonly aloneSince: (ulid: Ulid) => Promise<boolean>
}

/** How many writes that were not captured have been found, and when the last one was; times are RFC 3339. */
export interface FindingCount {
  readonly count: number
  readonly last: string | null
}

/** Tells everybody who asked of what was found, once its event is durable. */
export class Findings {
  readonly #seams: FindingsSeams
  readonly #listeners = new Set<(finding: Finding) => void>()
  #count = 0
  #last: string | null = null

  constructor(seams: FindingsSeams) {
    this.#seams = seams
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

  /**
   * Tells of a finding, unless the store says that another process was there after all: one that began on another machine since
   * the timeline was read last. Nobody waits for it. Where the store cannot be asked, what is known here counts.
   */
  async confirm(finding: Finding): Promise<void> {
    const { aloneSince, log } = this.#seams
    const { kind, resource, id, interval } = finding
    try {
      if (await aloneSince(interval.after)) return this.raise(finding)
      log.info({ kind, resource, id, ...interval }, 'What was found may have been written by another process.')
    } catch (error) {
      log.warn(
        { kind, resource, id, error: messageOf(error) },
        'Whether another process wrote this cannot be asked of the store now.',
      )
      this.raise(finding)
    }
  }

  /** Tells of a finding. */
  raise(finding: Finding): void {
    const { clock, log } = this.#seams
    const { kind, resource, id, interval } = finding
    this.#count++
    this.#last = new Date(clock.now()).toISOString()
    log.warn(
      { kind, resource, id, difference: findingKind(finding), ...interval },
      'A write that was not captured was found: its event is in the history, with the interval in which it happened.',
    )
    for (const listener of this.#listeners) this.#tell(listener, finding)
  }

  /** A listener that throws does no harm to the write that found something, nor to the other listeners. */
  #tell(listener: (finding: Finding) => void, finding: Finding): void {
    try {
      listener(finding)
    } catch (error) {
      this.#seams.log.error({ error: messageOf(error) }, 'A listener of findings threw.')
    }
  }
}
