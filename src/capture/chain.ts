import { type Image, type Item, sameImage } from '../model/event.ts'
import type { Finding } from '../model/found.ts'
import type { Ulid } from '../model/ulid.ts'
import { nameOf } from './locks.ts'
import { RememberedImages } from './remembered-images.ts'

/** What the chain asks. */
export interface ChainSeams {
  /**
   * Whether no other stream can hold an event after `ulid`, as far as is known without asking the store: nobody waits
   * for it while an item is locked.
   */
  readonly isAloneSince: (ulid: Ulid) => boolean
  /** A stamp after every event so far and before every later one. */
  readonly mark: () => Ulid
}

/** Bytes of images that are remembered. */
const MOST_BYTES = 16 * 1024 * 1024

/**
 * The last known state of the items written last. Each write reads the state before it: where that is not the last
 * known one, and no other process can have captured what came between, something wrote around the capture. All calls
 * for an item are made under its lock.
 */
export class Chain {
  readonly #seams: ChainSeams
  readonly #known: RememberedImages

  constructor(seams: ChainSeams, mostBytes: number = MOST_BYTES) {
    this.#seams = seams
    this.#known = new RememberedImages(mostBytes)
  }

  /** The last known state of an item; undefined where none is remembered. */
  imageOf(item: Item): Image | null | undefined {
    return this.#known.copyOf(nameOf(item))
  }

  /** The items whose state is not what the chain says, where no other process can have written it. */
  breaks(items: readonly Item[], states: readonly (Image | null)[]): readonly Finding[] {
    let found: Finding[] | null = null
    for (let index = 0; index < items.length; index++) {
      const item = items[index]
      if (item === undefined) continue
      const name = nameOf(item)
      const known = this.#known.get(name)
      const after = states[index] ?? null
      if (known === undefined || sameImage(known.image, after) || !this.#seams.isAloneSince(known.ulid)) continue
      found ??= []
      const { kind, resource, id } = item
      const interval = { after: known.ulid, before: this.#seams.mark() }
      found.push({ kind, resource, id, before: this.#known.copyOf(name) ?? null, after, interval })
    }
    return found ?? []
  }

  /** Forgets items that are written without an event. */
  forget(items: readonly Item[]): void {
    for (const item of items) this.#known.delete(nameOf(item))
  }

  /** Remembers the state that an event left behind. */
  note(item: Item, image: Image | null, ulid: Ulid): void {
    this.#known.set(nameOf(item), image, ulid)
  }
}
