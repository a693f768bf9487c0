import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../../src/base/clock.ts'
import { createLogger } from '../../src/base/log.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import type { TidemarkOptions } from '../../src/engine/tidemark-options.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { ModelDatabase, recordImage } from './model-database.ts'

export const HOUR = 3_600_000
export const DAY: number = 24 * HOUR
export const BEGIN: number = Date.UTC(2026, 0, 1)

/** A clock that stands, but for what is told. */
export class SetClock implements Clock {
  #ms = BEGIN
  now(): number {
    this.#ms += 0.01
    return this.#ms
  }

  set(ms: number): void {
    this.#ms = ms
  }

  async sleep(): Promise<void> {}

  readonly #waiting = new Set<{ readonly ms: number; readonly end: () => void }>()

  idle(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const one = { ms, end: resolve }
      this.#waiting.add(one)
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
  }

  /** Ends every wait of this length. */
  ring(ms: number): void {
    for (const one of this.#waiting) {
      if (one.ms !== ms) continue
      this.#waiting.delete(one)
      one.end()
    }
  }
}

/** A real engine over a store in memory, in which days pass at once: one record, which is the number of its write. */
export class KeptHistory {
  readonly clock: SetClock = new SetClock()
  readonly objects: ObjectStore
  readonly #directory = mkdtempSync(join(tmpdir(), 'kept-'))
  readonly #database = new ModelDatabase()
  /** By millisecond, ascending: what the record was from then on. */
  readonly states: { readonly at: number; readonly n: number }[] = []
  #tidemark: Tidemark | null = null
  #n = 0

  constructor(objects: ObjectStore = new MemoryStore()) {
    this.objects = objects
  }

  get tidemark(): Tidemark {
    if (this.#tidemark === null) throw new Error('begin first')
    return this.#tidemark
  }

  async begin(more: Partial<TidemarkOptions> = {}): Promise<void> {
    const store = { url: 'own://store', objects: this.objects }
    const options = { store, journal: `${this.#directory}/journal`, logger: createLogger('silent'), ...more }
    this.#tidemark = await Tidemark.capture({ ...options, source: this.#database }, this.clock)
    await this.tidemark.flush()
  }

  /** One write in the store. */
  async write(at: number): Promise<void> {
    this.clock.set(at)
    const n = ++this.#n
    await this.#database.write({ kind: 'record', resource: 'r', id: 'one' }, recordImage({ n }))
    this.states.push({ at, n })
    await this.tidemark.flush()
  }

  /** Days of a write each six hours, and a snapshot at the end of each day. */
  async days(first: number, last: number): Promise<void> {
    for (let day = first; day <= last; day++) {
      for (const hour of [3, 9, 15, 21]) await this.write(BEGIN + day * DAY + hour * HOUR)
      this.clock.set(BEGIN + day * DAY + 22 * HOUR)
      await this.tidemark.snapshot()
    }
  }

  /** What the record was; null: it was not there yet. */
  expected(at: number): number | null {
    return this.states.findLast((state) => state.at <= at)?.n ?? null
  }

  /** What a restore of the moment shows, or the code and the message of the error. */
  async shown(at: number | string): Promise<number | null | { code: string; message: string; hint: string }> {
    try {
      const found = await this.tidemark.at(at).get('r', 'one')
      return found === null ? null : Number(found.n)
    } catch (error) {
      const { code, message, hint } = error as { code: string; message: string; hint: string }
      return { code, message, hint }
    }
  }

  async keys(): Promise<readonly string[]> {
    const keys: string[] = []
    for await (const { key } of this.objects.list('')) keys.push(key)
    return keys
  }

  async end(): Promise<void> {
    await this.#tidemark?.close()
    rmSync(this.#directory, { recursive: true, force: true })
  }
}
