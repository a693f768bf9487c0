import { FIELD } from '../event-codec.ts'
import type { EventColumns } from './columns.ts'
import type { Interner } from './interner.ts'

/** The rows of a segment: which event stands in each row, and whether its before-image is elided. */
export interface SortedRows {
  /** Event of each row. */
  readonly events: Uint32Array
  readonly elided: Uint8Array
}

/**
 * Orders events by (kind, resource, id, ULID). Items are few next to events, so only they are compared; events are
 * placed by counting. Within an item they keep the order of arrival, which is ULID order within a stream.
 */
export function sortRows(columns: EventColumns, rowGroupRows: number): SortedRows {
  const rankOf = rankItems(columns.resources, columns.items)
  const next = new Uint32Array(columns.items.count + 1)
  for (let event = 0; event < columns.count; event++) {
    const rank = (rankOf[columns.item[event] ?? 0] ?? 0) + 1
    next[rank] = (next[rank] ?? 0) + 1
  }
  for (let rank = 1; rank < next.length; rank++) next[rank] = (next[rank] ?? 0) + (next[rank - 1] ?? 0)
  const events = new Uint32Array(columns.count)
  for (let event = 0; event < columns.count; event++) {
    const rank = rankOf[columns.item[event] ?? 0] ?? 0
    const row = next[rank] ?? 0
    events[row] = event
    next[rank] = row + 1
  }
  if (!columns.ascending) orderWithinItems(columns, events)
  return { events, elided: elide(columns, events, rowGroupRows) }
}

/** The rank of each item in the order of segments. */
function rankItems(resources: Interner, items: Interner): Uint32Array {
  if (areOrdered(resources, items)) return Uint32Array.from({ length: items.count }, (_, item) => item)
  const groups = Array.from({ length: resources.count }, (_, group) => group)
  groups.sort((a, b) => resources.parent(a) - resources.parent(b) || resources.compare(a, b))
  const members: number[][] = groups.map(() => [])
  for (let item = 0; item < items.count; item++) members[items.parent(item)]?.push(item)
  const rankOf = new Uint32Array(items.count)
  let rank = 0
  for (const group of groups) for (const item of sortIds(items, members[group] ?? [])) rankOf[item] = rank++
  return rankOf
}

/** Whether items came in the order of segments, as those of a merge do. */
function areOrdered(resources: Interner, items: Interner): boolean {
  for (let item = 1; item < items.count; item++) {
    const [before, group] = [items.parent(item - 1), items.parent(item)]
    const order =
      before === group
        ? items.compare(item - 1, item)
        : resources.parent(before) - resources.parent(group) || resources.compare(before, group)
    if (order >= 0) return false
  }
  return true
}

/** Sorts by six bytes as a number, those after what all ids have in common; whole ids only where these are equal. */
function sortIds(items: Interner, entries: readonly number[]): readonly number[] {
  const first = entries[0]
  if (first === undefined) return entries
  let common = items.span(first).end - items.span(first).start
  for (const entry of entries) {
    let same = 0
    while (same < common && items.byteAt(entry, same) === items.byteAt(first, same)) same++
    common = same
  }
  const keys = Float64Array.from(entries, (entry) => {
    let key = 0
    // 257 values a byte: the end of an id comes before every byte.
    for (let i = 0; i < 6; i++) key = key * 257 + items.byteAt(entry, common + i) + 1
    return key
  })
  const byKey = new Map(entries.map((entry, i) => [keys[i] ?? 0, entry]))
  if (byKey.size < entries.length) return sortAlike(items, entries, keys)
  // Numbers alone are sorted by the runtime, without a call for each comparison.
  return Array.from(keys.sort(), (key) => byKey.get(key) ?? 0)
}

/** The same where some have one key. */
function sortAlike(items: Interner, entries: readonly number[], keys: Float64Array): number[] {
  const order = entries.map((_, i) => i)
  order.sort((a, b) => (keys[a] ?? 0) - (keys[b] ?? 0) || items.compare(entries[a] ?? 0, entries[b] ?? 0))
  return order.map((i) => entries[i] ?? 0)
}

/** Sorts the events of an item by ULID where several streams, or copies, broke the order of arrival. */
function orderWithinItems(columns: EventColumns, events: Uint32Array): void {
  let start = 0
  let ordered = true
  for (let row = 1; row <= events.length; row++) {
    const event = events[row] ?? 0
    const above = events[row - 1] ?? 0
    if (row < events.length && columns.item[event] === columns.item[above]) {
      if (ordered && columns.compareUlids(above, event) > 0) ordered = false
      continue
    }
    if (!ordered) events.subarray(start, row).sort((a, b) => columns.compareUlids(a, b))
    start = row
    ordered = true
  }
}

/**
 * Marks the rows whose before-image is the after-image of the row above, JSON and raw. Never the first row of a row
 * group: each can be read by itself.
 */
function elide(columns: EventColumns, events: Uint32Array, rowGroupRows: number): Uint8Array {
  const elided = new Uint8Array(events.length)
  for (let row = 1; row < events.length; row++) {
    if (row % rowGroupRows === 0) continue
    const event = events[row] ?? 0
    const above = events[row - 1] ?? 0
    if (columns.item[event] !== columns.item[above] || !columns.has(event, FIELD.beforeJson)) continue
    const same =
      sameField(columns, event, FIELD.beforeJson, above, FIELD.afterJson) &&
      sameField(columns, event, FIELD.beforeRaw, above, FIELD.afterRaw)
    if (same) elided[row] = 1
  }
  return elided
}

function sameField(columns: EventColumns, a: number, fieldA: number, b: number, fieldB: number): boolean {
  if (columns.has(a, fieldA) !== columns.has(b, fieldB)) return false
  const start = columns.start(a, fieldA)
  const end = columns.end(a, fieldA)
  const otherStart = columns.start(b, fieldB)
  const otherEnd = columns.end(b, fieldB)
  if (end - start !== otherEnd - otherStart) return false
  return columns.bufferAt(a).compare(columns.bufferAt(b), otherStart, otherEnd, start, end) === 0
}
