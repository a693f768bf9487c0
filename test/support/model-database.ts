import type { Sink, Source } from '../../src/capture/source.ts'
import type { Context, Image, Item, Kind } from '../../src/model/event.ts'

const RANK: readonly Kind[] = ['schema', 'object', 'record']

/** A database in memory that is a source, for tests of the engine: writes are asynchronous and interleave. */
export class ModelDatabase implements Source {
  readonly identity: string
  readonly volatile: boolean = false
  readonly items_: Map<string, { item: Item; image: Image }>
  #sink: Sink | null = null

  /** With `items` of another: a second process of the same database. */
  constructor(identity = 'model://test', items: Map<string, { item: Item; image: Image }> = new Map()) {
    this.identity = identity
    this.items_ = items
  }

  attach(sink: Sink): () => void {
    this.#sink = sink
    return () => {
      this.#sink = null
    }
  }

  async *items(resources?: readonly string[]): AsyncGenerator<readonly Item[]> {
    const held = [...this.items_.values()].map(({ item }) => item)
    const all = held.filter(({ resource }) => resources === undefined || resources.includes(resource))
    yield all.sort(
      (a, b) =>
        RANK.indexOf(a.kind) - RANK.indexOf(b.kind) ||
        Buffer.compare(Buffer.from(a.resource), Buffer.from(b.resource)) ||
        Buffer.compare(Buffer.from(a.id), Buffer.from(b.id)),
    )
  }

  /** Every access goes through this; a process that has died never comes back from it. */
  protected async access(): Promise<void> {
    await turn()
  }

  async read(item: Item): Promise<Image | null> {
    await this.access()
    return this.items_.get(keyOf(item))?.image ?? null
  }

  /** Sets or deletes (null) an item; nobody sees it. */
  put(item: Item, image: Image | null): void {
    if (image === null) this.items_.delete(keyOf(item))
    else this.items_.set(keyOf(item), { item, image })
  }

  /** Sets or deletes (null) an item, as an application would. */
  async write(item: Item, image: Image | null, context: Partial<Context> = {}): Promise<void> {
    const perform = async (): Promise<void> => {
      await this.access()
      this.put(item, image)
    }
    if (this.#sink === null) return perform()
    await this.#sink.capture(
      [item],
      { actor: null, transaction: null, metadata: null, ...context },
      { read: async () => [await this.read(item)], perform, after: () => [image] },
    )
  }
}

/** One whose last writes may be gone with the machine, and not with a process. */
export class UnsyncedDatabase extends ModelDatabase {
  readonly isUnsynced: boolean = true
}

export function keyOf({ kind, resource, id }: Item): string {
  return JSON.stringify([kind, resource, id])
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** A record with a JSON object as its image. */
export function recordImage(value: object, raw: Uint8Array | null = null): Image {
  return { json: new Uint8Array(Buffer.from(JSON.stringify(value))), raw }
}
