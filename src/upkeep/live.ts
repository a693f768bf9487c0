import { SliceSize } from '../base/slice-size.ts'
import { checkListed } from '../capture/check.ts'
import type { Source } from '../capture/source.ts'
import { type Image, type Item, imageBytes } from '../model/event.ts'
import type { ItemState } from '../restore/target.ts'

/** Items that are read at once. */
const PARALLEL = 16
/** Bytes of their images together, where they are larger. */
const PARALLEL_BYTES = 16 * 1024 * 1024

/**
 * Everything that a live database holds, or what it holds of some resources, in the order of `compareItems`. Errors:
 * `SOURCE_UNSUPPORTED` where the source lists it otherwise.
 */
export async function* liveStates(
  source: Source,
  read: (item: Item) => Promise<Image | null>,
  resources?: readonly string[],
): AsyncGenerator<readonly ItemState[]> {
  let last: Item | null = null
  const slice = new SliceSize(PARALLEL_BYTES, PARALLEL)
  for await (const items of source.items(resources)) {
    checkListed(items, last)
    last = items.at(-1) ?? last
    for (let at = 0; at < items.length; ) {
      const part = items.slice(at, at + slice.size)
      at += part.length
      const images = await readItems(part, read)
      slice.note(images.map(imageBytes))
      yield part.flatMap((item, index) => stateOf(item, images[index] ?? null))
    }
  }
}

/** What `read` says of each item, some at once. */
export async function readItems<T>(items: readonly Item[], read: (item: Item) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  for (let i = 0; i < items.length; i += PARALLEL) {
    results.push(...(await Promise.all(items.slice(i, i + PARALLEL).map(read))))
  }
  return results
}

/** Nothing where the item went away since it was listed. */
function stateOf({ kind, resource, id }: Item, image: Image | null): ItemState[] {
  return image === null ? [] : [{ kind, resource, id, image }]
}
