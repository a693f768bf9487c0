import { hostname } from 'node:os'
import { dirname } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { TidemarkError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { SegmentEncoder } from '../capture/encoder.ts'
import { Sealer } from '../capture/sealer.ts'
import { askStream } from '../capture/stream-control.ts'
import type { TimelineLog } from '../capture/timeline-log.ts'
import type { Ulid } from '../model/ulid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { enterStreams, isOrphan, openLeftovers } from './streams.ts'

/** What local streams are completed over. */
export interface CompletionSeams {
  readonly store: ObjectStore
  readonly timeline: TimelineLog
  readonly clock: Clock
  readonly log: Logger
}

/**
 * Brings into the store what other processes of this host hold in their journals: a live one is asked to, what a dead
 * one left is sealed in its place. `own` is this process's stream. A stream that is complete up to `through` already
 * costs nothing.
 */
export async function completeOthers(seams: CompletionSeams, own: string | null, through: Ulid | null): Promise<void> {
  const { streams } = await seams.timeline.refresh()
  const directories = new Set<string>()
  for (const stream of streams) {
    const elsewhere = stream.state !== 'open' || stream.host !== hostname() || stream.id === own
    if (elsewhere || (through !== null && stream.sealedThrough >= through)) continue
    if (await askStream(stream.id, through)) continue
    if (isOrphan(stream) && stream.journal.kind === 'disk') directories.add(dirname(stream.journal.path))
  }
  for (const directory of directories) await sealLeftovers(seams, directory, through)
  if (directories.size > 0) await seams.timeline.refresh()
}

async function sealLeftovers(seams: CompletionSeams, directory: string, through: Ulid | null): Promise<void> {
  const { store, timeline, clock, log } = seams
  const encoder = new SegmentEncoder()
  const leftovers = await openLeftovers({ store, timeline: timeline.timeline, clock, ack: 'journal', directory })
  try {
    await timeline.commit((now) => (leftovers.length === 0 ? null : { putStreams: enterStreams(now, leftovers) }))
    for (const { journal, entry, recovered } of leftovers) {
      const fenced = (error: TidemarkError): void => log.error({ error: error.message }, 'A stream goes on elsewhere.')
      const seams = { store, timeline, journal, encoder, clock, log, fenced, drained: () => {} }
      const sealer = new Sealer(seams, entry, {})
      // A write of which nobody knows whether it happened keeps the stream open: it takes the database to settle it.
      if (recovered.openIntents.length === 0) await sealer.close()
      else await sealer.seal(through)
    }
  } finally {
    for (const leftover of leftovers) await leftover.release()
    await encoder.close()
  }
}
