import { setImmediate } from 'node:timers/promises'
import type { Body, ByteRange, ListOptions, ObjectInfo, ObjectStore, PutOptions } from '../../src/store/object-store.ts'

/** What an actor sees whose process is gone. */
export class Gone extends Error {}

interface Waiting {
  readonly actor: string
  readonly go: (isGone: boolean) => void
}

/**
 * Who calls a store waits for a turn before the call and after it, so that a seed decides in which order the calls of several
 * processes come to pass, who sleeps for how long between any two, and whose answer is never heard.
 */
export class Turns {
  readonly #next: () => number
  readonly #crashes: number
  readonly #waiting: Waiting[] = []
  readonly #asleep = new Map<string, number>()
  #running = 0

  /** `crashes`: how likely it is at each turn that the process ends there. */
  constructor(next: () => number, crashes: number) {
    this.#next = next
    this.#crashes = crashes
  }

  /** Runs a process to its end; what it throws because it is gone is no error. */
  async run(act: () => Promise<void>): Promise<void> {
    this.#running++
    try {
      await act()
    } catch (error) {
      if (!(error instanceof Gone)) throw error
    } finally {
      this.#running--
    }
  }

  turn(actor: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ actor, go: (isGone) => (isGone ? reject(new Gone()) : resolve()) })
    })
  }

  /** Gives turns until every process has ended. */
  async drive(): Promise<void> {
    while (this.#running > 0) {
      for (let quiet = 0; quiet < 4; quiet++) await setImmediate()
      const awake = this.#waiting.filter(({ actor }) => (this.#asleep.get(actor) ?? 0) <= 0)
      for (const [actor, turns] of this.#asleep) this.#asleep.set(actor, turns - 1)
      const from = awake.length > 0 ? awake : this.#waiting
      const one = from[Math.floor(this.#next() * from.length)]
      if (one === undefined) continue
      this.#waiting.splice(this.#waiting.indexOf(one), 1)
      if (this.#next() < 0.02) this.#asleep.set(one.actor, Math.floor(this.#next() * 400))
      one.go(this.#next() < this.#crashes)
    }
  }
}

/** A store as one process sees it, whose calls come to pass in turns. */
export class TurnStore implements ObjectStore {
  readonly #inner: ObjectStore
  readonly #turns: Turns
  readonly #actor: string

  constructor(inner: ObjectStore, turns: Turns, actor: string) {
    this.#inner = inner
    this.#turns = turns
    this.#actor = actor
  }

  put(key: string, body: Body, options?: PutOptions): Promise<void> {
    return this.#inTurn(() => this.#inner.put(key, body, options))
  }

  get(key: string, range?: ByteRange): Promise<Uint8Array> {
    return this.#inTurn(() => this.#inner.get(key, range))
  }

  head(key: string): ReturnType<ObjectStore['head']> {
    return this.#inTurn(() => this.#inner.head(key))
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    const all: ObjectInfo[] = []
    await this.#inTurn(async () => {
      for await (const info of this.#inner.list(prefix, options)) all.push(info)
    })
    yield* all
  }

  delete(keys: readonly string[]): Promise<void> {
    return this.#inTurn(() => this.#inner.delete(keys))
  }

  async #inTurn<T>(call: () => Promise<T>): Promise<T> {
    await this.#turns.turn(this.#actor)
    try {
      return await call()
    } finally {
      await this.#turns.turn(this.#actor)
    }
  }
}
