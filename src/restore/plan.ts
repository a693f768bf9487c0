import { TidemarkError } from '../base/errors.ts'
import type { SegmentEntry, SnapshotEntry, Timeline } from '../model/timeline.ts'
import { type Ulid, ulidTime } from '../model/ulid.ts'

/** What a restore will read: a value, computed from the timeline without reading any data. */
export interface Plan {
  /** The state up to and including this stamp. */
  readonly moment: Ulid
  readonly snapshot: SnapshotEntry
  /** Those with events after the snapshot and not after the moment, oldest first. */
  readonly segments: readonly SegmentEntry[]
  /** Of the snapshot and of the segments, as stored. */
  readonly bytes: number
  /** Records of the snapshot and events of the segments: what passes through the merge. */
  readonly rows: number
}

/**
 * The plan for `moment`, which must be reachable: the nearest snapshot at or before it, and the segments from there.
 * Errors: `MOMENT_UNREACHABLE` without such a snapshot; `HISTORY_GAP` where a sequence between the two has a hole.
 */
export function planRestore(timeline: Timeline, moment: Ulid): Plan {
  const snapshot = timeline.snapshots.findLast(({ consistentFrom }) => consistentFrom <= moment)
  if (snapshot === undefined) {
    throw new TidemarkError(
      'MOMENT_UNREACHABLE',
      `There is no snapshot at or before ${iso(moment)}. Nothing was changed.`,
      {
        hint: 'Run `tidemark status` to see which moments are reachable.',
      },
    )
  }
  const segments = segmentsBetween(timeline, snapshot.ulid, moment)
  return {
    moment,
    snapshot,
    segments,
    bytes: segments.reduce((sum, { bytes }) => sum + bytes, snapshot.bytes),
    rows: segments.reduce((sum, { events }) => sum + events, snapshot.records),
  }
}

/** The segments with events in `(after, through]`, oldest first. Errors: `HISTORY_GAP`. */
export function segmentsBetween(timeline: Timeline, after: Ulid, through: Ulid): readonly SegmentEntry[] {
  const gap = gapsOf(timeline).find((hole) => hole.beforeUlid > after && hole.afterUlid <= through)
  if (gap !== undefined) throw gapError(gap)
  return timeline.segments
    .filter(({ firstUlid, lastUlid }) => lastUlid > after && firstUlid <= through)
    .sort((a, b) => (a.firstUlid < b.firstUlid ? -1 : 1))
}

/** A hole in the sequence of a stream: events that were durable once and are in no segment of the timeline. */
export interface Gap {
  readonly stream: string
  readonly firstSequence: number
  readonly lastSequence: number
  /** The last stamp before the hole, or the opening of the stream; the events of the hole are later. */
  readonly afterUlid: Ulid
  /** The first stamp behind the hole, or how far the stream says that it was sealed; the events are earlier. */
  readonly beforeUlid: Ulid
}

/** Every hole of the timeline. */
export function gapsOf(timeline: Timeline): readonly Gap[] {
  return timeline.streams.flatMap(({ id, openedAt, lastSequence, sealedThrough }) => {
    const segments = timeline.segments
      .filter(({ stream }) => stream === id)
      .sort((a, b) => a.firstSequence - b.firstSequence)
    const gaps: Gap[] = []
    let expected = 1
    let afterUlid = openedAt
    const hole = (lastMissing: number, beforeUlid: Ulid): void => {
      if (expected > lastMissing) return
      gaps.push({ stream: id, firstSequence: expected, lastSequence: lastMissing, afterUlid, beforeUlid })
    }
    for (const segment of segments) {
      hole(segment.firstSequence - 1, segment.firstUlid)
      expected = Math.max(expected, segment.lastSequence + 1)
      afterUlid = segment.lastUlid
    }
    hole(lastSequence, sealedThrough)
    return gaps
  })
}

/** The error that names a hole. */
export function gapError({ stream, firstSequence, lastSequence, afterUlid, beforeUlid }: Gap): TidemarkError {
  return new TidemarkError(
    'HISTORY_GAP',
    `Events ${firstSequence} to ${lastSequence} of stream ${stream} are missing (between ${iso(afterUlid)} and ` +
      `${iso(beforeUlid)}); a state after them cannot be told. Nothing was changed.`,
    {
      hint: `Moments before ${iso(afterUlid)}, and those after the next snapshot, are reachable; \`tidemark verify\` names the file.`,
      details: { stream, firstSequence, lastSequence },
    },
  )
}

function iso(ulid: Ulid): string {
  return new Date(ulidTime(ulid)).toISOString()
}
