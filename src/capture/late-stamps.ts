import { EventCursor } from '../format/event-codec.ts'
import type { LateStamps } from '../model/timeline.ts'
import { instantEnd, MIN_ULID, type Ulid, UlidGenerator } from '../model/ulid.ts'

/** Characters of a ULID that say when it is and which one of its instant; the others tell its stream from others. */
const ORDER_CHARS = 18

/**
 * Encoded events (event-codec) of one stream, of which those up to `late.through` get the stamps that they have in the store:
 * behind `late.after` and behind `last`, the last event of the stream that is there, in their order, each capture in an
 * instant of its own. The same regions give the same stamps. What is given is not changed.
 */
export function withLateStamps(
  regions: readonly Uint8Array[],
  late: LateStamps | undefined,
  last: Ulid,
): readonly Uint8Array[] {
  if (late === undefined) return regions
  const ulids = new UlidGenerator(() => 0)
  ulids.advanceTo(last > late.after ? last : late.after)
  let instant: Ulid | null = null
  return regions.map((region) => {
    // Stamps grow: of a stream that entered late long ago, nothing is copied.
    if ((firstStampIn([region]) ?? MIN_ULID) > late.through) return region
    const stamped = new Uint8Array(region)
    const cursor = new EventCursor(stamped)
    while (cursor.next()) {
      const given = Buffer.from(cursor.ulidBytes).toString('latin1')
      if (given > late.through) break
      const isSame = instant === instantEnd(given)
      instant = instantEnd(given)
      const ulid = isSame ? ulids.another() : ulids.next()
      stamped.set(Buffer.from(ulid.slice(0, ORDER_CHARS) + given.slice(ORDER_CHARS), 'latin1'), cursor.ulidStart)
    }
    return stamped
  })
}

/**
 * A stamp that leaves room, behind `after`, for a later stamp for each of `events` events before it.
 */
export function roomBehind(after: Ulid, events: number): Ulid {
  const ulids = new UlidGenerator(() => 0)
  ulids.advanceTo(after)
  ulids.skip(events)
  return ulids.mark()
}

/** The stamp of the first of encoded events; null where there is none. */
export function firstStampIn(regions: readonly Uint8Array[]): Ulid | null {
  for (const region of regions) {
    const cursor = new EventCursor(region)
    if (cursor.next()) return Buffer.from(cursor.ulidBytes).toString('latin1')
  }
  return null
}
