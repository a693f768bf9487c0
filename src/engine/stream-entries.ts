import type { Journal } from '../capture/journal.ts'
import { roomBehind } from '../capture/late-stamps.ts'
import { takenOver } from '../capture/sealer.ts'
import type { StreamEntry, Timeline } from '../model/timeline.ts'
import { MIN_ULID, type Ulid } from '../model/ulid.ts'
import { reachOf } from '../restore/reach.ts'
import { endOf, type OwnedStream } from './streams.ts'

/**
 * What entering opened streams changes about the timeline. `waiting`: the stamp before the first event of other streams of this
 * machine that are still to enter, null where there is none. Errors: `STREAM_FENCED` where another process opened or
 * wrote one of them since its entry was read.
 */
export function enterStreams(
  now: Timeline,
  opened: readonly OwnedStream[],
  waiting: Ulid | null = null,
): readonly StreamEntry[] {
  const promised = reachOf(now).latest ?? MIN_ULID
  // No promise goes past what is still to enter; none that was made is taken back.
  const complete = (ulid: Ulid): Ulid => later(promised, waiting !== null && waiting < ulid ? waiting : ulid)
  return opened.map(({ entry, known, journal, recovered, first }) => {
    const present = now.streams.find(({ id }) => id === entry.id)
    const same = present?.owner === known?.owner && present?.lastSequence === known?.lastSequence
    if (present !== undefined && !same) throw takenOver(present)
    if (present === undefined && known === null && first !== null) {
      journal.advanceTo(endOf(now))
      if (first <= promised) return lateEntry(entry, journal, promised)
      return { ...entry, sealedThrough: complete(entry.openedAt) }
    }
    const isHolding = recovered.unsealedEvents > 0 || recovered.openIntents.length > 0
    // It was told to be complete by a store that was set back: what its journal has besides comes behind all that was promised.
    if (present?.state === 'closed' && isHolding) {
      const told = later(promised, present.sealedThrough)
      if (recovered.unsealedEvents > 0) return lateEntry(entry, journal, told)
      // A write that is still to be settled is stamped then.
      journal.advanceTo(endOf(now))
      return { ...entry, sealedThrough: told }
    }
    const isNew = present === undefined ? known === null : present.state === 'closed'
    if (!isNew) return entry
    if (isHolding) return { ...entry, sealedThrough: complete(entry.sealedThrough) }
    // While the stream was closed, or not there, moments up to the present were told to be reachable, and stay so:
    // nothing is in its journal, and its owner stamps only behind this mark.
    journal.advanceTo(endOf(now))
    return { ...entry, sealedThrough: later(known?.sealedThrough ?? MIN_ULID, complete(journal.mark())) }
  })
}

/**
 * The entry of a stream whose journal has stamped events before a moment that was told to be reachable: that moment stays as it was.
 * These events get stamps behind it when they are sealed, and the journal gives none any more that could come among those.
 */
function lateEntry(entry: StreamEntry, journal: Journal, promised: Ulid): StreamEntry {
  journal.advanceTo(roomBehind(promised, journal.lastSequence))
  return { ...entry, sealedThrough: promised, late: { after: promised, through: journal.mark() } }
}

function later(a: Ulid, b: Ulid): Ulid {
  return a > b ? a : b
}
