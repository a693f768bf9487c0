import { systemClock } from '../base/clock.ts'
import { hasCode, messageOf, TidemarkError } from '../base/errors.ts'
import type { Sink } from '../capture/source.ts'
import { currentContext } from '../engine/context.ts'
import type { Item } from '../model/event.ts'
import { DeleteWrite, TooLarge } from './delete-write.ts'
import type { Dialect } from './image.ts'
import { DATABASE } from './keys.ts'
import type { Reader } from './reader.ts'
import type { SchemaWrites } from './schema-write.ts'

/** Captured keys of one deletion that become one intent, at most. */
const MOST_KEYS = 200
/** Bytes of images of one step: they are in memory together, in the intents and in the events. */
const MOST_BYTES = 4 * 1024 * 1024
/** Where the journal is full, a deletion that has begun waits for room while the store takes events. */
const WAIT_MS = 100
const WAITS_WITHOUT_PROGRESS = 100

/** What deletions work with. */
export interface DeletionSeams {
  readonly reader: Reader
  readonly sink: Sink
  readonly dialect: Dialect
  readonly schemas: SchemaWrites
  /** The item of a key, null where it is not captured. */
  readonly itemOf: (key: string) => Item | null
}

/** Deletes `keys` of the database; `isComplete` says of the result whether all of them are gone. */
export interface Removal<T> {
  readonly remove: (keys: readonly string[]) => Promise<T>
  readonly isComplete: (result: T) => boolean
}

type CapturedKey = readonly [key: string, item: Item]

/**
 * Deletes in steps of bounded count and bytes, each one capture; what is not captured goes first, at once, then the
 * schemas. Errors: `DELETE_INCOMPLETE` where a step fails after others were done; where it is the first, its error.
 */
export async function deleteInSteps<T>(
  seams: DeletionSeams,
  keys: readonly string[],
  { remove, isComplete }: Removal<T>,
): Promise<void> {
  const captured = new Map<string, Item>()
  const others: string[] = []
  for (const key of keys) {
    const item = seams.itemOf(key)
    if (item === null) others.push(key)
    else captured.set(key, item)
  }
  if (others.length > 0) await remove(others)
  const schema = [...captured].find(([, item]) => item === DATABASE)?.[0]
  if (schema !== undefined) {
    captured.delete(schema)
    await seams.schemas.capture(
      async () => null,
      () => remove([schema]),
    )
  }
  await new Steps(seams, { remove, isComplete }, [...captured]).run()
}

class Steps<T> {
  readonly #seams: DeletionSeams
  readonly #removal: Removal<T>
  readonly #entries: readonly CapturedKey[]
  #done = 0
  #size = MOST_KEYS

  constructor(seams: DeletionSeams, removal: Removal<T>, entries: readonly CapturedKey[]) {
    this.#seams = seams
    this.#removal = removal
    this.#entries = entries
  }

  async run(): Promise<void> {
    while (this.#done < this.#entries.length) {
      const step = this.#entries.slice(this.#done, this.#done + this.#size)
      try {
        await this.#withRoom(() => this.#capture(step))
      } catch (error) {
        if (error instanceof TooLarge) this.#size = error.fitting
        else throw this.#done === 0 ? error : incomplete(this.#entries, this.#done, step.length, error)
      }
    }
  }

  async #capture(step: readonly CapturedKey[]): Promise<void> {
    const { reader, sink, dialect } = this.#seams
    const items = step.map(([, item]) => item)
    const write = new DeleteWrite(items, reader, dialect, {
      remove: () => this.#removal.remove(step.map(([key]) => key)),
      isComplete: this.#removal.isComplete,
      mostBytes: MOST_BYTES,
    })
    await sink.capture(items, currentContext(), write)
    this.#done += step.length
    const each = write.bytesRead / step.length
    this.#size = Math.max(1, Math.min(MOST_KEYS, Math.floor(MOST_BYTES / Math.max(1, each))))
  }

  /** A deletion that has begun is not left half done because it is faster than the store. */
  async #withRoom(work: () => Promise<void>): Promise<void> {
    let held: unknown = null
    for (let waits = 0; ; waits++) {
      try {
        return await work()
      } catch (error) {
        if (!hasCode(error, 'JOURNAL_FULL') || this.#done === 0 || waits >= WAITS_WITHOUT_PROGRESS) throw error
        if (error.details.heldBytes !== held) waits = 0
        held = error.details.heldBytes
      }
      await systemClock.sleep(WAIT_MS)
    }
  }
}

function incomplete(entries: readonly CapturedKey[], done: number, tried: number, cause: unknown): TidemarkError {
  const total = entries.length
  const next = entries[done]?.[0] ?? ''
  // What Tidemark refuses has not reached the database.
  const partly =
    cause instanceof TidemarkError
      ? ''
      : ` Of the ${tried} from there on that were tried together some may be gone; the history has those that are.`
  return new TidemarkError(
    'DELETE_INCOMPLETE',
    `${done} of ${total} objects were deleted, and the history has them; the other ${total - done}, from ` +
      `${JSON.stringify(next)} on, were not.${partly} Why it stopped: ${messageOf(cause)}`,
    {
      hint: 'Delete again what is left once the cause is gone: what is deleted already does no harm.',
      cause,
      details: { deleted: done, notDeleted: total - done, firstNotDeleted: next },
    },
  )
}
