import { MemoryStore } from '../../src/store/memory.ts'
import type { ListOptions, ObjectInfo } from '../../src/store/object-store.ts'

/** A store whose listings are behind what was put, as those of some servers and of caches before them are. */
export class LateListing extends MemoryStore {
  #shown: ReadonlySet<string> | null = null

  /** From now on listings show no object that is not there yet. */
  async freeze(): Promise<void> {
    const keys: string[] = []
    for await (const { key } of super.list('')) keys.push(key)
    this.#shown = new Set(keys)
  }

  /** Listings are up to date again. */
  thaw(): void {
    this.#shown = null
  }

  override async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    for await (const info of super.list(prefix, options)) if (this.#shown?.has(info.key) !== false) yield info
  }
}
