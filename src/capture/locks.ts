import type { Item } from '../model/event.ts'
import { compareItems } from '../model/order.ts'

/** Who waits for a lock, in the order in which they came; null while nobody does. */
type Queue = (() => void)[] | null

/**
 * A lock for each item that is being written. Whoever needs several takes them in the order of `compareItems`, so that
 * no two can wait for each other.
 */
export class ItemLocks {
  /** Of the locks that are held. */
  readonly #queues = new Map<string, Queue>()

  /**
   * What releases the locks: at once where there is one item and nobody holds its lock, as for most writes; else a promise,
   * until all of them are held.
   */
  acquire(items: readonly Item[]): (() => void) | Promise<() => void> {
    const [only] = items
    if (items.length === 1 && only !== undefined) return this.#lock(nameOf(only))
    return this.#lockAll(new Set(items.toSorted(compareItems).map(nameOf)))
  }

  async #lockAll(names: ReadonlySet<string>): Promise<() => void> {
    const releases: (() => void)[] = []
    for (const name of names) releases.push(await this.#lock(name))
    return () => {
      for (const release of releases) release()
    }
  }

  #lock(name: string): (() => void) | Promise<() => void> {
    const queue = this.#queues.get(name)
    const release = (): void => this.#release(name)
    if (queue === undefined) {
      this.#queues.set(name, null)
      return release
    }
    const { promise, resolve } = Promise.withResolvers<() => void>()
    const next = (): void => resolve(release)
    if (queue === null) this.#queues.set(name, [next])
    else queue.push(next)
    return promise
  }

  /** The lock goes from hand to hand: it is free only when nobody waits, so that nobody comes in between. */
  #release(name: string): void {
    const next = this.#queues.get(name)?.shift()
    if (next === undefined) this.#queues.delete(name)
    else next()
  }
}

/** A map key that no two items share: the length of the resource stands before it. */
export function nameOf({ kind, resource, id }: Item): string {
  return `${kind}${resource.length}:${resource}${id}`
}
