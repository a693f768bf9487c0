import type { Item } from '../model/event.ts'
import { compareItems } from '../model/order.ts'

/**
 * A lock for each item that is being written. Whoever needs several takes them in the order of `compareItems`, so that
 * no two can wait for each other.
 */
export class ItemLocks {
  readonly #tails = new Map<string, Promise<void>>()

  /** Resolves with what releases the locks, once all of them are held. */
  async acquire(items: readonly Item[]): Promise<() => void> {
    const [only] = items
    if (items.length === 1 && only !== undefined) return this.#lock(nameOf(only))
    const names = new Set(items.toSorted(compareItems).map(nameOf))
    const releases: (() => void)[] = []
    for (const name of names) releases.push(await this.#lock(name))
    return () => {
      for (const release of releases) release()
    }
  }

  async #lock(name: string): Promise<() => void> {
    const before = this.#tails.get(name)
    let unlock: () => void = () => {}
    const held = new Promise<void>((resolve) => {
      unlock = resolve
    })
    this.#tails.set(name, held)
    if (before !== undefined) await before
    return () => {
      if (this.#tails.get(name) === held) this.#tails.delete(name)
      unlock()
    }
  }
}

/** A map key that no two items share: the length of the resource stands before it. */
export function nameOf({ kind, resource, id }: Item): string {
  return `${kind}${resource.length}:${resource}${id}`
}
