import { isMissing } from '../../base/errors.ts'
import type { SegmentReader } from '../../format/segment/read.ts'
import type { RunIndex } from '../../format/segment/run-index.ts'
import type { MergedSegment, NamedFile } from '../../model/timeline.ts'
import { partsOf, readRunChain } from '../run-chains.ts'
import { RunItems, readRunIndex } from '../run-indexes.ts'
import { ChainCheck, eachEvent, type OnEvent, wrongContent } from '../segment-check.ts'
import type { ChainEnds } from './chain-ends.ts'
import type { Inspection } from './inspection.ts'

/** What is known of a run until it is complete; null where it cannot be checked, or was. */
type RunState = {
  readonly check: ChainCheck
  readonly items: RunItems
  /** Null where it cannot be read. */
  readonly index: RunIndex | null
} | null

/** Checks runs against their chains and their indexes, file by file: a run is in memory from its first file to its last. */
export class RunChecks {
  readonly #inspection: Inspection
  readonly #chains: ChainEnds
  readonly #runs = new Map<string, RunState>()
  /** Of the chain files and indexes that are not there, the error. */
  readonly #missing = new Map<string, unknown>()
  /** Those of which a file is damaged. */
  readonly #failed = new Set<string>()

  constructor(inspection: Inspection, chains: ChainEnds) {
    this.#inspection = inspection
    this.#chains = chains
  }

  /**
   * Reads the chain file and the index of a run, once: whatever is wrong with its files. Errors: that `file`, which is one of
   * both, is missing; an erasure may have replaced it. What else is wrong with them is told.
   */
  async begin(entry: MergedSegment, file: string): Promise<void> {
    const { key } = entry.run
    if (!this.#runs.has(key)) this.#runs.set(key, await this.#begin(entry))
    if (this.#missing.has(file)) throw this.#missing.get(file)
  }

  /**
   * Takes every event of a file whose run was begun. Errors: `OBJECT_CORRUPT`, `SEGMENT_CORRUPT`, and those of `begin`. What
   * is wrong with the whole run is told.
   */
  async add(reader: SegmentReader, entry: MergedSegment, onEvent: OnEvent): Promise<void> {
    const { key, index } = entry.run
    const state = this.#failed.has(key) ? null : (this.#runs.get(key) ?? null)
    if (state === null) await eachEvent(reader, onEvent)
    else await this.#addFile(reader, entry, state, onEvent)
    for (const file of [key, index.key]) if (this.#missing.has(file)) throw this.#missing.get(file)
  }

  async #addFile(
    reader: SegmentReader,
    entry: MergedSegment,
    { check, items, index }: NonNullable<RunState>,
    onEvent: OnEvent,
  ): Promise<void> {
    const { key, index: file } = entry.run
    await check.addFile(reader, entry, onEvent, items.add)
    if (!check.isComplete) return
    this.#runs.set(key, null)
    const isWhole = await this.#inspection.guard(key, async () => check.end())
    if (isWhole && index !== null && !items.isToldBy(index))
      this.#inspection.found(file.key, wrongContent(file.key, 'it does not tell where the items of its run are'))
  }

  /** One of its files is damaged: what is missing in the run then is told already. */
  fail({ run }: MergedSegment): void {
    this.#failed.add(run.key)
    if (this.#runs.has(run.key)) this.#runs.set(run.key, null)
  }

  /** Tells of events that no file had; of a catalogue that cannot be read nobody knows all files. */
  end(isWhole: boolean): void {
    for (const [key, state] of isWhole ? this.#runs : []) {
      const isOpen = state !== null && !this.#failed.has(key)
      if (isOpen) this.#inspection.found(key, wrongContent(key, 'events are missing in the files of its run'))
    }
  }

  async #begin({ run }: MergedSegment): Promise<RunState> {
    const index = await this.#read(run.index, (get) => readRunIndex({ get }, run.index))
    const chain = await this.#read(run, (get) => readRunChain({ get }, run))
    if (chain === null) return null
    for (const part of partsOf(chain)) this.#chains.add(run.key, part)
    return { check: new ChainCheck(run.key, chain.chains), items: new RunItems(chain.run), index }
  }

  /** What a file of a run says; null where it is missing, which is noted, or damaged, which is told. */
  async #read<T>({ key }: NamedFile, decode: (get: () => Promise<Uint8Array>) => Promise<T>): Promise<T | null> {
    const bytes = await this.#inspection.read(key).catch((error: unknown) => this.#note(key, error))
    if (bytes === null) return null
    let found: T | null = null
    await this.#inspection.guard(key, async () => {
      found = await decode(async () => bytes)
    })
    return found
  }

  #note(key: string, error: unknown): null {
    if (!isMissing(error)) throw error
    this.#missing.set(key, error)
    return null
  }
}
