import type { RowGroup } from '../format/segment/row-group.ts'
import { type Item, KINDS } from '../model/event.ts'
import { compareItems } from '../model/order.ts'
import type { Ulid } from '../model/ulid.ts'

/** KINDS, as names that a file may or may not have right. */
const NAMES: readonly string[] = KINDS

/** Where a row stands among others. */
interface RowPlace {
  readonly item: Item
  readonly ulid: Ulid
}

/**
 * The order of the rows of a file: by item, and of one item by stamp. Who replays takes the last row of an item for the newest, and
 * passes what comes too late: a file in another order would give another state, and no checksum would tell.
 */
export class RowOrder {
  #first: RowPlace | null = null
  #last: RowPlace | null = null

  /** Takes the next rows; false where one does not stand behind the one before it. */
  add(group: RowGroup): boolean {
    const [kinds, resources] = [group.codes('kind'), group.codes('resource')]
    const [ids, ulids] = [group.bytes('record_id'), group.bytes('ulid')]
    for (let row = 0; row < group.rows; row++) {
      const kind = KINDS[NAMES.indexOf(kinds.values[kinds.codes[row] ?? -1] ?? '')] ?? 'record'
      const item = { kind, resource: resources.values[resources.codes[row] ?? -1] ?? '', id: ids.text(row) ?? '' }
      const place = { item, ulid: ulids.text(row) ?? '' }
      if (this.#last !== null && !isBehind(place, this.#last)) return false
      this.#first ??= place
      this.#last = place
    }
    return true
  }

  /** Whether all rows of `next` stand behind all of these. */
  isFollowedBy(next: RowOrder): boolean {
    return this.#last === null || next.#first === null || isBehind(next.#first, this.#last)
  }
}

function isBehind(next: RowPlace, last: RowPlace): boolean {
  const order = compareItems(last.item, next.item)
  return order === 0 ? last.ulid < next.ulid : order < 0
}
