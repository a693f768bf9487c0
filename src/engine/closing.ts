import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Pending } from '../capture/backlog.ts'
import { SEAL_DEFAULTS, type SealOptions } from '../capture/sealer.ts'
import type { Ack } from './streams.ts'

interface ClosingSeams {
  readonly clock: Clock
  readonly log: Logger
  readonly ack: Ack
}

/** A capture that is being ended. */
interface Closing {
  readonly stream: string
  /** What is not in the store yet. */
  readonly pending: Pending
}

/** How long closing may take, milliseconds. */
export function closeLimitMs(seal: SealOptions = {}): number {
  return seal.closeMs ?? SEAL_DEFAULTS.closeMs
}

/**
 * Ends a capture; resolves within `ms`. Closing goes on after that for as long as the process lives, and what is not in
 * the store by then is logged. Errors: those of `close`.
 */
export async function closeWithin(
  ms: number,
  seams: ClosingSeams,
  closing: Closing,
  close: () => Promise<void>,
): Promise<void> {
  const { clock, log } = seams
  const done = new AbortController()
  const closed = close().finally(() => done.abort())
  const late = clock.idle(ms, done.signal).then(() => {
    if (done.signal.aborted) return closed
    tellLate(ms, seams, closing)
    closed.catch((error: unknown) => log.error({ error: messageOf(error) }, 'The capture could not be closed.'))
    return undefined
  })
  await Promise.race([closed, late])
}

function tellLate(closeMs: number, { log, ack }: ClosingSeams, { stream, pending }: Closing): void {
  const { events, bytes } = pending
  const about = { stream, closeMs, events, bytes }
  if (ack === 'memory') {
    log.error(about, 'The store was too slow: these events are in memory alone, and are lost when the process ends.')
  } else {
    log.error(
      about,
      'The store was too slow to close the stream in time: these events are safe in the journal. The next start with ' +
        'this journal brings them in, and so does a command where it is; until then later moments cannot be reached.',
    )
  }
}
