import { nonce, sha256 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { parseRunFileKey, runFileKey, segmentKey } from '../format/keys.ts'
import { encodeRunChain } from '../format/segment/run-chain.ts'
import { rewritings } from '../model/erasure.ts'
import type { Item } from '../model/event.ts'
import type { ErasureChange, MergedSegment, RunFile, SegmentEntry, StreamSegment, Timeline } from '../model/timeline.ts'
import type { ReplaySources } from '../restore/replay.ts'
import { eachSegment } from '../timeline/segments.ts'
import { type GoneEvent, runFileWithout, runWithout, withoutItem } from './rewrite-segment.ts'
import { readRunChain } from './run-chains.ts'
import { partsOfIndex, RunItems, readRunIndex } from './run-indexes.ts'
import { wrongContent } from './segment-check.ts'

/** Segments that were written again without a record, and how many events of it they had. */
export interface RewrittenSegments {
  readonly segments: ErasureChange['segments']
  readonly events: number
}

/**
 * Writes segments again without an item, and reads them back. Of a run the files with the item are, and the chain file and
 * the index, which all of its files name. Errors: those of the store, `OBJECT_CORRUPT`, `SEGMENT_CORRUPT`.
 */
export async function rewriteSegments(
  sources: ReplaySources,
  timeline: Timeline,
  held: readonly SegmentEntry[],
  item: Item,
): Promise<RewrittenSegments> {
  const segments: ErasureChange['segments'][number][] = []
  let events = 0
  const runs = new Map<string, MergedSegment[]>()
  for (const entry of held) {
    if ('run' in entry) runs.set(entry.run.key, [])
    else {
      const rewritten = await rewriteSealed(sources, entry, item)
      if (rewritten === null) continue
      segments.push({ key: entry.key, by: rewritten.by })
      events += rewritten.erased
    }
  }
  if (runs.size === 0) return { segments, events }
  for await (const entry of eachSegment(sources.nodes, timeline.segments)) {
    if ('run' in entry) runs.get(entry.run.key)?.push(entry)
  }
  for (const files of runs.values()) {
    const rewritten = await rewriteRun(sources, files, item, rewritings(timeline) + 1)
    segments.push(...rewritten.segments)
    events += rewritten.events
  }
  return { segments, events }
}

async function rewriteSealed(
  sources: ReplaySources,
  entry: StreamSegment,
  item: Item,
): Promise<{ readonly by: SegmentEntry; readonly erased: number } | null> {
  const rewritten = await withoutItem(await sources.segments.open(entry), item)
  if (rewritten === null) return null
  const { bytes, info, erased } = rewritten
  const key = segmentKey({ ...info, nonce: nonce() })
  await putWhole(sources, key, bytes, info.sha256)
  return { by: { ...info, key }, erased }
}

async function rewriteRun(
  sources: ReplaySources,
  files: readonly MergedSegment[],
  item: Item,
  erasures: number,
): Promise<RewrittenSegments> {
  const [first] = files
  if (first === undefined) return { segments: [], events: 0 }
  const chain = await readRunChain(sources.store, first.run)
  const { run, level } = chain
  const gone: GoneEvent[] = []
  const items = new RunItems(run)
  const known = partsOfIndex(await readRunIndex(sources.store, first.run.index))
  const written: { readonly key: string; readonly by: Omit<MergedSegment, 'run'> }[] = []
  for (const entry of files) {
    const rewritten = await runFileWithout(await sources.segments.open(entry), chain, item)
    if (rewritten === null) {
      const file = Number(parseRunFileKey(entry.key)?.file)
      const part = known.get(file)
      if (part !== undefined) items.addPart(file, part)
      // What an index does not tell is not found: one that is made of it must not go on so.
      else if (entry.events > 0) throw wrongContent(first.run.index.key, `it tells of no row group of ${entry.key}`)
      written.push({ key: entry.key, by: entry })
      continue
    }
    const key = runFileKey({ run, level, file: rewritten.file, nonce: nonce() })
    await putWhole(sources, key, rewritten.bytes, rewritten.info.sha256)
    await items.addFile({ ...rewritten.info, key }, rewritten.bytes)
    written.push({ key: entry.key, by: { ...rewritten.info, key } })
    gone.push(...rewritten.gone)
  }
  if (gone.length === 0) return { segments: [], events: 0 }
  const bytes = encodeRunChain(runWithout(chain, gone, erasures))
  const key = runFileKey({ run, level, file: 'chain', nonce: nonce() })
  const index = items.make(runFileKey({ run, level, file: 'index', nonce: nonce() }))
  const file: RunFile = { key, bytes: bytes.length, sha256: sha256(bytes), index: index.file }
  await putWhole(sources, key, bytes, file.sha256)
  await putWhole(sources, index.file.key, index.bytes, index.file.sha256)
  return { segments: written.map((one) => ({ key: one.key, by: { ...one.by, run: file } })), events: gone.length }
}

async function putWhole({ store }: ReplaySources, key: string, bytes: Uint8Array, expected: string): Promise<void> {
  await store.put(key, bytes, { ifAbsent: true })
  if (sha256(await store.get(key)) !== expected) throw notWhole(key)
}

/** The error for a file that an erasure has written and cannot read. */
export function notWhole(key: string): TidemarkError {
  return new TidemarkError('OBJECT_CORRUPT', `${key} does not read back as it was written. Nothing was erased.`, {
    hint: 'The store does not keep what it is given: run `tidemark verify` before anything else.',
    details: { key },
  })
}
