/**
 * What `open` makes of each item, in order, with more and more of them under way, `first` in the beginning and `most` in the end: who
 * needs only the first item has read little besides, and who needs all begins with as many. What fails is thrown where its turn comes.
 */
export async function* ahead<T, R>(
  items: Iterable<T>,
  most: number,
  open: (item: T) => Promise<R>,
  first = 1,
): AsyncGenerator<readonly [item: T, opened: R]> {
  const under: (readonly [T, Promise<R>])[] = []
  const rest = items[Symbol.iterator]()
  for (let count = first; ; count = Math.min(most, count * 2)) {
    while (under.length < count) {
      const { done, value } = rest.next()
      if (done === true) break
      const opened = open(value)
      opened.catch(() => {}) // thrown below
      under.push([value, opened])
    }
    const next = under.shift()
    if (next === undefined) return
    yield [next[0], await next[1]]
  }
}
