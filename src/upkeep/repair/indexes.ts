import { nonce, sha256 } from '../../base/bytes.ts'
import { hasCode, TidemarkError } from '../../base/errors.ts'
import { parseRunFileKey, runFileKey } from '../../format/keys.ts'
import type { MergedSegment, RunIndexFile, SegmentEntry } from '../../model/timeline.ts'
import type { ObjectStore } from '../../store/object-store.ts'
import { type MadeIndex, RunItems } from '../run-indexes.ts'
import { wrongContent } from '../segment-check.ts'
import { type Damage, Inspection } from '../verify/inspection.ts'
import type { Listing } from '../verify/snapshots.ts'

/** An index of a run that is made from the files of the run, and that is not in the store yet. */
export interface NewIndex {
  readonly file: RunIndexFile
  /** In the order of their items. */
  readonly files: readonly Omit<MergedSegment, 'run'>[]
}

/** Segments of a timeline whose runs have indexes that are whole, or that will be. */
export interface IndexedSegments {
  readonly segments: readonly SegmentEntry[]
  readonly made: readonly NewIndex[]
  /** What is wrong with those that these take the place of. */
  readonly damage: readonly Damage[]
}

/**
 * Checks the index of every run; one that is damaged or missing has another in its place. The files of the runs are known to be
 * whole. Writes nothing. Errors: those of the store that say nothing of the file.
 */
export async function withIndexes(
  store: ObjectStore,
  segments: readonly SegmentEntry[],
  listing: Listing,
): Promise<IndexedSegments> {
  const runs = Map.groupBy(
    segments.flatMap((entry) => ('run' in entry ? [entry] : [])),
    ({ run }) => run.key,
  )
  const inspection = new Inspection(store, () => {})
  const made = new Map<string, NewIndex>()
  for (const [chain, files] of runs) {
    const index = files[0]?.run.index
    if (index === undefined || (await isWhole(inspection, index, listing))) continue
    made.set(chain, await newIndex(store, files))
  }
  const withMade = (entry: SegmentEntry): SegmentEntry => {
    const own = 'run' in entry ? made.get(entry.run.key) : undefined
    return own === undefined || !('run' in entry) ? entry : { ...entry, run: { ...entry.run, index: own.file } }
  }
  return { segments: segments.map(withMade), made: [...made.values()], damage: inspection.damage }
}

async function isWhole(inspection: Inspection, index: RunIndexFile, listing: Listing): Promise<boolean> {
  try {
    await inspection.expectHash(index.key, listing.get(index.key), index.sha256)
    return true
  } catch (error) {
    const isDamage = error instanceof TidemarkError && error.category === 'corrupt'
    if (!isDamage && !hasCode(error, 'OBJECT_NOT_FOUND')) throw error
    inspection.found(index.key, error)
    return false
  }
}

/** The key of an index that is made for the run of a file. */
export function newIndexKey(file: string): string {
  const { run = '', level = 0 } = parseRunFileKey(file) ?? {}
  return runFileKey({ run, level, file: 'index', nonce: nonce() })
}

async function newIndex(store: ObjectStore, files: readonly MergedSegment[]): Promise<NewIndex> {
  const sorted = files.toSorted((a, b) => (a.key < b.key ? -1 : 1))
  const { file } = await makeIndex(store, sorted, newIndexKey(sorted[0]?.key ?? ''))
  return { file, files: sorted }
}

async function makeIndex(store: ObjectStore, files: NewIndex['files'], key: string): Promise<MadeIndex> {
  const items = new RunItems(parseRunFileKey(key)?.run ?? '')
  for (const file of files) await items.addFile(file, await store.get(file.key))
  return items.make(key)
}

/**
 * Puts indexes that are to be made, and reads them back; each is made once more, from the same files, so that no more than one of
 * them is in memory. Errors: `OBJECT_CORRUPT`, and those of the store.
 */
export async function putIndexes(store: ObjectStore, made: readonly NewIndex[]): Promise<void> {
  for (const { file, files } of made) {
    const again = await makeIndex(store, files, file.key)
    if (again.file.sha256 !== file.sha256) throw wrongContent(file.key, 'the files that it is made from have changed')
    await store.put(file.key, again.bytes, { ifAbsent: true })
    if (sha256(await store.get(file.key)) !== file.sha256)
      throw wrongContent(file.key, 'it does not read back as it was written')
  }
}
