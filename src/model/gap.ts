import type { Ulid } from './ulid.ts'

/** Events that are in no segment: a hole in the sequence of a stream, or a loss that was declared. */
export interface Gap {
  readonly stream: string
  readonly firstSequence: number
  /** Null: nobody knows how many are missing, nor whether any are. */
  readonly lastSequence: number | null
  /** The last stamp before it; the missing events are later. */
  readonly afterUlid: Ulid
  /** The missing events are not later than this: the first stamp behind it, or when the loss was noticed. */
  readonly beforeUlid: Ulid
}

/** Events that are gone and that nobody has counted; for good, and a part of the history from then on. */
export interface Loss {
  readonly stream: string
  /** The sequence that the first of them had, if there was one. */
  readonly firstSequence: number
  /** They are later than this, and not later than `through`. */
  readonly after: Ulid
  readonly through: Ulid
  /** A crash of a process whose journal was in memory, a stream that was declared ended, or files of a journal that were taken away. */
  readonly cause: 'crash' | 'ended' | 'missing'
  readonly reason: string
  /** Who declared it; null where Tidemark noticed it by itself. */
  readonly by: string | null
}

/** That somebody knows of a gap and goes on: it is told from then on, but is no alarm. */
export interface Acknowledgement {
  readonly stream: string
  readonly firstSequence: number
  /** Null acknowledges a gap without a known end, as it was at `at`. */
  readonly lastSequence: number | null
  readonly reason: string
  readonly by: string
  readonly at: Ulid
}

/** A gap, and who knows of it. */
export interface KnownGap extends Gap {
  readonly acknowledged: Pick<Acknowledgement, 'reason' | 'by' | 'at'> | null
}

/** The gap with the acknowledgement that covers it whole, if there is one. */
export function knownGap(gap: Gap, acknowledgements: readonly Acknowledgement[]): KnownGap {
  const { stream, firstSequence, lastSequence, afterUlid, beforeUlid } = gap
  const found = acknowledgements.find((one) => one.stream === stream && covers(one, gap))
  const acknowledged = found === undefined ? null : { reason: found.reason, by: found.by, at: found.at }
  return { stream, firstSequence, lastSequence, afterUlid, beforeUlid, acknowledged }
}

/** Whether both are the same gap, however much of it was known. */
export function isSameGap(a: Gap, b: Gap): boolean {
  return a.stream === b.stream && a.firstSequence === b.firstSequence && a.afterUlid === b.afterUlid
}

function covers({ firstSequence, lastSequence, at }: Acknowledgement, gap: Gap): boolean {
  // What is lost later, behind the same event, is another gap: nobody has acknowledged that one.
  if (gap.lastSequence === null)
    return lastSequence === null && firstSequence === gap.firstSequence && gap.beforeUlid <= at
  return lastSequence !== null && firstSequence <= gap.firstSequence && lastSequence >= gap.lastSequence
}
