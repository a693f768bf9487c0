import { sha256 } from '../base/bytes.ts'
import { parseRunFileKey } from '../format/keys.ts'
import { chainValue } from '../format/segment/chain.ts'
import { decodeRunChain, type RunChain } from '../format/segment/run-chain.ts'
import type { NamedFile, SealedRange, SegmentEntry, StreamSegment } from '../model/timeline.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { wrongContent } from './segment-check.ts'

/** What a segment has of one stream, whatever else is in it. */
export type SegmentPart = SealedRange & Pick<StreamSegment, 'stream' | 'chain'>

/** Reads the chain file of a run. Errors: `OBJECT_CORRUPT`, `SEGMENT_CORRUPT`, and those of the store. */
export async function readRunChain(
  store: Pick<ObjectStore, 'get'>,
  { key, sha256: expected }: Pick<NamedFile, 'key' | 'sha256'>,
): Promise<RunChain> {
  const bytes = await store.get(key)
  if (sha256(bytes) !== expected) throw wrongContent(key, 'it is not what was written')
  const chain = decodeRunChain(key, bytes)
  if (parseRunFileKey(key)?.run !== chain.run) throw wrongContent(key, 'it is of another run')
  return chain
}

/** What a run has of each stream. */
export function partsOf({ chains }: RunChain): readonly SegmentPart[] {
  return chains.map(({ chain, ...part }) => ({
    ...part,
    chain: { previous: chain.previous, value: chainValue(chain) },
  }))
}

/** The files of a segment. */
export function filesOf(entry: SegmentEntry): readonly string[] {
  return 'run' in entry ? [entry.key, entry.run.key, entry.run.index.key] : [entry.key]
}

/** Tells what segments have of streams; the chain file of a run is read once. */
export class SegmentParts {
  readonly #store: Pick<ObjectStore, 'get'>
  readonly #known = new Map<string, Promise<readonly SegmentPart[]>>()

  constructor(store: Pick<ObjectStore, 'get'>) {
    this.#store = store
  }

  /** Of a run: the same for each of its files. Errors: `OBJECT_CORRUPT`, `SEGMENT_CORRUPT`, and those of the store. */
  async of(entry: SegmentEntry): Promise<readonly SegmentPart[]> {
    if (!('run' in entry)) return [entry]
    const { key } = entry.run
    const known = this.#known.get(key)
    if (known !== undefined) return known
    const parts = readRunChain(this.#store, entry.run).then(partsOf)
    parts.catch(() => this.#known.delete(key)) // the caller has the error
    this.#known.set(key, parts)
    return parts
  }
}
