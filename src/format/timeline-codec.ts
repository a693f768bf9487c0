import { sha256 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { applyChange, EMPTY_TIMELINE, type Timeline, type TimelineChange } from '../model/timeline.ts'
import { timelineKey } from './keys.ts'
import { sealLong, unsealLong } from './long-json.ts'
import { sealJson } from './sealed-json.ts'
import { areChanges, areSegments, isTimeline } from './timeline-shape.ts'

/*
 * A generation's file is either a checkpoint (the whole timeline) or the changes since the last checkpoint, so that a
 * reader needs two files at most and a commit stays small however long the history is.
 *
 *   {"sha256":"…","format":1,"generation":7,"previous":"<sha-256 of generation 6's file, null for the first>",
 *    "checkpoint":4,"changes":[{…},{…},{…}]}                       or  {…,"checkpoint":7,"timeline":{…}}
 *
 * `sha256` is the file's own checksum, see sealed-json.ts. In a checkpoint every segment has a line of its own, see
 * long-json.ts.
 */

/** A new checkpoint is written after this many changes. */
const CHANGES_PER_CHECKPOINT = 64

/** The state that a writer carries from one generation to the next. */
export interface TimelineHead {
  readonly timeline: Timeline
  readonly checkpoint: number
  readonly changes: readonly TimelineChange[]
  /** SHA-256 of the file of this generation; null before the first. */
  readonly sha256: string | null
  /** Size of the checkpoint's file; 0 before the first. */
  readonly checkpointBytes: number
}

/** Before the first generation. */
export const EMPTY_HEAD: TimelineHead = {
  timeline: EMPTY_TIMELINE,
  checkpoint: 0,
  changes: [],
  sha256: null,
  checkpointBytes: 0,
}

/**
 * The file of the generation after `head`, and the head that it makes. A checkpoint is made in slices, between which the
 * event loop turns. Errors: `LIMIT_EXCEEDED` where nobody could read it.
 */
export async function encodeNextGeneration(
  head: TimelineHead,
  change: TimelineChange,
): Promise<{ bytes: Uint8Array; next: TimelineHead }> {
  const timeline = applyChange(head.timeline, change)
  const { generation } = timeline
  const start = { format: 1, generation, previous: head.sha256 }
  const changes = [...head.changes, change]
  if (head.checkpoint !== 0 && changes.length < CHANGES_PER_CHECKPOINT) {
    const bytes = sealJson({ ...start, checkpoint: head.checkpoint, changes })
    return { bytes, next: { ...head, timeline, changes, sha256: sha256(bytes) } }
  }
  return encodeCheckpoint(timeline, head.sha256)
}

/**
 * The file of a generation with the whole timeline, and the head that it makes; `previous` is the SHA-256 of the file of the
 * generation before, null where there is none. Errors: `LIMIT_EXCEEDED` where nobody could read it.
 */
export async function encodeCheckpoint(
  timeline: Timeline,
  previous: string | null,
): Promise<{ bytes: Uint8Array; next: TimelineHead }> {
  const { segments, generation, ...rest } = timeline
  const start = { format: 1, generation, previous, checkpoint: generation }
  const whole = { ...start, timeline: { generation, ...rest, segments: [] } }
  const { bytes, sha256: hash } = await sealLong(whole, segments, 'The checkpoint of the timeline')
  const next = { timeline, checkpoint: generation, changes: [], sha256: hash, checkpointBytes: bytes.length }
  return { bytes, next }
}

/**
 * Reads the head at `generation`; `read` fetches the file of a generation. Where `known` has the same checkpoint, it is
 * not read again, and only what is new is applied. Errors: `TIMELINE_CORRUPT`.
 */
export async function decodeHead(
  generation: number,
  read: (generation: number) => Promise<Uint8Array>,
  known: TimelineHead = EMPTY_HEAD,
): Promise<TimelineHead> {
  if (generation === 0) return EMPTY_HEAD
  const file = await parseGeneration(await read(generation), generation)
  const { checkpoint, changes, sha256: hash } = file
  if (checkpoint === generation) {
    const timeline = timelineOf(file, generation)
    return { timeline, checkpoint, changes: [], sha256: hash, checkpointBytes: file.bytes }
  }
  checkLead(file, generation)
  const isKnown = known.checkpoint === checkpoint && known.changes.length <= changes.length
  const start = isKnown ? known : await readCheckpoint(checkpoint, read)
  const timeline = changes.slice(start.changes.length).reduce(applyChange, start.timeline)
  return { timeline, checkpoint, changes, sha256: hash, checkpointBytes: start.checkpointBytes }
}

async function readCheckpoint(
  generation: number,
  read: (generation: number) => Promise<Uint8Array>,
): Promise<Pick<TimelineHead, 'timeline' | 'changes' | 'checkpointBytes'>> {
  const file = await parseGeneration(await read(generation), generation)
  return { timeline: timelineOf(file, generation), changes: [], checkpointBytes: file.bytes }
}

/** What the file of one generation says. */
export interface GenerationFile {
  readonly checkpoint: number
  /** SHA-256 of the file of the generation before; null where it names none. */
  readonly previous: string | null
  /** Of a checkpoint. */
  readonly timeline: Timeline | null
  /** Of every generation after the checkpoint, its own last. */
  readonly changes: readonly TimelineChange[]
  readonly sha256: string
  readonly bytes: number
}

/** Reads the file of one generation by itself. Errors: `TIMELINE_CORRUPT`. */
export async function parseGeneration(bytes: Uint8Array, generation: number): Promise<GenerationFile> {
  const unsealed = await unsealLong(bytes, areSegments)
  if (unsealed === null) fail(generation, 'its checksum is wrong, or it is no file of a timeline')
  const { members, entries, sha256 } = unsealed
  if (members.format !== 1) fail(generation, 'it is not of format 1')
  const { checkpoint, timeline, changes } = members
  const previous = typeof members.previous === 'string' ? members.previous : null
  if (members.generation !== generation) fail(generation, 'it is of another generation')
  if (typeof checkpoint !== 'number' || !Number.isSafeInteger(checkpoint) || checkpoint < 1 || checkpoint > generation)
    fail(generation, 'its checkpoint is none')
  if (timeline !== undefined && !isTimeline(timeline)) fail(generation, 'its timeline is incomplete or malformed')
  if (changes !== undefined && !areChanges(changes)) fail(generation, 'its changes are malformed')
  if (timeline !== undefined && timeline.generation !== generation)
    fail(generation, 'its timeline is of another generation')
  const whole = timeline === undefined || entries === null ? timeline : { ...timeline, segments: entries }
  return { checkpoint, previous, timeline: whole ?? null, changes: changes ?? [], sha256, bytes: bytes.length }
}

/** The timeline of a checkpoint. Errors: `TIMELINE_CORRUPT` where the file is none. */
export function timelineOf({ timeline }: GenerationFile, generation: number): Timeline {
  return timeline ?? fail(generation, 'it is no checkpoint')
}

/** That the changes lead from the checkpoint to the generation: each makes one. Errors: `TIMELINE_CORRUPT`. */
export function checkLead({ checkpoint, changes }: GenerationFile, generation: number): void {
  if (checkpoint + changes.length !== generation) fail(generation, 'its changes do not lead from the checkpoint to it')
}

function fail(generation: number, what: string, cause?: unknown): never {
  const key = timelineKey(generation)
  throw new TidemarkError('TIMELINE_CORRUPT', `The timeline file ${key} is damaged: ${what}. Nothing was changed.`, {
    hint: 'Run `tidemark repair`: it shows how the timeline is made again from the segments and snapshots in the store.',
    details: { key },
    cause,
  })
}
