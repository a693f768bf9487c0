import { sha256 } from '../../base/bytes.ts'
import { TidemarkError } from '../../base/errors.ts'
import { parseRunFileKey } from '../../format/keys.ts'
import { decodeRunChain } from '../../format/segment/run-chain.ts'
import { decodeIndex } from '../../format/segment/run-index.ts'
import type { MergedSegment, RunIndexFile } from '../../model/timeline.ts'
import type { ObjectStore } from '../../store/object-store.ts'
import { partsOf, type SegmentPart } from '../run-chains.ts'
import { RunItems } from '../run-indexes.ts'
import { ChainCheck } from '../segment-check.ts'
import { type NewIndex, newIndexKey } from './indexes.ts'
import { openWhole } from './segments.ts'

/** A run that no timeline names, and that is whole by what it says of itself. */
export interface FoundRun {
  readonly files: readonly MergedSegment[]
  readonly parts: readonly SegmentPart[]
  readonly level: number
  /** Events of it that were erased. */
  readonly erased: number
  /** Its index, where none was found that tells where its items are. */
  readonly made: readonly NewIndex[]
}

/**
 * Reads the runs that no timeline names, to the last event of each: those that are whole. Where an erasure has written files of
 * one again, the newest are the ones that are left. Errors: those of the store.
 */
export async function readFoundRuns(store: ObjectStore, keys: readonly string[]): Promise<readonly FoundRun[]> {
  const byRun = Map.groupBy(
    keys.filter((key) => parseRunFileKey(key) !== null),
    (key) => parseRunFileKey(key)?.run ?? '',
  )
  const found: FoundRun[] = []
  for (const own of byRun.values()) {
    const chains = own.filter((key) => parseRunFileKey(key)?.file === 'chain')
    const indexes = own.filter((key) => parseRunFileKey(key)?.file === 'index')
    const files = own.filter((key) => !chains.includes(key) && !indexes.includes(key))
    const runs: FoundRun[] = []
    for (const key of chains) {
      const run = await readRun(store, key, files, indexes)
      if (run !== null) runs.push(run)
    }
    const [best] = runs.sort((a, b) => b.erased - a.erased)
    if (best !== undefined) found.push(best)
  }
  return found
}

/** Of the runs that were found, those of which nothing is known yet, the highest first: each as a whole, or not at all. */
export function fittingRuns(found: readonly FoundRun[], named: readonly SegmentPart[]): readonly FoundRun[] {
  const chosen: FoundRun[] = []
  const taken = [...named]
  for (const run of found.toSorted((a, b) => b.level - a.level)) {
    if (run.parts.some((part) => taken.some((other) => overlap(part, other)))) continue
    chosen.push(run)
    taken.push(...run.parts)
  }
  return chosen
}

function overlap(a: SegmentPart, b: SegmentPart): boolean {
  return a.stream === b.stream && a.firstSequence <= b.lastSequence && a.lastSequence >= b.firstSequence
}

/** The run of a chain file; null where no files that are there make it whole. */
async function readRun(
  store: ObjectStore,
  key: string,
  files: readonly string[],
  indexes: readonly string[],
): Promise<FoundRun | null> {
  const name = parseRunFileKey(key)
  try {
    const bytes = await store.get(key)
    const chain = decodeRunChain(key, bytes)
    const { run, level, chains } = chain
    if (run !== name?.run || level !== name.level) return null
    const check = new ChainCheck(key, chains)
    const items = new RunItems(run)
    const segments: Omit<MergedSegment, 'run'>[] = []
    for (const one of files) {
      const entry = await readFile(store, one, check, items)
      if (entry !== null) segments.push(entry)
    }
    check.end()
    const erased = chains.reduce((sum, part) => sum + part.chain.erased.length, 0)
    const found = await findIndex(store, indexes, items)
    const index = found ?? items.make(newIndexKey(key)).file
    const file = { key, bytes: bytes.length, sha256: sha256(bytes), index }
    return {
      files: segments.map((entry) => ({ ...entry, run: file })),
      parts: partsOf(chain),
      level,
      erased,
      made: found === null ? [{ file: index, files: segments }] : [],
    }
  } catch (error) {
    if (isCorrupt(error)) return null
    throw error
  }
}

/** A file as a timeline has it; null where it is damaged, or has what the chains say is erased, or has been seen. */
async function readFile(
  store: ObjectStore,
  key: string,
  check: ChainCheck,
  items: RunItems,
): Promise<Omit<MergedSegment, 'run'> | null> {
  const name = parseRunFileKey(key)
  try {
    const { reader, file } = await openWhole(key, await store.get(key))
    const { info } = reader
    if (!('run' in info) || info.run !== name?.run || info.level !== name.level || info.file !== name.file) return null
    const { level, firstUlid, lastUlid, events } = info
    const entry = { level, firstUlid, lastUlid, events, ...file }
    const own = new RunItems(info.run)
    await check.addFile(reader, entry, null, own.add)
    items.addAll(own)
    return entry
  } catch (error) {
    if (isCorrupt(error)) return null
    throw error
  }
}

/** An index that says where the items of a run are; null: none does. */
async function findIndex(store: ObjectStore, keys: readonly string[], items: RunItems): Promise<RunIndexFile | null> {
  const { rowGroups } = items
  for (const key of keys) {
    try {
      const bytes = await store.get(key)
      const file = { key, bytes: bytes.length, sha256: sha256(bytes), rowGroups }
      if (items.isToldBy(decodeIndex(file, bytes))) return file
    } catch (error) {
      if (!isCorrupt(error)) throw error
    }
  }
  return null
}

function isCorrupt(error: unknown): boolean {
  return error instanceof TidemarkError && error.category === 'corrupt'
}
