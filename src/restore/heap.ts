/** A binary heap: `before` says whether the first one stands above the second, also where neither has to. */
export class Heap<T> {
  readonly #before: (a: T, b: T) => boolean
  readonly #items: T[] = []

  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before
  }

  top(): T | undefined {
    return this.#items[0]
  }

  /** Those of which one comes next. */
  next(): readonly T[] {
    return this.#items.slice(1, 3)
  }

  push(item: T): void {
    const items = this.#items
    let at = items.length
    items.push(item)
    while (at > 0) {
      const parent = (at - 1) >> 1
      const other = items[parent]
      if (other === undefined || this.#before(other, item)) break
      items[at] = other
      at = parent
    }
    items[at] = item
  }

  pop(): void {
    const last = this.#items.pop()
    if (last === undefined || this.#items.length === 0) return
    this.#items[0] = last
    this.sink()
  }

  /** Puts the top where it belongs after it has moved on. */
  sink(): void {
    const items = this.#items
    const item = items[0]
    if (item === undefined) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      let least = items[child]
      if (least === undefined) break
      const right = items[child + 1]
      if (right !== undefined && this.#before(right, least)) {
        least = right
        child++
      }
      if (this.#before(item, least)) break
      items[at] = least
      at = child
    }
    items[at] = item
  }
}
