import type { Clock } from '../../base/clock.ts'
import { durationText } from '../format.ts'
import { type Paint, painter, type Terminal, writeLines } from '../terminal.ts'

/** What a step did and how long it took. */
export interface DemoStep {
  readonly name: string
  readonly text: string
  readonly ms: number
}

const NAME_WIDTH = 10
const TEXT_WIDTH = 84

/** Tells the story as it happens: a line per step, with its time. Says nothing where the result is to be JSON. */
export class Narrator {
  readonly steps: DemoStep[] = []
  readonly paint: Paint
  readonly #terminal: Terminal
  readonly #clock: Clock
  readonly #silent: boolean

  constructor(terminal: Terminal, clock: Clock, silent: boolean) {
    this.#terminal = terminal
    this.#clock = clock
    this.#silent = silent
    this.paint = painter(terminal.out, terminal)
  }

  /** Does one step and times it; `tell` puts what came of it in one line. */
  async step<T>(name: string, work: () => Promise<T>, tell: (result: T) => string): Promise<T> {
    const startedAt = this.#clock.now()
    const result = await work()
    const ms = this.#clock.now() - startedAt
    const text = tell(result)
    this.steps.push({ name, text, ms: Math.round(ms) })
    const number = String(this.steps.length).padStart(2)
    const cells = `${number}  ${this.paint('bold', name.padEnd(NAME_WIDTH))}${text.padEnd(TEXT_WIDTH)}`
    await this.say([`${cells}${durationText(ms).padStart(8)}`])
    return result
  }

  /** Lines between the steps. */
  async say(lines: readonly string[]): Promise<void> {
    if (!this.#silent) await writeLines(this.#terminal.out, lines)
  }
}

/** Moves lines under the step they belong to. */
export function indented(lines: readonly string[]): string[] {
  return lines.map((line) => (line === '' ? '' : `    ${line}`))
}
