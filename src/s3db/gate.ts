import type { TidemarkError } from '../base/errors.ts'
import type { Sink, Write } from '../capture/source.ts'
import type { Context, Item } from '../model/event.ts'

/**
 * Where the writes of a client go: held until there is a capture, handed on to it, or refused before they touch the
 * database. No write passes by. It is made holding.
 */
export class Gate implements Sink {
  #sink: Sink | null = null
  #refusal: TidemarkError | null = null
  #held: (() => void)[] = []

  capture<T>(items: readonly Item[], context: Context, write: Write<T>): Promise<T> {
    return this.#sink === null ? this.#hold(items, context, write) : this.#sink.capture(items, context, write)
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
    return this.#sink.capture(items, context, write)
  }

  #decided(): void {
    const held = this.#held
    this.#held = []
    for (const resolve of held) resolve()
  }
}
