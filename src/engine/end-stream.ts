import { TidemarkError } from '../base/errors.ts'
import { SegmentEncoder } from '../capture/encoder.ts'
import { Sealer } from '../capture/sealer.ts'
import type { Loss } from '../model/gap.ts'
import type { StreamEntry, Timeline } from '../model/timeline.ts'
import { UlidGenerator } from '../model/ulid.ts'
import { type CompletionSeams, sealDeadStream } from './completion.ts'
import { conditionOf, type StreamCondition } from './condition.ts'
import { livenessOfStream } from './liveness.ts'
import { checkOptions, checkText } from './options.ts'
import { enterOpened } from './stream-opening.ts'
import { newOwner, takeOverStoreStream } from './streams.ts'
import { entered, journalDirectories, waitingStreams } from './waiting-streams.ts'

/** Which stream will never come back, why, and who says so. */
export interface EndStreamOptions {
  readonly stream: string
  readonly reason: string
  readonly name: string
}

const NAMES = ['stream', 'reason', 'name']
const ALIVE: readonly StreamCondition['state'][] = ['idle', 'behind', 'failing']

/**
 * Ends a stream whose process will never come back. What its journal still holds and can be read from here, whichever
 * host it ran on, is brought into the store; where something is missing then, or may be, it is declared a loss: a gap
 * without a known end, which can be acknowledged, and behind which the next baseline begins, taken at the start of a
 * capture. Returns the loss, or null where nothing is missing. A process that goes on with the stream all the same is
 * refused. Errors: `STREAM_NOT_FOUND`, `STREAM_LIVE`.
 */
export async function endStream(seams: CompletionSeams, options: EndStreamOptions): Promise<Loss | null> {
  checkOptions('endStream', options, NAMES)
  for (const name of NAMES) checkText('endStream', name, Reflect.get(options, name) ?? '')
  const { timeline, store, clock } = seams
  const before = await timeline.refresh()
  const waiting = await waitingStreams(journalDirectories(before, seams.file.id), before)
  const stream = openStreamOf({ streams: [...before.streams, ...waiting] }, options.stream)
  const condition = await conditionOf(stream, { store, clock, own: null })
  if (ALIVE.includes(condition.state) || (await livenessOfStream(stream)) === 'alive') throw live(stream)
  if (condition.pending !== null) await bringIn(seams, stream)
  let loss: Loss | null = null
  await timeline.refresh()
  await timeline.commit((now) => {
    // One that never reached the store, and whose journal cannot be read, enters it as a loss.
    const entry = now.streams.find(({ id }) => id === stream.id) ?? stream
    loss = entry.state === 'open' ? lossOf(entry, options, clock.now()) : null
    if (loss === null) return null
    // With an owner that nobody has: a process that is alive after all may write no more to it.
    return { putStreams: [{ ...entry, state: 'closed', owner: newOwner() }], addLosses: [loss] }
  })
  await entered(stream)
  return loss
}

async function bringIn(seams: CompletionSeams, stream: StreamEntry): Promise<void> {
  if (stream.journal.kind === 'disk') {
    await sealDeadStream(seams, stream)
    return
  }
  const { store, timeline, clock, log } = seams
  const encoder = new SegmentEncoder(seams.recordKeys, log)
  const taken = await takeOverStoreStream({ store, timeline: timeline.timeline, clock }, stream.id)
  try {
    await enterOpened(timeline, [taken])
    const { journal, entry, recovered } = taken
    const fenced = (error: TidemarkError): void => log.error({ error: error.message }, 'A stream goes on elsewhere.')
    const sealer = new Sealer({ store, timeline, journal, encoder, clock, log, fenced, drained: () => {} }, entry, {})
    if (recovered.openIntents.length === 0) await sealer.close()
    else await sealer.seal()
  } finally {
    await taken.release()
    await encoder.close()
  }
}

function lossOf(entry: StreamEntry, { reason, name }: EndStreamOptions, nowMs: number): Loss {
  const ulids = new UlidGenerator(() => nowMs)
  ulids.advanceTo(entry.sealedThrough)
  return {
    stream: entry.id,
    firstSequence: entry.lastSequence + 1,
    after: entry.sealedThrough,
    through: ulids.next(),
    cause: 'ended',
    reason,
    by: name,
  }
}

function openStreamOf({ streams }: Pick<Timeline, 'streams'>, id: string): StreamEntry {
  const stream = streams.find((one) => one.id === id)
  if (stream?.state === 'open') return stream
  const open = streams.filter(({ state }) => state === 'open').map((one) => one.id)
  throw new TidemarkError(
    'STREAM_NOT_FOUND',
    stream === undefined
      ? `There is no stream ${id}. Nothing was changed.`
      : `Stream ${id} is closed already: everything it wrote is in the store, or a known gap. Nothing was changed.`,
    {
      hint: open.length === 0 ? 'No stream is open.' : `Open streams: ${open.join(', ')}; see tidemark status.`,
      details: { stream: id },
    },
  )
}

function live({ id, host, pid }: StreamEntry): TidemarkError {
  return new TidemarkError(
    'STREAM_LIVE',
    `Stream ${id} is being written by process ${pid} of ${host}. Nothing was changed.`,
    {
      hint: 'Stop that process first: closing it brings everything into the store, and nothing need be ended.',
      details: { stream: id, host, pid },
    },
  )
}
