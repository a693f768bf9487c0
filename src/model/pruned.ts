import type { Ulid } from './ulid.ts'

/** Moments that retention has made unreachable for good: each one from `from` to `through`, both inclusive. */
export interface PrunedRange {
  readonly from: Ulid
  readonly through: Ulid
  /** When. */
  readonly at: Ulid
  /** By what: the policy in a few words. */
  readonly by: string
}

/** What retention has taken out of the timeline, and what is deleted once nobody can be reading it any more. */
export interface Condemned {
  /** Of a segment, or the prefix of a snapshot. */
  readonly key: string
  readonly bytes: number
  /** When it was taken out. */
  readonly at: Ulid
  /** Absent: nobody has looked at it since, or only a moment ago. */
  readonly seen?: Waited
}

/**
 * What the clocks of those who looked at something that waits have said, in milliseconds since 1970, since the first look
 * behind which none of them went back.
 */
export interface Waited {
  readonly from: number
  readonly through: number
  /** The most that lies between two looks. */
  readonly longest: number
}

/** From where on the history of a stream is whole: what was before it was pruned. */
export interface StreamBase {
  /** The last sequence before it. */
  readonly sequence: number
  /** No event up to there is later. */
  readonly ulid: Ulid
  /** The hash chain of the stream up to there, lower-case hex. */
  readonly chain: string
}
