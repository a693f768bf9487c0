/** A key of metadata as it is given, and as it is stored. */
export interface OrderedKey {
  readonly given: string
  readonly stored: string
}

interface KnownOrder {
  readonly given: readonly string[]
  readonly ordered: readonly OrderedKey[]
}

/** Sets of keys that are remembered, and the most keys of one of them. */
const MOST_ORDERS = 8
const MOST_KEYS = 128

/**
 * The order in which metadata are stored: that of their stored keys. The records of a resource have the same keys, so
 * the orders that were needed last are kept: to sort the keys of each object costs more than all else that is done with it.
 */
export class KeyOrders {
  readonly #storedKey: (given: string) => string
  readonly #known: KnownOrder[] = []
  /** The one to be replaced next, once there are as many as may be. */
  #oldest = 0

  /** `storedKey` names what is stored for a key; of several that are stored under one name the last one counts. */
  constructor(storedKey: (given: string) => string) {
    this.#storedKey = storedKey
  }

  /** The keys in the order of their UTF-16 code units. */
  of(given: readonly string[]): readonly OrderedKey[] {
    for (const known of this.#known) if (isSame(known.given, given)) return known.ordered
    const byStored = new Map(given.map((key) => [this.#storedKey(key), key]))
    const ordered = [...byStored].map(([stored, key]) => ({ given: key, stored }))
    ordered.sort((a, b) => (a.stored < b.stored ? -1 : 1))
    if (given.length <= MOST_KEYS) {
      this.#known[this.#oldest] = { given, ordered }
      this.#oldest = (this.#oldest + 1) % MOST_ORDERS
    }
    return ordered
  }
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
