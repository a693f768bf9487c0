import {
  compareItems,
  currentContext,
  type Difference,
  type Image,
  type Item,
  type ItemState,
  makeImage,
  type Selection,
  type Sink,
  type Source,
  sameImage,
  type Target,
  type Write,
} from '../../src/index.ts'
import type { RecordWrite } from '../../src/testing.ts'

/** What of a write, a scan or a target an adapter may do wrong: each may be replaced. */
export interface Faults {
  write?(write: Write<void>): Write<void>
  items?(items: readonly Item[]): readonly Item[]
  image?(item: Item, image: Image): Image | null
  scan?(states: readonly ItemState[], selection: Selection): readonly ItemState[]
  restore?(differences: readonly Difference[]): readonly Difference[]
}

/** Documents in memory with an adapter as other people write them, on what the package exports alone. */
export class MemoryDocuments implements Source {
  readonly identity: string = 'documents://test'
  readonly volatile: boolean = true
  protected sink: Sink | null = null
  readonly held: Map<string, ItemState> = new Map()
  readonly #faults: Faults

  constructor(faults: Faults = {}) {
    this.#faults = faults
  }

  async write(writes: readonly RecordWrite[]): Promise<void> {
    const items = writes.map(({ resource, id }): Item => ({ kind: 'record', resource, id }))
    const images = writes.map(({ value }) => (value === null ? null : makeImage(value)))
    await this.commit(items, images)
  }

  /** Refuses whatever has the id `refused`, with everything beside it. */
  protected async commit(items: readonly Item[], images: readonly (Image | null)[]): Promise<void> {
    const perform = async (): Promise<void> => {
      if (items.some(({ id }) => id === 'refused')) throw new Error('refused')
      this.put(items, images)
    }
    if (this.sink === null) return perform()
    const read = async (): Promise<(Image | null)[]> => Promise.all(items.map((item) => this.read(item)))
    const write: Write<void> = { read, perform, after: () => images, refused: () => true }
    await this.sink.capture(items, currentContext(), this.#faults.write?.(write) ?? write)
  }

  put(items: readonly Item[], images: readonly (Image | null)[]): void {
    for (const [i, { kind, resource, id }] of items.entries()) {
      const image = images[i] ?? null
      if (image === null) this.held.delete(JSON.stringify([resource, id]))
      else this.held.set(JSON.stringify([resource, id]), { kind, resource, id, image })
    }
  }

  attach(sink: Sink): () => void {
    this.sink = sink
    return () => {
      this.sink = null
    }
  }

  async *items(resources?: readonly string[]): AsyncGenerator<readonly Item[]> {
    const items = this.#states({ ...(resources === undefined ? {} : { resources }) }).map(
      ({ kind, resource, id }): Item => ({ kind, resource, id }),
    )
    yield this.#faults.items?.(items) ?? items
  }

  async read(item: Item): Promise<Image | null> {
    const image = this.held.get(JSON.stringify([item.resource, item.id]))?.image
    return image === undefined ? null : this.#faults.image === undefined ? image : this.#faults.image(item, image)
  }

  target(): Target {
    return {
      name: this.identity,
      takes: 'differences',
      scan: (selection) => this.#scan(selection),
      write: async (differences, conflicts) => {
        for (const one of this.#faults.restore?.(differences) ?? differences) {
          const now = this.held.get(JSON.stringify([one.resource, one.id]))?.image ?? null
          const isNewer = !sameImage(now, one.before) && !sameImage(now, one.after)
          if (isNewer && conflicts !== undefined) conflicts.tell(one)
          if (!isNewer || conflicts?.onConflict !== 'keep') this.put([one], [one.after])
        }
      },
      finish: async () => {},
      close: async () => {},
    }
  }

  async *#scan(selection: Selection): AsyncGenerator<readonly ItemState[]> {
    const states = this.#states(selection)
    yield this.#faults.scan?.(states, selection) ?? states
  }

  #states({ resources, ids }: Selection): readonly ItemState[] {
    const all = [...this.held.values()].sort(compareItems)
    const chosen = all.filter(({ resource }) => resources === undefined || resources.includes(resource))
    return chosen.filter(({ id }) => ids === undefined || ids.includes(id))
  }
}
