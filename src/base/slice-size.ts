/** How much more is taken where what was taken last was small. */
const GROWTH = 4

/**
 * How many things whose size nobody knows before they are read are taken together: one at first, then as many as fit, by the
 * largest of those before.
 */
export class SliceSize {
  readonly #bytes: number
  readonly #most: number
  #size = 1

  /** `bytes` of things together, and `most` of them. */
  constructor(bytes: number, most: number) {
    this.#bytes = bytes
    this.#most = most
  }

  get size(): number {
    return this.#size
  }

  /** The sizes of what was taken, in bytes. */
  note(sizes: readonly number[]): void {
    const largest = sizes.reduce((a, b) => Math.max(a, b), 1)
    this.#size = Math.max(1, Math.min(this.#most, this.#size * GROWTH, Math.floor(this.#bytes / largest)))
  }
}
