import type { Backpressure } from '../capture/journal-bound.ts'
import type { KnownGap } from '../model/gap.ts'
import type { Epoch, StreamEntry, Timeline } from '../model/timeline.ts'
import { type Ulid, ulidTime } from '../model/ulid.ts'
import { gapsOf } from '../restore/gaps.ts'
import { type Reach, reachTimes } from '../restore/reach.ts'

/** A stream in a status. */
export interface StreamStatus extends StreamEntry {
  /** RFC 3339: every event of the stream up to here is in the store. */
  readonly sealedThroughTime: string
}

/** What a store holds and how far it reaches. Times are RFC 3339, UTC. */
export interface Status {
  readonly store: string
  readonly database: string
  /** Both can be typed as moments: what is reachable of the last millisecond only in part is not told. */
  readonly reachable: {
    readonly earliest: string | null
    readonly latest: string | null
    readonly limitedBy: string | null
  }
  readonly generation: number
  readonly epochs: readonly Epoch[]
  readonly streams: readonly StreamStatus[]
  readonly segments: { readonly count: number; readonly events: number; readonly bytes: number }
  readonly snapshots: readonly {
    readonly ulid: Ulid
    readonly time: string
    readonly records: number
    readonly bytes: number
  }[]
  readonly gaps: readonly KnownGap[]
  /** Of this process's own journal; null where it captures nothing. */
  readonly pending: Backpressure | null
}

/** The status of a timeline. */
export function statusOf(
  timeline: Timeline,
  reach: Reach,
  names: { readonly store: string; readonly database: string },
  pending: Status['pending'],
): Status {
  return {
    ...names,
    reachable: {
      ...(reachTimes(reach) ?? { earliest: null, latest: null }),
      limitedBy: reach.openStream?.id ?? null,
    },
    generation: timeline.generation,
    epochs: timeline.epochs,
    streams: timeline.streams.map((stream) => ({ ...stream, sealedThroughTime: timeOf(stream.sealedThrough) })),
    segments: {
      count: timeline.segments.length,
      events: timeline.segments.reduce((sum, { events }) => sum + events, 0),
      bytes: timeline.segments.reduce((sum, { bytes }) => sum + bytes, 0),
    },
    snapshots: timeline.snapshots.map(({ ulid, consistentFrom, records, bytes }) => ({
      ulid,
      time: timeOf(consistentFrom),
      records,
      bytes,
    })),
    gaps: gapsOf(timeline),
    pending,
  }
}

function timeOf(ulid: Ulid): string {
  return new Date(ulidTime(ulid)).toISOString()
}
