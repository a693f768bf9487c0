import { isUtf8 } from 'node:buffer'
import { EMPTY, utf8 } from '../base/bytes.ts'
import { segmentCorrupt } from '../format/segment/corrupt.ts'
import { PageMemory } from '../format/segment/page-memory.ts'
import type { RowGroup } from '../format/segment/row-group.ts'
import type { ByteValues, CodedBytes, CodedValues } from '../format/segment/values.ts'
import { type Image, type Item, KINDS } from '../model/event.ts'
import { compareItems } from '../model/order.ts'
import type { Ulid } from '../model/ulid.ts'
import { emptyRow, type Row, type Run, type StampRange, setId } from './run.ts'
import { MERGED_COLUMNS, type RunPart } from './run-part.ts'
import type { Selection } from './target.ts'

/** The events of a segment that belong to a merge: those of the selection in `(after, through]`. */
export interface EventRange {
  readonly after: Ulid
  readonly through: Ulid
  readonly selection: Selection
}

/** KINDS, as names that a file may or may not have right. */
const NAMES: readonly string[] = KINDS

/** Bytes of an image that is kept once it is decoded, while it waits for its turn. */
const KEPT_IMAGE = 1024 * 1024
/** About what the first item of a row group takes. */
const ITEM_BYTES = 256

const UNSTAMPED = MERGED_COLUMNS.filter((column) => column !== 'ulid')

/** What says which item a row is of, and when it was. */
interface Columns {
  readonly ids: CodedBytes
  readonly kinds: CodedValues
  readonly resources: CodedValues
  /** Whether all rows are of one kind and one resource, as they mostly are. */
  readonly isUniform: boolean
  /** Index in KINDS of each kind code. */
  readonly kindOf: readonly number[]
  /** Whether the rows of a resource code are wanted. */
  readonly wanted: readonly boolean[]
  /** Null where nobody asks for the stamps. */
  readonly ulids: ByteValues | null
}

/**
 * A segment, or the files of a run one after the other: of each item the last wanted row of each row group. Images are
 * decoded only where they are asked for, and so are stamps.
 */
export class SegmentRun implements Run {
  readonly row: Row = emptyRow()
  readonly bytes: number
  readonly stamps: StampRange
  readonly #parts: readonly RunPart[]
  #groups: AsyncGenerator<RowGroup> | null = null
  /** The first items of the groups that are still to come. */
  readonly #firsts: Iterator<Item>
  readonly #resources: ReadonlySet<string> | null
  readonly #ids: ReadonlySet<string> | null
  readonly #after: Uint8Array | null
  readonly #through: Uint8Array | null
  /** The first item of the next group. */
  #first: Item | null = null
  #group: RowGroup | null = null
  #columns: Columns | null = null
  /** After-images of the group, once one was asked for. */
  #images: { readonly jsons: ByteValues; readonly raws: ByteValues } | null = null
  /** Of these. What is handed on is copied: it may be looked at when this has those of the next group. */
  #memory = imageMemory()
  /** Where the items of the group end, and which of these comes next. */
  #ends: Int32Array = new Int32Array(0)
  #at = 0
  /** The row that stands for the item. */
  #current = 0

  /** `parts`: at least one, in the order of their items. Errors: `SEGMENT_CORRUPT` where they are in no order. */
  constructor(parts: readonly RunPart[], { after, through, selection }: EventRange) {
    checkOrder(parts)
    this.#parts = parts
    const firsts = parts.flatMap((part) => part.firsts)
    this.bytes = Math.max(...parts.map(({ bytes }) => bytes)) + ITEM_BYTES * firsts.length
    this.#firsts = firsts.values()
    this.#first = this.#nextFirst()
    this.#resources = selection.resources === undefined ? null : new Set(selection.resources)
    this.#ids = selection.ids === undefined ? null : new Set(selection.ids)
    const first = least(parts.map(({ stamps }) => stamps.first))
    const last = greatest(parts.map(({ stamps }) => stamps.last))
    this.stamps = { first: greatest([first, after]), last: least([last, through]) }
    this.#after = first <= after ? utf8(after) : null
    this.#through = last > through ? utf8(through) : null
  }

  advance(): boolean {
    const [columns, ends] = [this.#columns, this.#ends]
    if (columns === null) return false
    while (this.#at < ends.length) {
      const start = ends[this.#at - 1] ?? 0
      const end = ends[this.#at++] ?? 0
      const found = this.#lastWanted(columns, start, end)
      if (found < start) continue
      this.#stand(columns, found)
      return true
    }
    return false
  }

  async load(): Promise<boolean> {
    this.#groups ??= groupsOf(this.#parts, this.#needsStamps ? MERGED_COLUMNS : UNSTAMPED)
    for (;;) {
      // What is behind is not kept: neither while more is read, nor by a run that has ended.
      this.#group = null
      this.#columns = null
      this.#images = null
      const { done, value: group } = await this.#groups.next()
      if (done === true) {
        this.#memory = imageMemory()
        return false
      }
      this.#group = group
      this.#first = this.#nextFirst()
      this.#columns = this.#columnsOf(group)
      this.#ends = endsOfItems(this.#columns, group.rows)
      this.#at = 0
      if (this.advance()) return true
    }
  }

  /** The rows of an item may go on in the next group. */
  isLast(): boolean {
    const first = this.#first
    if (this.#at < this.#ends.length || first === null) return true
    const { kindIndex, resource, idData, idStart, idEnd } = this.row
    if (first.kind !== KINDS[kindIndex] || first.resource !== resource) return true
    return Buffer.compare(utf8(first.id), idData.subarray(idStart, idEnd)) !== 0
  }

  image(): Image | null {
    const group = this.#group
    if (group === null) return null
    if (group.rows === 1 && group.bytesOf('after') + group.bytesOf('after_raw') > KEPT_IMAGE) return largeImage(group)
    this.#images ??= this.#imagesOf(group)
    const { jsons, raws } = this.#images
    const json = jsons.copy(this.#current)
    if (json === null) return null
    if (!isUtf8(json)) throw group.corrupt('a text is not UTF-8')
    return { json, raw: raws.copy(this.#current) }
  }

  #imagesOf(group: RowGroup): { readonly jsons: ByteValues; readonly raws: ByteValues } {
    const { jsons, raws } = this.#memory
    jsons.clear()
    raws.clear()
    return { jsons: group.decoded('after', jsons), raws: group.decoded('after_raw', raws) }
  }

  async close(): Promise<void> {
    this.#group = null
    this.#columns = null
    this.#images = null
    this.#memory = imageMemory()
    await this.#groups?.return(undefined)
  }

  get #needsStamps(): boolean {
    return this.row.isStamped || this.#after !== null || this.#through !== null
  }

  #nextFirst(): Item | null {
    const { done, value } = this.#firsts.next()
    return done === true ? null : value
  }

  #columnsOf(group: RowGroup): Columns {
    const [kinds, resources] = [group.codes('kind'), group.codes('resource')]
    return {
      ids: group.coded('record_id'),
      kinds,
      resources,
      isUniform: kinds.values.length === 1 && resources.values.length === 1,
      kindOf: kinds.values.map((kind) => NAMES.indexOf(kind)),
      wanted: resources.values.map((resource) => this.#resources === null || this.#resources.has(resource)),
      ulids: this.#needsStamps ? group.bytes('ulid') : null,
    }
  }

  /** Of the rows `[start, end)` of an item, whose stamps ascend, the last one that is wanted; less than `start` where none is. */
  #lastWanted({ ids, ulids, kinds, kindOf, resources, wanted }: Columns, start: number, end: number): number {
    if (wanted[resources.codes[start] ?? -1] !== true) return -1
    if (this.#ids !== null && KINDS[kindOf[kinds.codes[start] ?? -1] ?? -1] === 'record') {
      if (!this.#ids.has(ids.entries.text(ids.codes[start] ?? 0) ?? '')) return -1
    }
    let last = end - 1
    if (ulids === null) return last
    if (this.#through !== null) while (last >= start && compareAt(ulids, last, this.#through) > 0) last--
    return last >= start && this.#after !== null && compareAt(ulids, last, this.#after) <= 0 ? -1 : last
  }

  #stand({ ids, ulids, kinds, kindOf, resources }: Columns, i: number): void {
    const { row } = this
    const code = ids.codes[i] ?? 0
    this.#current = i
    row.kindIndex = kindOf[kinds.codes[i] ?? -1] ?? 0
    row.resource = resources.values[resources.codes[i] ?? -1] ?? ''
    setId(row, ids.entries.data, ids.entries.starts[code] ?? 0, ids.entries.ends[code] ?? 0)
    if (ulids === null) return
    row.ulidData = ulids.data
    row.ulidStart = ulids.starts[i] ?? 0
  }
}

/** Memory for the images of a row group, each column's its own. */
function imageMemory(): { readonly jsons: PageMemory; readonly raws: PageMemory } {
  return { jsons: new PageMemory(), raws: new PageMemory() }
}

/** A row group that is out of order would be merged as if it had been passed already: of what is in it, older states would stand. */
function checkOrder(parts: readonly RunPart[]): void {
  let last: Item | null = null
  for (const { name, firsts } of parts) {
    for (const first of firsts) {
      if (last !== null && compareItems(last, first) > 0) throw segmentCorrupt(name, 'its row groups are not in order')
      last = first
    }
  }
}

async function* groupsOf(parts: readonly RunPart[], columns: typeof MERGED_COLUMNS): AsyncGenerator<RowGroup> {
  for (const part of parts) yield* part.scan(columns)
}

/** Behind the last row of each item, in order. In one loop over all rows: it is short, and there are very many. */
function endsOfItems({ ids, kinds, resources, isUniform }: Columns, rows: number): Int32Array {
  const { codes, entries } = ids
  const ends = new Int32Array(rows)
  let count = 0
  for (let at = 1; at < rows; at++) {
    const [code, last] = [codes[at] ?? 0, codes[at - 1] ?? 0]
    const isSame =
      isUniform || (kinds.codes[at] === kinds.codes[at - 1] && resources.codes[at] === resources.codes[at - 1])
    // Two entries of a dictionary that are the same text are not to be there, and are one item.
    if (isSame && (code === last || entries.same(last, code))) continue
    ends[count++] = at
  }
  ends[count++] = rows
  return ends.subarray(0, count)
}

/** Of a row that has a group for itself; null where it deletes. */
function largeImage(group: RowGroup): Image | null {
  // Of a deletion nothing is there that would be large; one that is made to look large is found out here.
  if (group.bytesOf('after') <= KEPT_IMAGE && group.decoded('after').isNull(0)) return null
  return new LargeImage(group)
}

/** An image that is decoded whenever somebody looks, and not kept: it may have to wait for its turn. */
class LargeImage implements Image {
  readonly #group: RowGroup

  constructor(group: RowGroup) {
    this.#group = group
  }

  get bytes(): number {
    return this.#group.bytesOf('after') + this.#group.bytesOf('after_raw')
  }

  get json(): Uint8Array {
    return this.#group.decoded('after').bytes(0) ?? EMPTY
  }

  get raw(): Uint8Array | null {
    return this.#group.decoded('after_raw').bytes(0)
  }
}

/** In a loop: of a run nearly every row is compared, and a view of each would cost more than reading it. */
function compareAt({ data, starts }: ByteValues, i: number, ulid: Uint8Array): number {
  const start = starts[i] ?? 0
  for (let at = 0; at < ulid.length; at++) {
    const difference = (data[start + at] ?? 0) - (ulid[at] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

function least(ulids: readonly Ulid[]): Ulid {
  return ulids.reduce((a, b) => (a < b ? a : b))
}

function greatest(ulids: readonly Ulid[]): Ulid {
  return ulids.reduce((a, b) => (a > b ? a : b))
}
