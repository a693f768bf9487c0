import { type Clock, systemClock } from '../../src/base/clock.ts'
import type { Sink, Source } from '../../src/capture/source.ts'
import { type Context, fingerprint, type Image, type Item, NO_CONTEXT } from '../../src/model/event.ts'
import { compareItems } from '../../src/model/order.ts'
import type { ItemState, Target } from '../../src/restore/target.ts'

/** A write as it was done; the writes of one stream have the sequences 1, 2, 3 … in the order of this list. */
export interface Written extends Item {
  readonly before: Image | null
  readonly after: Image | null
  readonly context: Context
}

/** What becomes of a write in the database. */
export type Fate = 'done' | 'refused' | 'done, then silence' | 'silence'

/** A database in memory that tells what was written, so that what a store must hold is known without reading it. */
export class VectorDatabase implements Source {
  readonly identity = 'model://vectors'
  readonly volatile = false
  readonly held: Map<string, ItemState>
  readonly written: Written[] = []
  /** Whether it can tell before a write what that will leave. */
  foresees = true
  #sink: Sink | null = null

  constructor(held: readonly ItemState[] = []) {
    this.held = new Map(held.map((state) => [nameOf(state), state]))
  }

  attach(sink: Sink): () => void {
    this.#sink = sink
    return () => {
      this.#sink = null
    }
  }

  async *items(resources?: readonly string[]): AsyncGenerator<readonly Item[]> {
    yield this.states.filter(({ resource }) => resources?.includes(resource) ?? true)
  }

  async read(item: Item): Promise<Image | null> {
    return this.held.get(nameOf(item))?.image ?? null
  }

  /** Everything there is, in order. */
  get states(): ItemState[] {
    return [...this.held.values()].sort(compareItems)
  }

  /** Writes items together, in the order of `compareItems`: null deletes. */
  async write(
    changes: readonly [Item, Image | null][],
    context: Partial<Context> = {},
    fate: Fate = 'done',
  ): Promise<void> {
    const items = changes.map(([item]) => item)
    const who = { ...NO_CONTEXT, ...context }
    const perform = async (): Promise<void> => {
      if (fate === 'refused') throw new Error('the database says no')
      if (fate === 'silence') return new Promise(() => {})
      for (const [item, after] of changes) {
        const before = await this.read(item)
        this.written.push({ kind: item.kind, resource: item.resource, id: item.id, before, after, context: who })
        if (after === null) this.held.delete(nameOf(item))
        else this.held.set(nameOf(item), { kind: item.kind, resource: item.resource, id: item.id, image: after })
      }
      if (fate !== 'done') return new Promise(() => {})
    }
    if (this.#sink === null) return perform()
    await this.#sink.capture(items, who, {
      read: () => Promise.all(items.map((item) => this.read(item))),
      perform,
      after: () => changes.map(([, image]) => image),
      meant: () => (this.foresees && changes.length === 1 ? fingerprint(changes[0]?.[1] ?? null) : null),
    })
  }

  /** This database as what a restore in place writes. */
  target(): Target {
    const states = (): ItemState[] => this.states
    return {
      name: this.identity,
      takes: 'differences',
      scan: async function* () {
        yield states()
      },
      write: async (differences) => {
        for (const { after, ...item } of differences) await this.write([[item, after]])
      },
      finish: async () => {},
      close: async () => {},
    }
  }
}

/** The name of an item, as a key of a map. */
export function nameOf({ kind, resource, id }: Item): string {
  return JSON.stringify([kind, resource, id])
}

/** A clock that stands still between steps, so that times in the vectors are the same at every run. */
export class StepClock implements Clock {
  #ms: number = Date.UTC(2026, 0, 1)

  now(): number {
    return this.#ms
  }

  /** Goes on by a second. */
  step(): number {
    this.#ms += 1000
    return this.#ms
  }

  async sleep(): Promise<void> {
    await systemClock.sleep(5)
  }

  async idle(ms: number, signal: AbortSignal): Promise<void> {
    await systemClock.idle(ms / 20, signal)
  }
}
