import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import { type JournalPeek, peekFiles, peekStore } from '../capture/journal-peek.ts'
import { NodeDisk } from '../capture/node-disk.ts'
import { askReport, type StreamReport } from '../capture/stream-control.ts'
import type { StreamEntry } from '../model/timeline.ts'
import { ulidTime } from '../model/ulid.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { addressOf, livenessOfStream } from './liveness.ts'
import { sealedOf } from './streams.ts'

/**
 * How a stream is doing. `idle`: alive, with everything in the store. `behind`: alive, with events that wait for their
 * seal. `failing`: alive, and its seals fail or are overdue. `died`: its process ended without closing it, and what it
 * left can be brought in from here. `stalled`: it may hold later events, and nobody can be asked: its process does not
 * answer, may be alive where nobody here can tell, or ended with its journal out of reach.
 */
export type StreamState = 'closed' | 'idle' | 'behind' | 'failing' | 'died' | 'stalled'

/** What is known of a stream beyond the timeline. */
export interface StreamCondition {
  readonly state: StreamState
  /** Durable events that are not in the store; null where that cannot be told from here. */
  readonly pending: { readonly events: number; readonly bytes: number } | null
  /** Age of the oldest of them, milliseconds; 0 where there is none; null where it cannot be told. */
  readonly lagMs: number | null
  /** The last of them, RFC 3339, where its journal was read. */
  readonly lastPendingEvent: string | null
  /** For people: what the state rests on. */
  readonly why: string | null
  /** What its process said; null where it was not asked. */
  readonly report: StreamReport | null
}

/** What conditions are found out with. */
export interface ConditionSeams {
  readonly store: ObjectStore
  readonly clock: Clock
  /** This process's own stream. */
  readonly own: { readonly stream: string; report(): StreamReport } | null
}

/** A seal that is this much later than it should be is overdue, milliseconds. */
const OVERDUE_MS = 30_000

/** Finds out how a stream is doing. Changes nothing; asks the store only where the journal of a dead stream is in it. */
export async function conditionOf(stream: StreamEntry, seams: ConditionSeams): Promise<StreamCondition> {
  if (stream.state === 'closed') return { ...UNKNOWN, state: 'closed', pending: NOTHING, lagMs: 0 }
  if (stream.id === seams.own?.stream) return aliveAs(seams.own.report())
  const process = `process ${stream.pid} of host ${stream.host}`
  try {
    const address = await addressOf(stream)
    const report = address === null ? null : await askReport(address)
    if (report !== null) return aliveAs(report)
  } catch (error) {
    return { ...UNKNOWN, why: messageOf(error) }
  }
  const liveness = await livenessOfStream(stream)
  if (liveness === 'dead') return leftBehind(stream, seams, 'died', `${process} has ended without closing it`)
  const why = liveness === 'alive' ? 'lives and cannot be asked from here' : 'may be alive: nobody here can tell'
  return leftBehind(stream, seams, 'stalled', `${process} ${why}`)
}

const NOTHING = { events: 0, bytes: 0 }
const UNKNOWN: StreamCondition = {
  state: 'stalled',
  pending: null,
  lagMs: null,
  lastPendingEvent: null,
  why: null,
  report: null,
}

function aliveAs(report: StreamReport): StreamCondition {
  const { pending, failures, sealMs } = report
  const found = { pending, lagMs: pending.ageMs, lastPendingEvent: null, report }
  if (failures > 0)
    return { ...found, state: 'failing', why: `its last ${failures} attempts to reach the store failed` }
  if (pending.ageMs > sealMs + OVERDUE_MS) return { ...found, state: 'failing', why: 'its next seal is overdue' }
  return { ...found, state: pending.events > 0 ? 'behind' : 'idle', why: null }
}

/** What can be read of a journal whose owner was not asked. */
async function leftBehind(
  stream: StreamEntry,
  { store, clock }: ConditionSeams,
  state: 'died' | 'stalled',
  why: string,
): Promise<StreamCondition> {
  const { journal, id } = stream
  const sealed = sealedOf(stream)
  const unknown = (what: string): StreamCondition => ({ ...UNKNOWN, why: `${why}; ${what}` })
  if (journal.kind === 'memory') return unknown('its journal was in memory')
  const there = journal.kind === 'disk' ? `its journal is at ${journal.path} there` : ''
  let peek: JournalPeek
  try {
    peek =
      journal.kind === 'disk'
        ? await peekFiles(new NodeDisk(), journal.path, id, sealed, store.secrets)
        : await peekStore(store, id, sealed)
  } catch (error) {
    return unknown(
      journal.kind === 'disk' && state === 'stalled' ? there : `its journal cannot be read: ${messageOf(error)}`,
    )
  }
  const { events, bytes, since, lastUlid, openIntents, isWhole, isSetBack } = peek
  if (!isWhole) return { ...unknown('files of its journal are missing'), state }
  if (isSetBack && state === 'died') return { ...unknown('the store has lost events of it that it had'), state }
  const unsettled = openIntents > 0 ? `; ${openIntents} of its writes may have happened or not` : ''
  return {
    state,
    pending: { events, bytes },
    lagMs: since === null ? 0 : Math.max(0, clock.now() - since),
    lastPendingEvent: lastUlid === null ? null : new Date(ulidTime(lastUlid)).toISOString(),
    why: `${why}; its journal can be read${state === 'stalled' && journal.kind === 'disk' ? ` here, at ${journal.path}` : ''}${unsettled}`,
    report: null,
  }
}
