/**
 * A tree of losers (Knuth, The Art of Computer Programming 3, 5.4.1) over the numbers below `count`: who comes first of
 * many is known after one comparison a level, where a heap makes two. `before` says whether the first one comes before
 * the second, also where neither has to.
 */
export class Tournament {
  readonly #before: (a: number, b: number) => boolean
  readonly #count: number
  /** Of each inner node, who lost there. The parent of node n is n / 2; leaf i is node `count + i`. */
  readonly #losers: Int32Array
  #first = 0

  constructor(count: number, before: (a: number, b: number) => boolean) {
    this.#before = before
    this.#count = count
    this.#losers = new Int32Array(count)
    const winners = Int32Array.from({ length: 2 * count }, (_, node) => node - count)
    for (let node = count - 1; node > 0; node--) {
      const [a, b] = [winners[2 * node] ?? 0, winners[2 * node + 1] ?? 0]
      const isFirst = before(a, b)
      winners[node] = isFirst ? a : b
      this.#losers[node] = isFirst ? b : a
    }
    if (count > 1) this.#first = winners[1] ?? 0
  }

  /** Who comes first. */
  get first(): number {
    return this.#first
  }

  /** Puts the first one where it belongs after it has moved on. */
  sink(): void {
    const losers = this.#losers
    let winner = this.#first
    for (let node = (this.#count + winner) >> 1; node > 0; node >>= 1) {
      const loser = losers[node] ?? 0
      if (this.#before(winner, loser)) continue
      losers[node] = winner
      winner = loser
    }
    this.#first = winner
  }

  /** Those that lost to nobody but the first: one of them comes next. */
  next(): readonly number[] {
    const next: number[] = []
    for (let node = (this.#count + this.#first) >> 1; node > 0; node >>= 1) next.push(this.#losers[node] ?? 0)
    return next
  }
}
