import { nonce, sha256 } from '../../base/bytes.ts'
import { collectLeft } from '../../base/collect-buffers.ts'
import { TidemarkError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { runFileKey } from '../../format/keys.ts'
import { openSegment, type SegmentReader } from '../../format/segment/read.ts'
import { compareParts, encodeRunChain, type PartChain } from '../../format/segment/run-chain.ts'
import type { MergedSegment, NamedFile, SegmentEntry } from '../../model/timeline.ts'
import type { Ulid } from '../../model/ulid.ts'
import type { ObjectStore } from '../../store/object-store.ts'
import { readRunChain } from '../run-chains.ts'
import { RunItems } from '../run-indexes.ts'
import { ChainCheck } from '../segment-check.ts'
import { FILE_BYTES, mergeInputs } from './merge.ts'
import { MergeInput } from './merge-input.ts'
import type { MergeUnit } from './plan.ts'
import { RunMemory } from './run-memory.ts'

/** Units whose footers are read at once. */
const OPENED_AHEAD = 16
/** Of the memory, what the chains of these may take, and how many times its file one takes while it is read. */
const [OPENED_PART, CHAIN_TIMES] = [8, 16]
/** Fewer are no merge. */
const LEAST_UNITS = 2
/** Of the memory, what a file may take while it is gathered. */
const FILE_PART = 4

/** What is written: plain values, for another thread. */
export interface RunRequest {
  readonly run: Ulid
  readonly level: number
  /** How many erasures by rewriting the timeline has. */
  readonly erasures: number
  /** Oldest first. */
  readonly units: readonly MergeUnit[]
  /** Bytes that all of it may take: where the units would take more, the oldest that fit are merged, and two in any case. */
  readonly memory: number
  /** As of `MergeOptions`. Default: 16 MiB, or a quarter of the memory where that is less. */
  readonly fileBytes?: number
}

/** A run that was written and read back, and that nothing names yet. */
export interface WrittenRun {
  /** Keys of the segments that it has the events of. */
  readonly replaced: readonly string[]
  readonly files: readonly MergedSegment[]
}

/** Of a store. */
export type RunStore = Pick<ObjectStore, 'get' | 'put'>

/** Is given the key of a file before it is put. */
type OnRunFile = (key: string) => Promise<void> | void

/** A run whose chain file is written. */
interface BegunRun extends Pick<WrittenRun, 'replaced'> {
  readonly chainFile: NamedFile
  readonly check: ChainCheck
  readonly inputs: readonly MergeInput[]
}

/** A unit with its open files and its chains. */
interface OpenUnit {
  readonly entries: MergeUnit
  readonly readers: readonly SegmentReader[]
  readonly chains: readonly PartChain[]
  readonly bytes: number
}

/**
 * Writes the events of segments as one run: its chain file, its files, each read back and every event checked against the hash
 * chains, and the index of what was read back. `onFile` is given every key before it is put. Errors: those of the store, `SEGMENT_CORRUPT`,
 * `OBJECT_CORRUPT`: what was written is to be deleted then.
 */
export async function writeRun(store: RunStore, request: RunRequest, onFile: OnRunFile): Promise<WrittenRun> {
  const { run, level } = request
  const { chainFile, check, inputs, replaced } = await beginRun(store, request, onFile)
  const items = new RunItems(run)
  const files: Omit<MergedSegment, 'run'>[] = []
  const options = { run, level, fileBytes: fileBytesOf(request) }
  for await (const { bytes: file, info, file: number } of mergeInputs(inputs, options)) {
    const entry = { ...info, key: runFileKey({ run, level, file: number, nonce: nonce() }) }
    await onFile(entry.key)
    const back = await putWhole(store, entry.key, file, info.sha256)
    await check.addFile(await readerOf(entry, back), entry, null, items.add)
    files.push(entry)
  }
  check.end()
  // What the files were made in is garbage now.
  collectLeft()
  const index = items.make(runFileKey({ run, level, file: 'index', nonce: nonce() }))
  await onFile(index.file.key)
  await putWhole(store, index.file.key, index.bytes, index.file.sha256)
  const named = { ...chainFile, index: index.file }
  return { replaced, files: files.map((entry) => ({ ...entry, run: named })) }
}

/** Opens what is merged, and writes the chain file. By itself, so that what only that file needs is not kept while files are written. */
async function beginRun(store: RunStore, request: RunRequest, onFile: OnRunFile): Promise<BegunRun> {
  const { run, level, erasures } = request
  const units = await openUnits(store, request)
  const chains = units.flatMap((unit) => unit.chains).sort(compareParts)
  const bytes = encodeRunChain({ run, level, erasures, chains })
  const key = runFileKey({ run, level, file: 'chain', nonce: nonce() })
  const chainFile: NamedFile = { key, bytes: bytes.length, sha256: sha256(bytes) }
  await onFile(key)
  await putWhole(store, key, bytes, chainFile.sha256)
  const inputs = units.map(({ readers }) => new MergeInput(readers))
  const replaced = units.flatMap(({ entries }) => entries.map((entry) => entry.key))
  return { chainFile, check: new ChainCheck(key, chains), inputs, replaced }
}

/** Opens units, oldest first, as many as may be merged at once. */
async function openUnits(store: RunStore, request: RunRequest): Promise<readonly OpenUnit[]> {
  const { units, memory } = request
  const opened: OpenUnit[] = []
  const needed = new RunMemory(fileBytesOf(request))
  for (const some of openedTogether(units, memory / OPENED_PART)) {
    for (const unit of await Promise.all(some.map((entries) => openUnit(store, entries)))) {
      needed.add(unit.chains, unit.bytes)
      const fits = needed.sequences <= LIMITS.runEvents && (needed.bytes <= memory || opened.length < LEAST_UNITS)
      if (!fits) return opened
      opened.push(unit)
    }
  }
  return opened
}

/** Those that are opened at once, before it is known what they take: of runs of very many segments one after the other. */
function* openedTogether(units: readonly MergeUnit[], most: number): Generator<readonly MergeUnit[]> {
  let [some, bytes]: [MergeUnit[], number] = [[], 0]
  for (const unit of units) {
    const [first] = unit
    const size = first !== undefined && 'run' in first ? CHAIN_TIMES * first.run.bytes : 0
    if (some.length >= OPENED_AHEAD || (some.length > 0 && bytes + size > most)) {
      yield some
      ;[some, bytes] = [[], 0]
    }
    some.push(unit)
    bytes += size
  }
  yield some
}

function fileBytesOf({ memory, fileBytes = Math.min(FILE_BYTES, memory / FILE_PART) }: RunRequest): number {
  return fileBytes
}

async function openUnit(store: RunStore, entries: MergeUnit): Promise<OpenUnit> {
  const readers: SegmentReader[] = []
  for (const { key, bytes, footer } of entries) {
    const read = (start: number, end: number): Promise<Uint8Array> => store.get(key, { start, end })
    readers.push(await openSegment({ name: key, bytes, footer, read }))
  }
  return { entries, readers, chains: await chainsOf(store, entries[0], readers[0]), bytes: MergeInput.bytes(readers) }
}

async function chainsOf(
  store: RunStore,
  entry: SegmentEntry | undefined,
  reader: SegmentReader | undefined,
): Promise<readonly PartChain[]> {
  if (entry === undefined || reader === undefined) return []
  if ('run' in entry) return (await readRunChain(store, entry.run)).chains
  const { stream, firstSequence, lastSequence, firstUlid, lastUlid } = entry
  return [{ stream, firstSequence, lastSequence, firstUlid, lastUlid, chain: reader.chain() }]
}

/** Puts a file, and returns what the store has of it then. */
async function putWhole(store: RunStore, key: string, bytes: Uint8Array, expected: string): Promise<Uint8Array> {
  await store.put(key, bytes, { ifAbsent: true })
  const back = await store.get(key)
  if (sha256(back) === expected) return back
  throw new TidemarkError('OBJECT_CORRUPT', `${key} does not read back as it was written. Nothing was merged.`, {
    hint: 'The store does not keep what it is given: run `tidemark verify` before anything else.',
    details: { key },
  })
}

function readerOf({ key, footer }: Pick<MergedSegment, 'key' | 'footer'>, bytes: Uint8Array): Promise<SegmentReader> {
  const read = async (start: number, end: number): Promise<Uint8Array> => bytes.subarray(start, end)
  return openSegment({ name: key, bytes: bytes.length, footer, read })
}
