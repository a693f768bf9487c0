import type { RowGroup } from '../format/segment/row-group.ts'
import { compareKeys, compareStamps, emptyRow, type Row, ULID_BYTES } from '../restore/run.ts'
import { RowPlaces } from './row-places.ts'

/**
 * The order of the rows of a file: by item, and of one item by stamp. Who replays takes the last row of an item for the newest, and
 * passes what comes too late: a file in another order would give another state, and no checksum would tell.
 */
export class RowOrder {
  #first: Readonly<Row> | null = null
  #last: Readonly<Row> | null = null

  /** Takes the next rows; false where one does not stand behind the one before it. */
  add(group: RowGroup): boolean {
    const places = new RowPlaces(group)
    let [last, next, other] = [this.#last, emptyRow(), emptyRow()]
    for (let row = 0; row < group.rows; row++) {
      places.stand(next, row)
      if (last !== null && !isBehind(next, last)) return false
      this.#first ??= kept(next)
      last = next
      next = other
      other = last
    }
    this.#last = last === null ? null : kept(last)
    return true
  }

  /** Whether all rows of `next` stand behind all of these. */
  isFollowedBy(next: RowOrder): boolean {
    return this.#last === null || next.#first === null || isBehind(next.#first, this.#last)
  }
}

function isBehind(next: Readonly<Row>, last: Readonly<Row>): boolean {
  const order = compareKeys(last, next)
  return order === 0 ? compareStamps(last, next) < 0 : order < 0
}

/** The same with bytes of its own: those of a row group are not kept for it. */
function kept(row: Readonly<Row>): Readonly<Row> {
  const idData = Uint8Array.from(row.idData.subarray(row.idStart, row.idEnd))
  const ulidData = Uint8Array.from(row.ulidData.subarray(row.ulidStart, row.ulidStart + ULID_BYTES))
  return { ...row, idData, idStart: 0, idEnd: idData.length, ulidData, ulidStart: 0 }
}
