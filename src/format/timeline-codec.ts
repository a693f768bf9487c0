import { sha256 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { applyChange, EMPTY_TIMELINE, type Timeline, type TimelineChange } from '../model/timeline.ts'
import { timelineKey } from './keys.ts'
import { sealJson, unsealJson } from './sealed-json.ts'
import { areChanges, isTimeline } from './timeline-shape.ts'

/*
 * A generation's file is either a checkpoint (the whole timeline) or the changes since the last checkpoint, so that a
 * reader needs two files at most and a commit stays small however long the history is.
 *
 *   {"sha256":"…","format":1,"generation":7,"previous":"<sha-256 of generation 6's file, null for the first>",
 *    "checkpoint":4,"changes":[{…},{…},{…}]}                       or  {…,"checkpoint":7,"timeline":{…}}
 *
 * `sha256` is the file's own checksum, see sealed-json.ts.
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
}

/** Before the first generation. */
export const EMPTY_HEAD: TimelineHead = { timeline: EMPTY_TIMELINE, checkpoint: 0, changes: [], sha256: null }

/** The file of the generation after `head`, and the head that it makes. */
export function encodeNextGeneration(
  head: TimelineHead,
  change: TimelineChange,
): { bytes: Uint8Array; next: TimelineHead } {
  const timeline = applyChange(head.timeline, change)
  const { generation } = timeline
  const start = { format: 1, generation, previous: head.sha256 }
  const changes = [...head.changes, change]
  const whole = head.checkpoint === 0 || changes.length >= CHANGES_PER_CHECKPOINT
  const bytes = sealJson(
    whole ? { ...start, checkpoint: generation, timeline } : { ...start, checkpoint: head.checkpoint, changes },
  )
  const hash = sha256(bytes)
  return {
    bytes,
    next: whole
      ? { timeline, checkpoint: generation, changes: [], sha256: hash }
      : { timeline, checkpoint: head.checkpoint, changes, sha256: hash },
  }
}

/** Reads the head at `generation`; `read` fetches the file of a generation. Errors: `TIMELINE_CORRUPT`. */
export async function decodeHead(
  generation: number,
  read: (generation: number) => Promise<Uint8Array>,
): Promise<TimelineHead> {
  if (generation === 0) return EMPTY_HEAD
  const bytes = await read(generation)
  const file = parseFile(bytes, generation)
  if (file.checkpoint === generation) {
    return {
      timeline: file.timeline ?? fail(generation, 'it is no checkpoint'),
      checkpoint: generation,
      changes: [],
      sha256: sha256(bytes),
    }
  }
  const base = parseFile(await read(file.checkpoint), file.checkpoint)
  const start = base.timeline ?? fail(file.checkpoint, 'it is no checkpoint')
  const timeline = file.changes.reduce(applyChange, start)
  if (timeline.generation !== generation) fail(generation, 'its changes do not lead from the checkpoint to it')
  return { timeline, checkpoint: file.checkpoint, changes: file.changes, sha256: sha256(bytes) }
}

interface GenerationFile {
  readonly checkpoint: number
  readonly timeline: Timeline | null
  readonly changes: readonly TimelineChange[]
}

function parseFile(bytes: Uint8Array, generation: number): GenerationFile {
  const value = unsealJson(bytes)
  if (value === null) fail(generation, 'its checksum is wrong')
  if (value.format !== 1) fail(generation, 'it is not of format 1')
  const { checkpoint, timeline, changes } = value
  if (value.generation !== generation) fail(generation, 'it is of another generation')
  if (typeof checkpoint !== 'number' || !Number.isSafeInteger(checkpoint) || checkpoint < 1 || checkpoint > generation)
    fail(generation, 'its checkpoint is none')
  if (timeline !== undefined && !isTimeline(timeline)) fail(generation, 'its timeline is incomplete or malformed')
  if (changes !== undefined && !areChanges(changes)) fail(generation, 'its changes are malformed')
  if (timeline !== undefined && timeline.generation !== generation)
    fail(generation, 'its timeline is of another generation')
  return { checkpoint, timeline: timeline ?? null, changes: changes ?? [] }
}

function fail(generation: number, what: string, cause?: unknown): never {
  const key = timelineKey(generation)
  throw new TidemarkError('TIMELINE_CORRUPT', `The timeline file ${key} is damaged: ${what}. Nothing was changed.`, {
    hint: 'Run `tidemark verify`; the timeline can be rebuilt from the segments and snapshots in the store.',
    details: { key },
    cause,
  })
}
