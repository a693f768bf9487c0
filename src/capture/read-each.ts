import type { Image, Item } from '../model/event.ts'

/** Items that are read at once. */
const READ_WIDTH = 16

/** The present state of each item, or why it cannot be read, in the order of the items. */
export async function readEach(
  items: readonly Item[],
  read: (item: Item) => Promise<Image | null>,
): Promise<readonly PromiseSettledResult<Image | null>[]> {
  const states: PromiseSettledResult<Image | null>[] = []
  for (let i = 0; i < items.length; i += READ_WIDTH) {
    states.push(...(await Promise.allSettled(items.slice(i, i + READ_WIDTH).map(read))))
  }
  return states
}
