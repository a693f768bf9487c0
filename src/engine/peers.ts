import { dirname } from 'node:path'
import type { Peers } from '../capture/peers.ts'
import { endClock, StreamPeers } from '../capture/stream-peers.ts'
import type { TimelineLog } from '../capture/timeline-log.ts'
import type { StreamEntry } from '../model/timeline.ts'
import { MIN_ULID } from '../model/ulid.ts'
import type { OwnedStream } from './streams.ts'

/** The other processes, as long as a session is open. */
export interface OpenPeers extends Peers {
  close(): void
}

/**
 * The other processes that may write what the owner of a stream writes. Those whose journal directories can be reached from
 * here are heard; of the others it is known from the timeline, as it was read last, that they are there.
 */
export function openPeers(
  own: OwnedStream,
  seams: { readonly timeline: TimelineLog; readonly source: { readonly volatile: boolean } },
): OpenPeers {
  const { journal, id } = own.entry
  const others = (): readonly StreamEntry[] =>
    seams.timeline.timeline.streams.filter((stream) => stream.state === 'open' && stream.id !== id)
  // What is in the memory of this process has writers elsewhere only where several captures run in it.
  if (journal.kind !== 'disk' || seams.source.volatile) {
    return { learn: () => MIN_ULID, tell: () => {}, isShared: () => others().length > 0, close: () => {} }
  }
  const paths = others().flatMap((other) => (other.journal.kind === 'disk' ? [other.journal.path] : []))
  const elsewhere = paths.filter((path) => dirname(path) !== dirname(journal.path))
  const peers: StreamPeers = StreamPeers.open(journal.path, own.journal.mark(), elsewhere, () =>
    others().some((other) => !isHeard(peers, other)),
  )
  return peers
}

function isHeard(peers: StreamPeers, { journal }: StreamEntry): boolean {
  return journal.kind === 'disk' && peers.hears(journal.path)
}

/** Notes that nothing more comes from a stream that was closed: who hears it need not wait for more. */
export function endClockOf({ journal }: StreamEntry): void {
  if (journal.kind === 'disk') endClock(journal.path)
}
