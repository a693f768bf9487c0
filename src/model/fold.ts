import type { Image } from './event.ts'
import type { Ulid } from './ulid.ts'

/** What is known of an item: the event that said so, and the image, or null where the item does not exist. */
export interface Version {
  readonly ulid: Ulid
  readonly image: Image | null
}

/**
 * What an event does to an item. The one definition: replay, compaction and snapshots all rest on it. The later
 * stamp wins and replaces the whole image, so applying an event twice, or late, changes nothing.
 */
export function fold(current: Version | null, event: Version): Version {
  if (current === null) return event
  return currentStands(current.ulid < event.ulid ? -1 : 1) ? current : event
}

/**
 * Whether the current version stands although an event is known, by the order of their stamps (current against
 * event): the rule of `fold` for readers that compare stamps as bytes.
 */
export function currentStands(order: number): boolean {
  return order >= 0
}
