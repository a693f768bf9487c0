import { chainStart } from '../../format/segment/chain.ts'
import type { StreamEntry, Timeline } from '../../model/timeline.ts'
import type { SegmentPart } from '../run-chains.ts'
import { wrongContent } from '../segment-check.ts'
import type { Inspection } from './inspection.ts'

/** The beginning of a segment, and what it says of the chain before it. */
interface Following {
  readonly key: string
  readonly previous: string
}

/**
 * That the segments of each stream follow one another in its hash chain, up to where the timeline says it is. They may come
 * in any order: only ends that no beginning was met for, and beginnings without an end, are kept.
 */
export class ChainEnds {
  readonly #inspection: Inspection
  readonly #streams: readonly StreamEntry[]
  readonly #ends = new Map<string, string>()
  readonly #beginnings = new Map<string, Following>()

  constructor(inspection: Inspection, { streams }: Timeline) {
    this.#inspection = inspection
    this.#streams = streams
    for (const { id, base } of streams) {
      this.#ends.set(placeOf(id, 0), chainStart(id))
      if (base !== undefined) this.#ends.set(placeOf(id, base.sequence), base.chain)
    }
  }

  /** Takes what a file has of a stream; what does not fit is damage of the later one. */
  add(key: string, { stream, firstSequence, lastSequence, chain }: SegmentPart): void {
    const [before, after] = [placeOf(stream, firstSequence - 1), placeOf(stream, lastSequence)]
    const end = this.#ends.get(before)
    if (end === undefined) this.#beginnings.set(before, { key, previous: chain.previous })
    else this.#meet(before, { key, previous: chain.previous }, end)
    const next = this.#beginnings.get(after)
    this.#ends.set(after, chain.value)
    if (next !== undefined) this.#meet(after, next, chain.value)
  }

  /** Compares the last ends with the streams. Behind a missing segment the chain goes on with what nobody can check. */
  end(isWhole: boolean): void {
    for (const { id, lastSequence, chain } of isWhole ? this.#streams : []) {
      const value = this.#ends.get(placeOf(id, lastSequence))
      if (value === undefined || value === chain) continue
      const name = `stream ${id}`
      this.#inspection.found(name, wrongContent(name, 'its hash chain ends elsewhere than the timeline says'))
    }
  }

  #meet(place: string, { key, previous }: Following, end: string): void {
    if (previous !== end)
      this.#inspection.found(key, wrongContent(key, 'its events do not follow those before them in the hash chain'))
    this.#ends.delete(place)
    this.#beginnings.delete(place)
  }
}

function placeOf(stream: string, sequence: number): string {
  return `${stream} ${sequence}`
}
