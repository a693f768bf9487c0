import { type ChildProcess, spawn } from 'node:child_process'
import { watch } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { EXIT_CODES } from '../../src/cli/exit-codes.ts'
import { BIN, jsonLines, ROOT, type Run, script } from '../support/cli.ts'
import { fileBytes } from '../support/s3db.ts'
import type { SoakPlacesParts } from '../support/soak-places.ts'
import type { Tally } from './campaign.ts'

const PLACES = fileURLToPath(new URL('../support/soak-places.ts', import.meta.url))
/** Whatever is away is back by then, on a slow machine. */
const PATIENCE_MS = 240_000
/** A restore of these records changes about so many files. */
const CHANGES = 120

/** What the restores of a soak work with. */
export interface SoakRestoreSeams {
  readonly places: Omit<SoakPlacesParts, 'seed'>
  readonly env: Record<string, string>
  readonly tally: Tally
  readonly next: () => number
  /** Runs a command to its end. */
  readonly command: (...args: string[]) => Promise<Run>
}

/** What the database holds of these records, with the references of their partitions: every byte, by key. */
type Held = Readonly<Record<string, string>>

/**
 * Restores one resource in place, beside writers of the same database: killed, and gone on with or taken back. The end has to
 * be what the database held at that moment, byte for byte.
 */
export class SoakRestores {
  readonly #seams: SoakRestoreSeams
  #scenes = 0

  constructor(seams: SoakRestoreSeams) {
    this.#seams = seams
  }

  /** One restore, from the changes that it undoes to its end. */
  async round(): Promise<void> {
    const { next, tally } = this.#seams
    const then = await this.#scene()
    // Whatever is pruned until it comes to that.
    const mark = `scene-${this.#scenes}`
    await this.#eventually(['mark', mark, '--at', String(then.moment)])
    const now = await this.#scene()
    const there = this.#restore(mark)
    for (let kills = Math.floor(next() * 3); kills > 0; kills--)
      await this.#kill(there, 1 + Math.floor(next() * CHANGES))
    const begun = await this.#unfinished()
    const isTakenBack = begun !== null && next() < 0.4
    await this.#eventually(isTakenBack ? this.#restore(`before:${begun}`) : there)
    tally.add(isTakenBack ? 'restores taken back' : begun === null ? 'restores' : 'restores gone on with')
    if ((await this.#unfinished()) !== null) throw new Error('a restore in place has ended and is not finished')
    this.#compare(await this.#held(), isTakenBack ? now.held : then.held)
    await this.#eventually(['mark', 'remove', mark])
  }

  /** Where the records are. */
  get #directory(): string {
    return join(this.#seams.places.database.slice('file://'.length), 'resource=places')
  }

  #restore(to: string): readonly string[] {
    const { database, journal } = this.#seams.places
    return [
      'restore',
      '--to',
      to,
      '--target',
      database,
      '--resource',
      'places',
      '--journal',
      journal,
      '--in-place',
      '--yes',
    ]
  }

  /** Changes the records; gives the moment after it, and what is there then. */
  async #scene(): Promise<{ readonly moment: number; readonly held: Held }> {
    const { places, env, tally } = this.#seams
    const parts: SoakPlacesParts = { ...places, seed: ++this.#scenes }
    const { code, out, err } = await script(ROOT, PLACES, [JSON.stringify(parts)], env)
    if (code !== 0) throw new Error(`the records are not changed, it ended with ${code}: ${out} ${err}`)
    tally.add('changes to restore')
    return { moment: Number(out), held: await this.#held() }
  }

  async #held(): Promise<Held> {
    const found = await fileBytes(this.#directory)
    return Object.fromEntries(
      [...found].map(([key, { body, metadata, contentType }]) => {
        return [key, JSON.stringify([Buffer.from(body).toString(), Object.entries(metadata).sort(), contentType])]
      }),
    )
  }

  /** Kills a restore when so many files of the records have changed, if it lives so long. */
  async #kill(args: readonly string[], changes: number): Promise<void> {
    const { env, tally } = this.#seams
    const child: ChildProcess = spawn(process.execPath, [BIN, ...args], {
      env: { ...process.env, ...env },
      stdio: 'ignore',
    })
    let seen = 0
    const watcher = watch(this.#directory, { recursive: true }, () => {
      if (++seen === changes) child.kill('SIGKILL')
    })
    await new Promise((resolve) => child.once('exit', resolve))
    watcher.close()
    if (child.signalCode === 'SIGKILL') tally.add('restores killed')
  }

  /** The stamp at which the restore in place began that is not finished. */
  async #unfinished(): Promise<string | null> {
    const [status] = jsonLines((await this.#eventually(['status', '--json'])).out)
    const epochs = Object.values(status?.epochs ?? {})
    const [first] = epochs.flatMap(({ startedAt, restoring }) => (restoring === undefined ? [] : [String(startedAt)]))
    return first ?? null
  }

  /** Until the store is back, and who was asked and died has been replaced. */
  async #eventually(args: readonly string[]): Promise<Run> {
    const until = performance.now() + PATIENCE_MS
    for (;;) {
      const run = await this.#seams.command(...args)
      if (run.code === EXIT_CODES.ok[0]) return run
      // A moment is out of reach until somebody has taken over the stream of whoever was killed then.
      const isWaiting =
        [EXIT_CODES.unavailable[0], EXIT_CODES.stalled[0]].includes(run.code) || run.err.includes('MOMENT_UNREACHABLE')
      if (!isWaiting || performance.now() > until) {
        throw new Error(
          `tidemark ${args.join(' ')} ended with ${run.code}: ${run.out.slice(-1500)} ${run.err.slice(-1500)}`,
        )
      }
      await sleep(500)
    }
  }

  #compare(held: Held, expected: Held): void {
    const keys = [...new Set([...Object.keys(held), ...Object.keys(expected)])]
    const differing = keys.filter((key) => held[key] !== expected[key])
    const [key] = differing
    if (key === undefined) return
    throw new Error(
      `after a restore in place ${differing.length} objects are not what they were, ${key} is ${held[key]}, not ${expected[key]}`,
    )
  }
}
