import { decodeFrame } from '../format/journal-frame.ts'
import type { Ulid } from '../model/ulid.ts'
import { eventsAfter, type Sealed } from './journal-recovery.ts'

/** Durable events that are not in the store yet: encoded events (event-codec), regions in order, without a hole. */
export interface Unsealed {
  readonly regions: readonly Uint8Array[]
  readonly bytes: number
  /** Of the last event in the regions; `sealed` takes it. Where there is none, what was sealed before. */
  readonly throughSequence: number
  /** The last event's; every event of the stream that is not later is in the regions or sealed. */
  readonly throughUlid: Ulid
  /** Whether events are waiting behind these. */
  readonly isLast: boolean
}

/**
 * Whole frames until `maxBytes` are reached or a hole comes. `sealed`: the last sequence that is in the store, and the
 * stamp that is given where there is no frame.
 */
export async function readUnsealed(
  frames: AsyncIterable<Uint8Array>,
  sealed: Sealed,
  maxBytes: number,
): Promise<Unsealed> {
  const regions: Uint8Array[] = []
  let bytes = 0
  let throughSequence = sealed.sequence
  let throughUlid = sealed.ulid
  let isLast = true
  for await (const encoded of frames) {
    const frame = decodeFrame(encoded)
    const region = eventsAfter(frame, throughSequence)
    const hole = regions.length > 0 && frame.firstSequence > throughSequence + 1
    if (region.length > 0 && (bytes >= maxBytes || hole)) {
      isLast = false
      break
    }
    if (regions.length === 0 || !hole) throughUlid = frame.lastUlid
    if (region.length === 0) continue
    regions.push(region)
    bytes += region.length
    throughSequence = frame.firstSequence + frame.eventCount - 1
  }
  return { regions, bytes, throughSequence, throughUlid, isLast }
}
