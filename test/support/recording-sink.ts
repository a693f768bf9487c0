import type { Sink, Write } from '../../src/capture/source.ts'
import { type Change, type Context, changeBetween, type Image, type Item } from '../../src/model/event.ts'

/** Names an item without ambiguity, for maps of a test. */
export function nameOf({ kind, resource, id }: Item): string {
  return JSON.stringify([kind, resource, id])
}

/** A sink that locks per item and keeps the changes in memory, in the order in which they became true. */
export class RecordingSink implements Sink {
  readonly changes: Change[] = []
  /** Items of each captured write. */
  readonly writes: (readonly Item[])[] = []
  /** Called under the locks after each write with what was derived. */
  check: ((items: readonly Item[], after: readonly (Image | null)[]) => Promise<void>) | null = null
  readonly #locks = new Map<string, Promise<void>>()

  async capture<T>(items: readonly Item[], context: Context, write: Write<T>): Promise<T> {
    const release = await this.#lock(items)
    try {
      this.writes.push(items)
      const before = await write.read()
      try {
        const result = await write.perform()
        const after = write.after(before, result)
        await this.check?.(items, after)
        this.#record(items, before, after, context)
        return result
      } catch (error) {
        this.#record(items, before, await write.read(), context)
        throw error
      }
    } finally {
      release()
    }
  }

  #record(
    items: readonly Item[],
    before: readonly (Image | null)[],
    after: readonly (Image | null)[],
    context: Context,
  ): void {
    items.forEach((item, i) => {
      const [a, b] = [before[i] ?? null, after[i] ?? null]
      if (sameState(a, b)) return
      const change = changeBetween(item, a, b, context)
      if (change !== null) this.changes.push(change)
    })
  }

  async #lock(items: readonly Item[]): Promise<() => void> {
    const names = [...new Set(items.map(nameOf))]
    const waits = names.map((name) => this.#locks.get(name))
    const { promise, resolve } = Promise.withResolvers<void>()
    for (const name of names) this.#locks.set(name, promise)
    await Promise.all(waits)
    return resolve
  }
}

export function sameImage(a: Image | null, b: Image | null): boolean {
  if (a === null || b === null) return a === b
  const raws = a.raw === null || b.raw === null ? a.raw === b.raw : Buffer.compare(a.raw, b.raw) === 0
  return raws && Buffer.compare(a.json, b.json) === 0
}

/** Whether two images are of the same stored object. How it reads (`json`) may change with the schema of its resource. */
function sameState(a: Image | null, b: Image | null): boolean {
  if (a?.raw == null || b?.raw == null) return sameImage(a, b)
  return Buffer.compare(a.raw, b.raw) === 0
}

/** The state after the changes, and every place where a change does not begin where the one before it ended. */
export function replay(changes: readonly Change[]): { state: Map<string, Image>; breaks: string[] } {
  const state = new Map<string, Image>()
  const breaks: string[] = []
  for (const change of changes) {
    const name = nameOf(change)
    if (!sameState(state.get(name) ?? null, change.before)) breaks.push(name)
    if (change.after === null) state.delete(name)
    else state.set(name, change.after)
  }
  return { state, breaks }
}
