import { LIMITS } from '../base/limits.ts'
import type { FindingCount } from '../capture/findings.ts'
import type { StreamReport } from '../capture/stream-control.ts'
import type { DrillProof } from '../format/drill-file.ts'
import type { Hold } from '../model/hold.ts'
import type { Mark } from '../model/mark.ts'
import { totalsOf } from '../model/segment-index.ts'
import type { Epoch, StreamEntry, Timeline } from '../model/timeline.ts'
import { type Ulid, ulidTime } from '../model/ulid.ts'
import { gapsOf } from '../restore/gaps.ts'
import { type Reach, reachTimes } from '../restore/reach.ts'
import { type GapReport, gapReport, reachableIntervals, type Verdict, wholeMilliseconds } from '../restore/verdict.ts'
import type { Keeping } from '../store/keeping.ts'
import type { Requests } from '../store/meter.ts'
import type { Replayed } from '../upkeep/snapshot-due.ts'
import type { StreamCondition } from './condition.ts'
import type { EncryptionInfo } from './keys.ts'
import { verdictNow } from './reachable.ts'

/** A stream in a status. Times are RFC 3339. */
export interface StreamStatus extends StreamEntry {
  /** Every event of the stream up to here is in the store. */
  readonly sealedThroughTime: string
  readonly condition: StreamCondition
  /** The last event that is known to be durable, in the store or in a journal that was read; null where there is none. */
  readonly lastEvent: { readonly time: string; readonly ageMs: number } | null
  /** How old an event that is not in the store can be at most, milliseconds, where the condition cannot tell. */
  readonly lagAtMostMs: number
  /**
   * How far its stamps are ahead of the clock, milliseconds; 0 as a rule. Where the clock was set back, events are stamped
   * later than they happened until it has come up to this: of a live stream by its own clock, else by the reader's.
   */
  readonly clockAheadMs: number
}

/** A mark, with its moment as RFC 3339. */
export interface MarkReport extends Mark {
  readonly time: string
}

/** A hold, with its times as RFC 3339; `end`: null where it is held until it is released. */
export interface HoldReport extends Hold {
  readonly interval: { readonly from: string; readonly to: string }
  readonly end: string | null
}

/** What a store holds and how far it reaches. Times are RFC 3339, UTC. */
export interface Status {
  readonly store: string
  readonly database: string
  /** Null where nothing is encrypted. */
  readonly encryption: EncryptionInfo | null
  /** Both can be typed as moments: what is reachable of the last millisecond only in part is not told. */
  readonly reachable: {
    readonly earliest: string | null
    readonly latest: string | null
    readonly limitedBy: string | null
    /** What retention has left before `earliest`: single moments, and ranges. */
    readonly islands: readonly { readonly from: string; readonly to: string }[]
  }
  /** For the last moment, as the store is now. */
  readonly verdict: Verdict
  readonly generation: number
  readonly epochs: readonly Epoch[]
  readonly streams: readonly StreamStatus[]
  readonly segments: { readonly count: number; readonly events: number; readonly bytes: number }
  /** The root of the catalogue: how large it is, whatever the history, and how large it can be: then nothing more is committed. */
  readonly catalogue: { readonly bytes: number; readonly limitBytes: number }
  readonly snapshots: readonly {
    readonly ulid: Ulid
    readonly time: string
    readonly records: number
    readonly bytes: number
  }[]
  readonly marks: readonly MarkReport[]
  readonly holds: readonly HoldReport[]
  /** Where a restore of `latest` begins, and how many events it replays from there; null without a snapshot. */
  readonly replay: {
    readonly snapshot: Ulid
    readonly time: string
    readonly ageMs: number
    readonly events: number
  } | null
  readonly gaps: readonly GapReport[]
  /** Of this process's own journal; null where it captures nothing. */
  readonly pending: StreamReport['pending'] | null
  /** Writes that were not captured, found by this process since it captures; null where it captures nothing. */
  readonly findings: FindingCount | null
  /** The last proof that a moment could be restored; null where nobody ever tried. Times are RFC 3339. */
  readonly drill: {
    readonly time: string
    readonly ageMs: number
    readonly moment: string | null
    /** Null where the file of the proof is damaged. */
    readonly passed: boolean | null
  } | null
  /** Of this process, in the last 24 hours. */
  readonly requests: Requests
  /** What the store keeps of what is deleted. */
  readonly keeping: Keeping
}

/** What a status is made of. */
export interface StatusParts {
  readonly timeline: Timeline
  readonly reach: Reach
  readonly catalogueBytes: number
  readonly names: Pick<Status, 'store' | 'database' | 'encryption'>
  /** Of every stream, in their order. */
  readonly conditions: readonly StreamCondition[]
  readonly own: StreamReport | null
  readonly findings: FindingCount | null
  readonly requests: Requests
  readonly keeping: Keeping
  readonly drill: { readonly ulid: Ulid; readonly proof: DrillProof | null } | null
  readonly replayed: Replayed | null
  readonly nowMs: number
}

/** The status of a timeline. */
export function statusOf(parts: StatusParts): Status {
  const { timeline, reach, names, own, findings, requests, keeping } = parts
  const totals = totalsOf(timeline.segments)
  return {
    ...names,
    reachable: reachableOf(timeline, reach),
    verdict: verdictNow(timeline, reach, stalledIn(parts)),
    generation: timeline.generation,
    epochs: timeline.epochs,
    streams: streamsOf(parts),
    segments: {
      count: totals.segments,
      events: totals.events,
      bytes: totals.bytes,
    },
    catalogue: { bytes: parts.catalogueBytes, limitBytes: LIMITS.rootBytes },
    snapshots: timeline.snapshots.map(({ ulid, consistentFrom, records, bytes }) => ({
      ulid,
      time: timeOf(consistentFrom),
      records,
      bytes,
    })),
    marks: (timeline.marks ?? []).map((mark) => ({ ...mark, time: timeOf(mark.ulid) })),
    holds: (timeline.holds ?? []).map(holdReport),
    replay: replayOf(parts),
    gaps: gapsOf(timeline).map(gapReport),
    pending: own?.pending ?? null,
    findings,
    drill: drillOf(parts),
    requests,
    keeping,
  }
}

/** With nothing pruned that is one range, whatever gaps there are. */
function reachableOf(timeline: Timeline, reach: Reach): Status['reachable'] {
  const limitedBy = reach.openStream?.id ?? null
  const intervals = timeline.pruned === undefined ? [] : reachableIntervals(timeline, reach, () => false)
  const islands = intervals.slice(0, -1).flatMap((interval) => {
    // What can be typed as a moment: a snapshot alone within its millisecond has its stamp, which is told with it.
    const whole = wholeMilliseconds(interval)
    return whole === null ? [] : [{ from: new Date(whole.first).toISOString(), to: new Date(whole.last).toISOString() }]
  })
  const earliest = intervals.at(-1)?.from ?? reach.earliest
  return { ...(reachTimes({ ...reach, earliest }) ?? { earliest: null, latest: null }), limitedBy, islands }
}

/** What is said of streams that may hold later events, and of which nobody can be asked; null where there is none. */
function stalledIn({ timeline: { streams }, conditions }: StatusParts): string | null {
  const stalled = streams.flatMap(({ id, sealedThrough }, i) => {
    const condition = conditions[i]
    if (condition?.state !== 'stalled') return []
    return [
      `stream ${id} is stalled: nothing of it since ${timeOf(sealedThrough)}, and nobody can be asked (${condition.why})`,
    ]
  })
  return stalled.length === 0 ? null : stalled.join('; ')
}

function replayOf({ replayed, nowMs }: StatusParts): Status['replay'] {
  if (replayed === null) return null
  const { snapshot, events } = replayed
  const { ulid, consistentFrom } = snapshot
  const ageMs = Math.max(0, Math.floor(nowMs) - ulidTime(consistentFrom))
  return { snapshot: ulid, time: timeOf(consistentFrom), ageMs, events }
}

function drillOf({ drill, nowMs }: StatusParts): Status['drill'] {
  if (drill === null) return null
  const { ulid, proof } = drill
  const moment = proof === null ? null : timeOf(proof.moment)
  return {
    time: timeOf(ulid),
    ageMs: Math.max(0, Math.floor(nowMs) - ulidTime(ulid)),
    moment,
    passed: proof?.passed ?? null,
  }
}

function streamsOf({ timeline, conditions, nowMs }: StatusParts): readonly StreamStatus[] {
  return timeline.streams.flatMap((stream, index) => {
    const condition = conditions[index]
    if (condition === undefined) return []
    const time = condition.lastPendingEvent ?? (stream.lastSequence === 0 ? null : timeOf(stream.lastUlid))
    return {
      ...stream,
      sealedThroughTime: timeOf(stream.sealedThrough),
      condition,
      lastEvent: time === null ? null : { time, ageMs: Math.max(0, Math.floor(nowMs) - Date.parse(time)) },
      clockAheadMs: condition.report?.clockAheadMs ?? Math.max(0, ulidTime(stream.sealedThrough) - Math.floor(nowMs)),
      lagAtMostMs: stream.state === 'closed' ? 0 : Math.max(0, Math.floor(nowMs) - ulidTime(stream.sealedThrough)),
    }
  })
}

function holdReport(hold: Hold): HoldReport {
  const { from, through, until } = hold
  const end = until === null ? null : timeOf(until)
  return { ...hold, interval: { from: timeOf(from), to: timeOf(through) }, end }
}

function timeOf(ulid: Ulid): string {
  return new Date(ulidTime(ulid)).toISOString()
}
