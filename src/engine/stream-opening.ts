import type { Loss } from '../model/gap.ts'
import type { StreamEntry, Timeline, TimelineChange } from '../model/timeline.ts'
import type { Ulid } from '../model/ulid.ts'
import { enterStreams, lossesOf, type OwnedStream } from './streams.ts'

/**
 * What opening streams changes about the timeline, where the owners of `dead` are known to be. What a crash took from a journal in memory is gone for good, and
 * nobody knows how much that was: until `now`, a stamp that no event has, it is a loss.
 */
export function openingOf(
  timeline: Timeline,
  opened: readonly [OwnedStream, ...OwnedStream[]],
  dead: ReadonlySet<string>,
  now: Ulid,
): TimelineChange {
  const lost = timeline.streams.filter(
    ({ id, state, journal }) => state === 'open' && journal.kind === 'memory' && dead.has(id),
  )
  const addLosses = [...lost.map((stream) => lossOf(stream, now)), ...lossesOf(timeline, opened)]
  const putStreams = [
    ...lost.map((stream): StreamEntry => ({ ...stream, state: 'closed' })),
    ...enterStreams(timeline, opened),
  ]
  const first = timeline.epochs.length === 0
  return {
    putStreams,
    ...(addLosses.length === 0 ? {} : { addLosses }),
    ...(first ? { addEpoch: { epoch: 1, startedAt: opened[0].entry.openedAt, restored: null } } : {}),
  }
}

/** What entering streams that were left behind changes about the timeline. */
export function enteringOf(now: Timeline, taken: readonly OwnedStream[]): TimelineChange {
  const addLosses = lossesOf(now, taken)
  return { putStreams: enterStreams(now, taken), ...(addLosses.length === 0 ? {} : { addLosses }) }
}

function lossOf({ id, lastSequence, sealedThrough, host, pid }: StreamEntry, now: Ulid): Loss {
  return {
    stream: id,
    firstSequence: lastSequence + 1,
    after: sealedThrough,
    through: now > sealedThrough ? now : sealedThrough,
    cause: 'crash',
    reason: `process ${pid} of ${host} ended without closing its journal, which was in memory`,
    by: null,
  }
}
