import { setImmediate } from 'node:timers/promises'

/** A step that somebody is about to make. */
interface Step {
  readonly who: string
  readonly go: () => void
}

/**
 * Decides, from a seed, in which order the processes of a race make their steps: one at a time, any pause between any
 * two. A process that is killed makes no step any more, and nothing that it waits for ever comes.
 */
export class Schedule {
  readonly #next: () => number
  #waiting: Step[] = []
  readonly #dead = new Set<string>()
  /** Steps that were made: the only time that all processes share. */
  tick = 0

  constructor(next: () => number) {
    this.#next = next
  }

  /** Resolves when it is the turn of `who`. */
  step(who: string): Promise<void> {
    if (this.#dead.has(who)) return new Promise(() => {})
    return new Promise((go) => {
      this.#waiting.push({ who, go })
    })
  }

  kill(who: string): void {
    this.#dead.add(who)
    this.#waiting = this.#waiting.filter((step) => step.who !== who)
  }

  isDead(who: string): boolean {
    return this.#dead.has(who)
  }

  /** Lets `work` go on, step by step, until it is done; `between` is called before each step. */
  async run(work: Promise<unknown>, between: () => void = () => {}): Promise<void> {
    let isDone = false
    const end = (): void => {
      isDone = true
    }
    work.then(end, end)
    for (let idle = 0; ; ) {
      await setImmediate()
      if (isDone) break
      // Whoever was let go, and a group commit, takes a few turns to reach the next step.
      if (++idle < 3 && this.#next() < 0.9) continue
      if (this.#waiting.length === 0 && idle < 50) continue
      if (this.#waiting.length === 0) throw new Error('nobody can make a step, and the race is not over')
      idle = 0
      between()
      const [step] = this.#waiting.splice(Math.floor(this.#next() * this.#waiting.length), 1)
      this.tick++
      step?.go()
    }
    await work
  }
}
