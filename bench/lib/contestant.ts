import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { timed } from './timing.ts'

/** What one run of a contestant took, and the digest of its result, taken after the clock had stopped. */
export interface Lap {
  readonly ms: number
  readonly digest: string
}

/**
 * One way to do the work, in a process of its own: what the others leave on their heap costs it nothing, and its code
 * stays compiled from lap to lap.
 */
export class Contestant {
  readonly #process: ChildProcess

  /** Starts `node <script> --as <name> <...args>`, a script that calls `compete`. */
  constructor(script: string, name: string, args: readonly string[]) {
    this.#process = fork(script, ['--as', name, ...args], { execArgv: ['--max-old-space-size=8192'] })
  }

  async lap(): Promise<Lap> {
    const gone = once(this.#process, 'exit').then(([code]): never => {
      throw new Error(`a contestant ended with ${code}`)
    })
    this.#process.send('lap')
    const [answer] = await Promise.race([once(this.#process, 'message'), gone])
    return answer as Lap
  }

  close(): void {
    this.#process.disconnect()
  }
}

/** The other side of `Contestant`: answers every request with a lap. */
export function compete<T>(work: () => Promise<T>, digest: (result: T) => string): void {
  process.on('message', () => {
    timed(work).then(
      ({ ms, result }) => process.send?.({ ms, digest: digest(result) }),
      (error: unknown) => {
        console.error(error)
        process.exit(1)
      },
    )
  })
}
