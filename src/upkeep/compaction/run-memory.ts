import { CHAIN_ROW_BYTES } from '../../format/segment/chain-rows.ts'
import { type PartChain, sequencesOf } from '../../format/segment/run-chain.ts'
import { GATHERED_BYTES, INDEXED_BYTES } from '../../format/segment/run-index-pairs.ts'

/** What each segment takes that was merged before, or is merged now: some 700 bytes of its chain, and the text of that while the chain file is made. */
const PART_BYTES = 1536
/** What it takes from then on, until its events are checked. */
const CHECKED_PART_BYTES = 512
/** A file takes its size while it is gathered, and as much again while it is encoded and read back. */
const FILE_COPIES = 2
/** What V8 and the allocator of the system hold besides, as a part of it: garbage that is not collected yet, pages that are not full. */
const SPARE = 0.5

/** About what is in memory of a run at its most, while units are added to it: what it takes first is let go before what comes then. */
export class RunMemory {
  readonly #fileBytes: number
  #parts = 0
  #inputBytes = 0
  /** Of all units, with erased ones. */
  sequences = 0

  /** `fileBytes`: of the events of a file. */
  constructor(fileBytes: number) {
    this.#fileBytes = fileBytes
  }

  /** `inputBytes`: what it takes to read its events. */
  add(chains: readonly PartChain[], inputBytes: number): void {
    this.#parts += chains.length
    this.#inputBytes += inputBytes
    this.sequences += sequencesOf(chains)
  }

  get bytes(): number {
    const [parts, rows] = [CHECKED_PART_BYTES * this.#parts, CHAIN_ROW_BYTES * this.sequences]
    const beginning = PART_BYTES * this.#parts + rows
    const gathered = parts + rows + GATHERED_BYTES * this.sequences
    const writing = gathered + FILE_COPIES * this.#fileBytes + this.#inputBytes
    const indexing = gathered + INDEXED_BYTES * this.sequences
    return (1 + SPARE) * Math.max(beginning, writing, indexing)
  }
}
