import type { Sink } from '../capture/source.ts'
import { currentContext } from '../engine/context.ts'
import { type Item, unreadableImage } from '../model/event.ts'
import { isText, notText, SCHEMA_KEY } from './keys.ts'
import type { Reader } from './reader.ts'
import { changedSchemas, type SchemaImages, splitSchema } from './schema-items.ts'

/**
 * Writes of `s3db.json`, one after another: which schemas a write changes is only known from the content before it,
 * and has to be known before their items can be locked.
 */
export class SchemaWrites {
  readonly #reader: Reader
  readonly #sink: Sink
  #last: Promise<void> = Promise.resolve()

  constructor(reader: Reader, sink: Sink) {
    this.#reader = reader
    this.#sink = sink
  }

  /** `content` tells what the file will hold, null where it will be gone. */
  capture<T>(content: () => Promise<string | null>, perform: () => Promise<T>): Promise<T> {
    const done = this.#last.then(async () => this.#capture(splitSchema(await content()), perform))
    this.#last = done.then(ignore, ignore)
    return done
  }

  async #capture<T>(after: SchemaImages, perform: () => Promise<T>): Promise<T> {
    const before = await this.#reader.schemasIfReadable()
    const names = before === null ? this.#namesOf(after) : changedSchemas(before, after)
    if (names.length === 0) return perform()
    const broken = names.find((name) => after.has(name) && !isText(name))
    if (broken !== undefined) throw notText(broken, 'The schemas were not written.')
    const items = names.map((resource): Item => ({ kind: 'schema', resource, id: '' }))
    const pick = (images: SchemaImages) => names.map((name) => images.get(name) ?? null)
    const damaged = items.map((item) => unreadableImage(item, `${SCHEMA_KEY} is no JSON object`))
    let first = true
    return this.#sink.capture(items, currentContext(), {
      read: async () => {
        const images = first ? before : await this.#reader.schemasIfReadable()
        first = false
        // Damage is repaired by writing: it must not be refused because of what it is.
        return images === null ? damaged : pick(images)
      },
      perform,
      after: () => pick(after),
    })
  }

  /** Every schema that there is or may have been. */
  #namesOf(after: SchemaImages): string[] {
    return [...new Set(['', ...after.keys(), ...this.#reader.space.names()])]
  }
}

/** The next write waits for this one whatever became of it; its caller hears of the failure. */
function ignore(): void {}
