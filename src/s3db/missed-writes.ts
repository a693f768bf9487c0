import { systemClock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Source } from '../capture/source.ts'
import type { Tidemark } from '../engine/tidemark.ts'
import type { Item } from '../model/event.ts'

const ownTask = new WeakSet<object>()

/** Nothing is looked for in `db`: who connects to it for one task compares by himself, or not. */
export function lookForNothing(db: object): void {
  ownTask.add(db)
}

/** Whether something is looked for. */
export function isLookedAt(db: object): boolean {
  return !ownTask.has(db)
}

/** Writes that were missed at about the same time are looked at together, after this time, milliseconds. */
const TOGETHER_MS = 500

/**
 * What was written before a capture began, and may be missing in the history: the schemas, which an application or
 * another plugin often changes before it is captured, and what was under way meanwhile. It is compared with the history
 * in the background, and becomes events that are marked as found.
 */
export class MissedWrites {
  readonly #source: Source
  readonly #log: Logger
  #tidemark: Tidemark | null = null
  readonly #items = new Map<string, Item>()
  #isWaiting = false

  constructor(source: Source, log: Logger) {
    this.#source = source
    this.#log = log
  }

  /** Looks at the schemas where the history had begun before this capture, and from now on at what is noted. */
  begin(tidemark: Tidemark, hadBegun: boolean): void {
    this.#tidemark = tidemark
    if (hadBegun) void this.#lookAt(() => this.#schemas())
    if (this.#items.size > 0) void this.#lookSoon()
  }

  end(): void {
    this.#tidemark = null
  }

  /** An item may have been changed by a write that was not captured. */
  note(item: Item): void {
    this.#items.set(JSON.stringify([item.kind, item.resource, item.id]), item)
    void this.#lookSoon()
  }

  async #lookSoon(): Promise<void> {
    if (this.#isWaiting || this.#tidemark === null) return
    this.#isWaiting = true
    await systemClock.idle(TOGETHER_MS, new AbortController().signal)
    this.#isWaiting = false
    const items = [...this.#items.values()]
    this.#items.clear()
    // `s3db.json` as a whole is no item of the history.
    const isSchema = items.some(({ kind }) => kind === 'schema')
    await this.#lookAt(async () => [
      ...items.filter(({ kind }) => kind !== 'schema'),
      ...(isSchema ? await this.#schemas() : []),
    ])
  }

  async #lookAt(itemsOf: () => Promise<readonly Item[]>): Promise<void> {
    const tidemark = this.#tidemark
    if (tidemark === null) return
    const added = new Set<string>()
    try {
      await tidemark.reconcile({
        record: true,
        items: await itemsOf(),
        onFinding: ({ kind, resource, before }) => {
          if (kind === 'schema' && resource !== '' && before === null) added.add(resource)
        },
      })
      // The history knows nothing of a resource that it did not know: its records are missing too.
      if (added.size > 0) await tidemark.reconcile({ record: true, resources: [...added] })
    } catch (error) {
      if (this.#tidemark !== tidemark) return // the capture has ended meanwhile
      this.#log.warn(
        { error: messageOf(error) },
        'What was written just before the capture could not be compared with the history; `tidemark reconcile` does it.',
      )
    }
  }

  /** The schemas that there are; they are the first of all items. */
  async #schemas(): Promise<readonly Item[]> {
    const schemas: Item[] = []
    for await (const items of this.#source.items()) {
      const some = items.filter(({ kind }) => kind === 'schema')
      schemas.push(...some)
      if (some.length < items.length) break
    }
    return schemas
  }
}
