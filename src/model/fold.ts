import type { Image } from './event.ts'
import type { Ulid } from './ulid.ts'

/** What is known of an item: the event that said so, and the image, or null where the item does not exist. */
export interface Version {
  readonly ulid: Ulid
  readonly image: Image | null
}

/** The part of an event that the fold needs. */
export interface Effect {
  readonly ulid: Ulid
  readonly after: Image | null
}

/**
 * What an event does to an item. The one definition: replay, compaction and snapshots all use it. The later ULID
 * wins and replaces the whole image, so applying an event twice, or late, changes nothing.
 */
export function fold(current: Version | null, event: Effect): Version {
  return current !== null && supersedes(current.ulid, event.ulid) ? current : { ulid: event.ulid, image: event.after }
}

/** Whether what `ulid` says stands although `other` is known too. */
export function supersedes(ulid: Ulid, other: Ulid): boolean {
  return ulid >= other
}
