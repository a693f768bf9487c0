import { EMPTY, utf8 } from '../base/bytes.ts'
import type { SegmentReader } from '../format/segment/read.ts'
import type { RowGroup } from '../format/segment/row-group.ts'
import type { ByteValues, CodedValues } from '../format/segment/values.ts'
import { type Image, type Item, KINDS } from '../model/event.ts'
import type { Ulid } from '../model/ulid.ts'
import { emptyRow, prefixOf, type Row, type Run } from './run.ts'
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

const COLUMNS = ['kind', 'resource', 'record_id', 'ulid', 'after', 'after_raw'] as const

interface Columns {
  readonly ids: ByteValues
  readonly ulids: ByteValues
  readonly kinds: CodedValues
  readonly resources: CodedValues
  /** Index in KINDS of each kind code. */
  readonly kindOf: readonly number[]
  /** Whether the rows of a resource code are wanted. */
  readonly wanted: readonly boolean[]
}

/** A segment as a run: of each item the last wanted row of each row group, images decoded only where they are asked for. */
export class SegmentRun implements Run {
  readonly row: Row = emptyRow()
  readonly bytes: number
  readonly #groups: AsyncGenerator<RowGroup>
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
  #at = 0
  /** The row that stands for the item. */
  #current = 0

  constructor(reader: SegmentReader, { after, through, selection }: EventRange) {
    const groups = groupsOf(reader, selection)
    this.bytes = reader.scanBytes(groups, COLUMNS)
    this.#groups = reader.scan(groups, COLUMNS)
    this.#firsts = groups.flatMap((index) => reader.rowGroups[index]?.first ?? []).values()
    this.#first = this.#nextFirst()
    this.#resources = selection.resources === undefined ? null : new Set(selection.resources)
    this.#ids = selection.ids === undefined ? null : new Set(selection.ids)
    this.#after = reader.info.firstUlid <= after ? utf8(after) : null
    this.#through = reader.info.lastUlid > through ? utf8(through) : null
  }

  advance(): boolean {
    const [group, columns] = [this.#group, this.#columns]
    if (group === null || columns === null) return false
    let found = -1
    while (this.#at < group.rows) {
      if (found >= 0 && !this.#sameItem(columns, found, this.#at)) break
      if (this.#isWanted(columns, this.#at)) found = this.#at
      this.#at++
    }
    if (found < 0) return false
    this.#stand(columns, found)
    return true
  }

  async load(): Promise<boolean> {
    for (;;) {
      // What is behind is not kept: neither while more is read, nor by a run that has ended.
      this.#group = null
      this.#columns = null
      const { done, value: group } = await this.#groups.next()
      if (done === true) return false
      this.#group = group
      this.#first = this.#nextFirst()
      this.#columns = this.#columnsOf(group)
      this.#at = 0
      if (this.advance()) return true
    }
  }

  /** The rows of an item may go on in the next group. */
  isLast(): boolean {
    const first = this.#first
    if (this.#at < (this.#group?.rows ?? 0) || first === null) return true
    const { kindIndex, resource, idData, idStart, idEnd } = this.row
    if (first.kind !== KINDS[kindIndex] || first.resource !== resource) return true
    return Buffer.compare(utf8(first.id), idData.subarray(idStart, idEnd)) !== 0
  }

  image(): Image | null {
    const group = this.#group
    if (group === null) return null
    if (group.rows === 1 && group.bytesOf('after') + group.bytesOf('after_raw') > KEPT_IMAGE) return largeImage(group)
    const json = group.bytes('after').bytes(this.#current)
    return json === null ? null : { json, raw: group.bytes('after_raw').bytes(this.#current) }
  }

  async close(): Promise<void> {
    this.#group = null
    await this.#groups.return(undefined)
  }

  #nextFirst(): Item | null {
    const { done, value } = this.#firsts.next()
    return done === true ? null : value
  }

  #columnsOf(group: RowGroup): Columns {
    const [kinds, resources] = [group.codes('kind'), group.codes('resource')]
    return {
      ids: group.bytes('record_id'),
      ulids: group.bytes('ulid'),
      kinds,
      resources,
      kindOf: kinds.values.map((kind) => NAMES.indexOf(kind)),
      wanted: resources.values.map((resource) => this.#resources === null || this.#resources.has(resource)),
    }
  }

  #sameItem({ ids, kinds, resources }: Columns, i: number, j: number): boolean {
    return kinds.codes[i] === kinds.codes[j] && resources.codes[i] === resources.codes[j] && ids.same(i, j)
  }

  #isWanted({ ids, ulids, kinds, kindOf, resources, wanted }: Columns, i: number): boolean {
    if (wanted[resources.codes[i] ?? -1] !== true) return false
    if (this.#after !== null && compareAt(ulids, i, this.#after) <= 0) return false
    if (this.#through !== null && compareAt(ulids, i, this.#through) > 0) return false
    if (this.#ids === null || KINDS[kindOf[kinds.codes[i] ?? -1] ?? -1] !== 'record') return true
    return this.#ids.has(ids.text(i) ?? '')
  }

  #stand({ ids, ulids, kinds, kindOf, resources }: Columns, i: number): void {
    const { row } = this
    this.#current = i
    row.kindIndex = kindOf[kinds.codes[i] ?? -1] ?? 0
    row.resource = resources.values[resources.codes[i] ?? -1] ?? ''
    row.idData = ids.data
    row.idStart = ids.starts[i] ?? 0
    row.idEnd = ids.ends[i] ?? 0
    row.prefix = prefixOf(row.idData, row.idStart, row.idEnd)
    row.ulidData = ulids.data
    row.ulidStart = ulids.starts[i] ?? 0
  }
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

/** The row groups that can hold rows of the selection, in order. */
function groupsOf(reader: SegmentReader, { resources, ids }: Selection): number[] {
  if (resources === undefined) return reader.rowGroups.map((_, index) => index)
  const groups = new Set<number>()
  for (const resource of resources) {
    const kinds = ids === undefined ? KINDS : KINDS.filter((kind) => kind !== 'record')
    for (const kind of kinds) for (const index of reader.rowGroupsOf({ kind, resource })) groups.add(index)
    for (const id of ids ?? []) {
      const item = { kind: 'record' as const, resource, id }
      if (reader.mayContain(item)) for (const index of reader.rowGroupsOf(item)) groups.add(index)
    }
  }
  return [...groups].sort((a, b) => a - b)
}
