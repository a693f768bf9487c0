import assert from 'node:assert/strict'
import { checkCapture, checkImages } from '../capture/check.ts'
import type { Images, Sink, Source, Write } from '../capture/source.ts'
import { type Context, type Image, type Item, sameImage } from '../model/event.ts'

/** What was captured. */
export interface Witnessed {
  readonly items: readonly Item[]
  readonly context: Context
  readonly before: Images
  /** Null where the write failed. */
  readonly after: Images | null
  /** Whether the source said of the error that nothing was changed and nothing will be. */
  readonly isRefused: boolean
}

/** A sink that asks the database itself whether what it is told is so. One write after the other, as if all had one lock. */
export class Witness implements Sink {
  readonly captures: Witnessed[] = []
  readonly #source: Source
  #last: Promise<unknown> = Promise.resolve()
  /** Thrown instead of doing a write. */
  refusal: Error | null = null

  constructor(source: Source) {
    this.#source = source
  }

  capture<T>(items: readonly Item[], context: Context, write: Write<T>): Promise<T> {
    const turn = this.#last.then(() => this.#witness(items, context, write))
    // Who called has the error.
    this.#last = turn.catch(() => undefined)
    return turn
  }

  async #witness<T>(items: readonly Item[], context: Context, write: Write<T>): Promise<T> {
    checkCapture(items, context, write)
    if (this.refusal !== null) throw this.refusal
    const before = checkImages(items, await write.read())
    await this.#requireThere(items, before, 'read() of a write gave, before it,')
    const result = await write.perform().catch((error: unknown) => {
      this.captures.push({ items, context, before, after: null, isRefused: write.refused?.(error) === true })
      throw error
    })
    const after = checkImages(items, write.after(before, result))
    await this.#requireThere(items, after, 'after() of a write told')
    this.captures.push({ items, context, before, after, isRefused: false })
    return result
  }

  async #requireThere(items: readonly Item[], images: Images, what: string): Promise<void> {
    for (const [i, item] of items.entries()) {
      const [told, there] = [images[i] ?? null, await this.#source.read(item)]
      const differs = `${what} ${shown(told)} of ${item.kind} ${item.resource}/${item.id}, and the database holds ${shown(there)}`
      assert.ok(sameImage(told, there), differs)
    }
  }
}

function shown(image: Image | null): string {
  return image === null ? 'nothing' : Buffer.from(image.json).toString('utf8').slice(0, 200)
}
