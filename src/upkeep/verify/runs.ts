import type { SegmentReader } from '../../format/segment/read.ts'
import type { MergedSegment } from '../../model/timeline.ts'
import { partsOf, readRunChain } from '../run-chains.ts'
import { ChainCheck, eachEvent, type OnEvent, wrongContent } from '../segment-check.ts'
import type { ChainEnds } from './chain-ends.ts'
import type { Inspection } from './inspection.ts'
import { isMissing } from './present.ts'

/** What is known of a run: its check, until it is complete; null where it cannot be checked, or was. */
type RunState = ChainCheck | null

/** Checks runs against their chains, file by file: a run is in memory from its first file to its last. */
export class RunChecks {
  readonly #inspection: Inspection
  readonly #chains: ChainEnds
  readonly #runs = new Map<string, RunState>()
  /** Of those whose chain file is not there, the error. */
  readonly #missing = new Map<string, unknown>()

  constructor(inspection: Inspection, chains: ChainEnds) {
    this.#inspection = inspection
    this.#chains = chains
  }

  /**
   * Takes every event of a file. Errors: `OBJECT_CORRUPT`, `SEGMENT_CORRUPT`; that the chain file is missing, which an
   * erasure may have replaced. What is wrong with the whole run is told.
   */
  async add(reader: SegmentReader, entry: MergedSegment, onEvent: OnEvent): Promise<void> {
    const { key } = entry.run
    const check = this.#runs.has(key) ? (this.#runs.get(key) ?? null) : await this.#begin(entry)
    if (check === null) {
      await eachEvent(reader, onEvent)
      if (this.#missing.has(key)) throw this.#missing.get(key)
      return
    }
    await check.addFile(reader, entry, onEvent)
    if (!check.isComplete) return
    this.#runs.set(key, null)
    await this.#inspection.guard(key, async () => check.end())
  }

  /** One of its files is damaged: what is missing in the run then is told already. */
  fail({ run }: MergedSegment): void {
    this.#runs.set(run.key, null)
  }

  /** Tells of events that no file had; of a catalogue that cannot be read nobody knows all files. */
  end(isWhole: boolean): void {
    for (const [key, check] of isWhole ? this.#runs : [])
      if (check !== null) this.#inspection.found(key, wrongContent(key, 'events are missing in the files of its run'))
  }

  async #begin({ run }: MergedSegment): Promise<RunState> {
    this.#runs.set(run.key, null)
    const get = (key: string): Promise<Uint8Array> => this.#inspection.read(key)
    const bytes = await get(run.key).catch((error: unknown) => this.#note(run.key, error))
    if (bytes === null) return null
    await this.#inspection.guard(run.key, async () => {
      const chain = await readRunChain({ get: async () => bytes }, run)
      for (const part of partsOf(chain)) this.#chains.add(run.key, part)
      this.#runs.set(run.key, new ChainCheck(run.key, chain.chains))
    })
    return this.#runs.get(run.key) ?? null
  }

  #note(key: string, error: unknown): null {
    if (!isMissing(error)) throw error
    this.#missing.set(key, error)
    return null
  }
}
