import { sha256 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { timelineKey } from '../format/keys.ts'
import { entriesOfList, listedSegments } from '../format/run-names.ts'
import { sealJson, unsealJson } from '../format/sealed-json.ts'
import { isRoot } from '../format/timeline-shape.ts'
import type { SegmentTree, TreeNode } from '../model/timeline.ts'
import type { Sections } from './ledger.ts'
import { checkSize } from './nodes.ts'

/*
 * The file of a generation is the root of the catalogue: bounded, whatever the history is. What is open, what is new, and
 * the nodes that have the rest:
 *
 *   {"sha256":"…","format":2,"generation":7,"previous":"<sha-256 of generation 6's file, null for the first>",
 *    "timeline":{"epochs":[…],"streams":[…],…,"ledger":[<node>,…],"segments":{"nodes":[<node>,…],"tail":[<segment>,…]}}}
 *
 * `sha256` is the file's own checksum, see sealed-json.ts.
 */

/** What stands in the file of a generation. */
export interface RootContent extends Sections {
  readonly ledger: readonly TreeNode[]
  readonly segments: SegmentTree
}

/** The file of one generation. */
export interface Root {
  readonly generation: number
  /** SHA-256 of the file of the generation before; null where it names none. */
  readonly previous: string | null
  readonly content: RootContent
  readonly sha256: string
  readonly bytes: number
}

/** The bytes of the file of a generation. Errors: `LIMIT_EXCEEDED` where nobody could read it. */
export function encodeRoot({
  generation,
  previous,
  content,
}: Pick<Root, 'generation' | 'previous' | 'content'>): Uint8Array {
  const { nodes, tail } = content.segments
  const timeline = { ...content, segments: { nodes, tail: listedSegments(tail) } }
  const bytes = sealJson({ format: 2, generation, previous, timeline })
  return checkSize(bytes, 'The root of the catalogue')
}

/** Reads the file of one generation by itself. Errors: `TIMELINE_CORRUPT`. */
export function decodeRoot(bytes: Uint8Array, expected: number): Root {
  const members = bytes.length > LIMITS.rootBytes ? null : unsealJson(bytes)
  if (members === null) fail(expected, 'its checksum is wrong, or it is no file of a timeline')
  const { format, generation, previous } = members
  const timeline = withEntries(members.timeline)
  if (format !== 2) fail(expected, 'it is not of format 2')
  if (generation !== expected) fail(expected, 'it is of another generation')
  if (!isRootContent(timeline)) fail(expected, 'its timeline is incomplete or malformed')
  return {
    generation: expected,
    previous: typeof previous === 'string' ? previous : null,
    content: timeline,
    sha256: sha256(bytes),
    bytes: bytes.length,
  }
}

/** With the entries of its list of segments. */
function withEntries(timeline: unknown): unknown {
  if (!isObject(timeline) || !isObject(timeline.segments)) return timeline
  const { segments } = timeline
  return Array.isArray(segments.tail)
    ? { ...timeline, segments: { ...segments, tail: entriesOfList(segments.tail) } }
    : timeline
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function isRootContent(value: unknown): value is RootContent {
  return isRoot(value)
}

function fail(generation: number, what: string): never {
  const key = timelineKey(generation)
  throw new TidemarkError('TIMELINE_CORRUPT', `The timeline file ${key} is damaged: ${what}. Nothing was changed.`, {
    hint: 'Run `tidemark repair`: it shows how the timeline is made again from the segments and snapshots in the store.',
    details: { key },
  })
}
