import { compareUtf8 } from '../base/bytes.ts'
import { type Item, KINDS } from './event.ts'

/**
 * The order of items in segments, snapshots and replay: by kind (schemas first, so that a restore can build what
 * records need), then resource, then id, both by UTF-8 bytes.
 */
export function compareItems(a: Item, b: Item): number {
  if (a.kind !== b.kind) return KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind)
  if (a.resource !== b.resource) return compareUtf8(a.resource, b.resource)
  return a.id === b.id ? 0 : compareUtf8(a.id, b.id)
}
