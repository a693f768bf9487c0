import type { TidemarkError } from '../base/errors.ts'
import type { Sink, Write } from '../capture/source.ts'
import type { Context, Item } from '../model/event.ts'
import type { EarlyWrites } from './early-writes.ts'

/**
 * Where the writes of a client go: held until there is a capture, handed on to it, or refused before they touch the
 * database. No write passes by. It is made holding.
 */
export class Gate implements Sink {
  readonly #early: EarlyWrites
  #sink: Sink | null = null
  #refusal: TidemarkError | null = null
  #held: (() => void)[] = []

  /** `early` learns which answers of the client are to captured writes. */
  constructor(early: EarlyWrites) {
    this.#early = early
  }

  capture<T>(items: readonly Item[], context: Context, write: Write<T>): Promise<T> {
    const sink = this.#sink
    if (sink === null) return this.#hold(items, context, write)
    return this.#early.run(() => sink.capture(items, context, write))
  }

  /** Holds what comes from now on until one of the others is called. */
  hold(): void {
    this.#sink = null
    this.#refusal = null
  }

  /** Hands on what is held, in order, and what comes. */
  open(sink: Sink): void {
    this.#sink = sink
    this.#refusal = null
    this.#decided()
  }

  /** Refuses what is held and what comes with `error`. */
  refuse(error: TidemarkError): void {
    this.#sink = null
    this.#refusal = error
    this.#decided()
  }

  async #hold<T>(items: readonly Item[], context: Context, write: Write<T>): Promise<T> {
    while (this.#sink === null) {
      if (this.#refusal !== null) throw this.#refusal
      await new Promise<void>((resolve) => this.#held.push(resolve))
    }
    return this.capture(items, context, write)
  }

  #decided(): void {
    const held = this.#held
    this.#held = []
    for (const resolve of held) resolve()
  }
}
