import { type Image, type Item, sameImage } from '../model/event.ts'
import { compareItems } from '../model/order.ts'
import type { Difference, ItemState, Target } from '../restore/target.ts'

/** A target in memory, which holds just what it is given. */
export class Replica implements Target {
  readonly name = 'replica in memory'
  readonly takes = 'differences'
  readonly #held = new Map<string, ItemState>()

  async *scan(): AsyncGenerator<readonly ItemState[]> {
    yield this.states()
  }

  async write(differences: readonly Difference[]): Promise<void> {
    for (const { before: _, after, ...item } of differences) this.put(item, after)
  }

  async finish(): Promise<void> {}
  async close(): Promise<void> {}

  put({ kind, resource, id }: Item, image: Image | null): void {
    const key = JSON.stringify([kind, resource, id])
    if (image === null) this.#held.delete(key)
    else this.#held.set(key, { kind, resource, id, image })
  }

  states(): ItemState[] {
    return [...this.#held.values()].sort(compareItems)
  }

  /** Everything, a line each: what `sameImage` calls the same is the same line. */
  content(): readonly string[] {
    return this.states().map(lineOf)
  }
}

/** What two replicas must both have. */
export function lineOf({ kind, resource, id, image }: ItemState): string {
  const { json, raw } = image
  return JSON.stringify([kind, resource, id, Buffer.from(raw ?? json).toString('base64')])
}

/** What makes one list of states into another, in the order of `compareItems`. */
export function differencesBetween(from: readonly ItemState[], to: readonly ItemState[]): Difference[] {
  const all = new Map<string, Difference>()
  const key = ({ kind, resource, id }: Item): string => JSON.stringify([kind, resource, id])
  const parts = ({ kind, resource, id }: Item): Item => ({ kind, resource, id })
  for (const state of from) all.set(key(state), { ...parts(state), before: state.image, after: null })
  for (const state of to) {
    all.set(key(state), { ...parts(state), before: all.get(key(state))?.before ?? null, after: state.image })
  }
  return [...all.values()].filter(({ before, after }) => !sameImage(before, after)).sort(compareItems)
}
