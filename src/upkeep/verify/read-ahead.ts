import type { ObjectStore } from '../../store/object-store.ts'

/** A file that is read as a whole, and how long it is. */
export interface ExpectedFile {
  readonly key: string
  readonly bytes: number
}

/** Files that are under way at once, and bytes of them: over a network, each of many small ones waits for its round trip. */
const MOST_FILES = 16
const MOST_BYTES = 16 * 1024 * 1024

/**
 * Reads files one after the other, and while each is looked at, those that come next. A file is read once, by whoever asks for it
 * or before.
 */
export class ReadAhead {
  readonly #store: Pick<ObjectStore, 'get'>
  #expected: Iterator<ExpectedFile> = [].values()
  /** The next of these, which had no room yet. */
  #next: ExpectedFile | null = null
  readonly #begun = new Map<string, { readonly bytes: number; readonly read: Promise<Uint8Array> }>()
  #bytes = 0

  constructor(store: Pick<ObjectStore, 'get'>) {
    this.#store = store
  }

  /** What is read next, in this order, in the place of what was said before. */
  expect(files: Iterable<ExpectedFile>): void {
    this.#expected = files[Symbol.iterator]()
    this.#next = this.#pull()
    this.#begun.clear()
    this.#bytes = 0
  }

  /** Errors: those of the store, thrown to whoever asks for the file. */
  read(key: string): Promise<Uint8Array> {
    this.#fill()
    const begun = this.#begun.get(key)
    if (begun === undefined) {
      if (this.#next?.key === key) this.#next = this.#pull()
      return this.#store.get(key)
    }
    this.#begun.delete(key)
    this.#bytes -= begun.bytes
    this.#fill()
    return begun.read
  }

  #fill(): void {
    for (let next = this.#next; next !== null; next = this.#next) {
      const isFull = this.#begun.size >= MOST_FILES || this.#bytes + next.bytes > MOST_BYTES
      if (isFull && this.#begun.size > 0) return
      this.#begin(next)
      this.#next = this.#pull()
    }
  }

  #begin({ key, bytes }: ExpectedFile): void {
    const read = this.#store.get(key)
    read.catch(() => {}) // thrown where it is asked for
    this.#begun.set(key, { bytes, read })
    this.#bytes += bytes
  }

  #pull(): ExpectedFile | null {
    const { done, value } = this.#expected.next()
    return done === true ? null : value
  }
}
