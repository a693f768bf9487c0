import { dirname } from 'node:path'
import type { Peers } from '../capture/peers.ts'
import { endClock, StreamPeers } from '../capture/stream-peers.ts'
import type { StreamEntry, Timeline } from '../model/timeline.ts'
import { firstUlidAt, MIN_ULID, type Ulid } from '../model/ulid.ts'
import type { TimelineLog } from '../timeline/log.ts'
import type { OwnedStream } from './streams.ts'

/** After every stamp. */
const END: Ulid = firstUlidAt(2 ** 48 - 1)

/** The other processes, as long as a session is open. */
export interface OpenPeers extends Peers {
  /** Every later stamp of those that cannot be heard is greater, as far as the timeline was read. */
  passed(): Ulid
  /** The greatest stamp of theirs that the timeline names; `MIN_ULID` where there is none. */
  told(): Ulid
  close(): void
}

/** What is known of others without asking the store. */
export interface PeersSeams {
  readonly timeline: Pick<TimelineLog, 'timeline'>
  readonly source: { readonly volatile: boolean }
  /** Whether the timeline was read: before, there may be anybody on other machines. */
  readonly isRead: () => boolean
}

/**
 * The other processes that may write what the owner of a stream writes. Those whose journal directories can be reached from
 * here are heard; of the others it is known from the timeline, as it was read last, that they are there.
 */
export function openPeers(own: OwnedStream, { timeline, source, isRead }: PeersSeams): OpenPeers {
  const { journal, id } = own.entry
  let read: Timeline | null = null
  let open: readonly StreamEntry[] = []
  // Asked at every event: looked through when the timeline has moved on.
  const others = (): readonly StreamEntry[] => {
    if (read !== timeline.timeline) {
      read = timeline.timeline
      open = read.streams.filter((stream) => stream.state === 'open' && stream.id !== id)
    }
    return open
  }
  // What is in the memory of this process has writers elsewhere only where several captures run in it.
  const heard = journal.kind === 'disk' && !source.volatile ? hear(journal.path, own, others) : null
  const elsewhere = (): readonly StreamEntry[] => others().filter((other) => !isHeard(heard, other))
  const isElsewhere = (): boolean => !isRead() || others().some((other) => !isHeard(heard, other))
  return {
    learn: () => heard?.learn() ?? MIN_ULID,
    tell: (ulid) => heard?.tell(ulid),
    isShared: () => heard?.isShared() === true || isElsewhere(),
    isElsewhere,
    passed: () =>
      elsewhere().reduce(
        (least, { sealedThrough }) => (sealedThrough < least ? sealedThrough : least),
        isRead() ? END : MIN_ULID,
      ),
    told: () =>
      elsewhere().reduce((most, { sealedThrough }) => (sealedThrough > most ? sealedThrough : most), MIN_ULID),
    close: () => heard?.close(),
  }
}

function hear(path: string, { journal }: OwnedStream, others: () => readonly StreamEntry[]): StreamPeers {
  const paths = others().flatMap((other) => (other.journal.kind === 'disk' ? [other.journal.path] : []))
  const elsewhere = paths.filter((other) => dirname(other) !== dirname(path))
  return StreamPeers.open(path, journal.mark(), elsewhere)
}

function isHeard(peers: StreamPeers | null, { journal }: StreamEntry): boolean {
  return journal.kind === 'disk' && peers?.hears(journal.path) === true
}

/** Whether no stream but `own` was open after `ulid`, or can have been. */
export function isAloneIn({ streams, losses }: Timeline, own: string, ulid: Ulid): boolean {
  const isOver = streams.every(({ id, state, sealedThrough }) => {
    return id === own || (state === 'closed' && sealedThrough < ulid)
  })
  return isOver && losses.every(({ through }) => through < ulid)
}

/** Notes that nothing more comes from a stream that was closed: who hears it need not wait for more. */
export function endClockOf({ journal }: StreamEntry): void {
  if (journal.kind === 'disk') endClock(journal.path)
}
