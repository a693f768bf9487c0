import { type Image, imageBytes, type Kind, type Operation, sameImage } from '../model/event.ts'
import type { Comparison } from './difference.ts'
import { Lookahead } from './lookahead.ts'
import type { MergedItem } from './merge.ts'
import type { Difference } from './target.ts'

/** One difference, as the preview shows it: JSON texts, null where the record does not exist. */
export interface Sample {
  readonly kind: Kind
  readonly resource: string
  readonly id: string
  /** What the restore does to it. */
  readonly operation: Operation
  readonly before: string | null
  readonly after: string | null
}

/** What a restore does, in numbers. */
export interface PreviewCounts {
  readonly added: number
  readonly changed: number
  readonly removed: number
  readonly unchanged: number
  /** Of the changed and removed: those whose present state was written after the moment, as the history tells. */
  readonly newer: number
}

/** The difference between what the target holds and the state at the moment. */
export interface Preview extends PreviewCounts {
  /** By resource name. */
  readonly resources: ReadonlyMap<string, PreviewCounts>
  /** The first differences of each resource. */
  readonly samples: readonly Sample[]
}

const SAMPLES_PER_RESOURCE = 5
/** Bytes of the images of all samples: what does not fit is not taken. */
const SAMPLE_BYTES = 8 * 1024 * 1024

type Counts = { -readonly [K in keyof PreviewCounts]: number }

const zero = (): Counts => ({ added: 0, changed: 0, removed: 0, unchanged: 0, newer: 0 })

/**
 * Sums a comparison up. `later` is what the history did after the moment, in the order of `compareItems` (empty where
 * the target is no live database): a difference is newer where the target holds just what that history says.
 */
export async function summarize(
  comparisons: AsyncIterable<Comparison>,
  later: AsyncIterable<readonly MergedItem[]>,
  each: (comparison: Comparison) => Promise<void> | void = () => {},
): Promise<Preview> {
  const total = zero()
  const resources = new Map<string, Counts>()
  const samples: Sample[] = []
  let sampled = 0
  const history = new Lookahead(later)
  try {
    for await (const comparison of comparisons) {
      total.unchanged += comparison.unchanged
      for (const difference of comparison.differences) {
        const counts = resources.get(difference.resource) ?? zero()
        resources.set(difference.resource, counts)
        const { before } = difference
        const newer = before !== null && (await isNewer(difference, before, history))
        for (const sum of [total, counts]) count(sum, difference, newer)
        const isFirst = counts.added + counts.changed + counts.removed <= SAMPLES_PER_RESOURCE
        const bytes = imageBytes(difference.before) + imageBytes(difference.after)
        if (isFirst && sampled + bytes <= SAMPLE_BYTES) {
          samples.push(sampleOf(difference))
          sampled += bytes
        }
      }
      await each(comparison)
    }
  } finally {
    await history.close()
  }
  return { ...total, resources, samples }
}

function count(counts: Counts, { before, after }: Difference, newer: boolean): void {
  if (before === null) counts.added++
  else if (after === null) counts.removed++
  else counts.changed++
  if (newer) counts.newer++
}

async function isNewer(difference: Difference, before: Image, history: Lookahead): Promise<boolean> {
  const last = await history.find(difference)
  return last !== null && sameImage(last.image, before)
}

/** A difference as the preview shows it. */
export function sampleOf({ kind, resource, id, before, after }: Difference): Sample {
  const operation = before === null ? 'insert' : after === null ? 'delete' : 'update'
  const json = (bytes: Uint8Array | undefined): string | null =>
    bytes === undefined ? null : Buffer.from(bytes).toString('utf8')
  return { kind, resource, id, operation, before: json(before?.json), after: json(after?.json) }
}
