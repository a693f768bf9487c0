import type { RowGroup } from '../format/segment/row-group.ts'
import type { ByteValues, CodedValues } from '../format/segment/values.ts'
import { KINDS } from '../model/event.ts'
import { type Row, setId } from '../restore/run.ts'

/** KINDS, as names that a file may or may not have right. */
const NAMES: readonly string[] = KINDS

/** Where the rows of a row group stand, without an object for each. */
export class RowPlaces {
  readonly #ids: ByteValues
  readonly #ulids: ByteValues
  readonly #kinds: CodedValues
  readonly #resources: CodedValues
  /** Index in KINDS of each kind code; -1 for a name that is none. */
  readonly #kindOf: readonly number[]

  /** Of a group of which the columns of the item, and the ULIDs, were read. Errors: `SEGMENT_CORRUPT`. */
  constructor(group: RowGroup) {
    this.#ids = group.bytes('record_id')
    this.#ulids = group.bytes('ulid')
    this.#kinds = group.codes('kind')
    this.#resources = group.codes('resource')
    this.#kindOf = this.#kinds.values.map((name) => NAMES.indexOf(name))
  }

  /** Fills `place` with that of a row: its bytes are those of the group. */
  stand(place: Row, row: number): void {
    const [ids, ulids] = [this.#ids, this.#ulids]
    place.kindIndex = this.#kindOf[this.#kinds.codes[row] ?? -1] ?? -1
    place.resource = this.#resources.values[this.#resources.codes[row] ?? -1] ?? ''
    setId(place, ids.data, ids.starts[row] ?? 0, ids.ends[row] ?? 0)
    place.ulidData = ulids.data
    place.ulidStart = ulids.starts[row] ?? 0
  }
}
