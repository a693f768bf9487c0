import { sha256 } from '../../base/bytes.ts'
import { parseTimelineKey, timelineKey } from '../../format/keys.ts'
import { unsealJson } from '../../format/sealed-json.ts'
import { checkLead, type GenerationFile, parseGeneration, timelineOf } from '../../format/timeline-codec.ts'
import type { Timeline } from '../../model/timeline.ts'
import { type Inspection, wrongHash } from './inspection.ts'

/** Up to which generation a timeline goes, and which of them were lost when it was made again. */
export type Numbers = Pick<Timeline, 'generation' | 'repairs'>

/**
 * Checks every generation of the timeline from the first to its own, and that each names the hash of the one before; each
 * file is read and decoded once. Those that were damaged or missing when the timeline was made again are known to be: they
 * stay as they are. `read` gives the file of a key.
 */
export async function verifyGenerations(
  inspection: Inspection,
  keys: Iterable<string>,
  { generation: latest, repairs = [] }: Numbers,
  read: (key: string) => Promise<Uint8Array>,
): Promise<void> {
  const lastKnown = (generation: number): number =>
    repairs.reduce((end, { first, last }) => (generation >= first && generation <= last ? Math.max(end, last) : end), 0)
  const found = [...keys].map(parseTimelineKey).filter((generation) => generation !== null)
  found.sort((a, b) => a - b)
  const holes = (first: number, end: number): void => {
    let at = first
    while (at < end && lastKnown(at) > 0) at = lastKnown(at) + 1
    if (at < end) inspection.hole(at, end, timelineKey)
  }
  const checkpoints = new Checkpoints(read)
  /** Of the generation before; null where it is damaged, and says nothing about the one that names it. */
  let previous: string | null = null
  let next = 1
  for (const generation of found) {
    const key = timelineKey(generation)
    holes(next, generation)
    const before = generation > next ? null : previous
    previous = null
    next = generation + 1
    if (lastKnown(generation) > 0) continue
    await inspection.guard(key, async () => {
      const bytes = await inspection.read(key)
      let file: GenerationFile
      try {
        file = await parseGeneration(bytes, generation)
      } catch (error) {
        // A file that is whole in itself is the one that the next one names, whatever is in it.
        if (unsealJson(bytes) !== null) previous = sha256(bytes)
        checkpoints.note(generation, { error })
        throw error
      }
      previous = file.sha256
      checkpoints.note(generation, file)
      // What follows a checkpoint that is known to be damaged cannot be read further than itself.
      if (lastKnown(file.checkpoint) === 0) await checkpoints.lead(file, generation)
      if (before !== null && file.previous !== before) throw wrongHash(timelineKey(generation - 1))
    })
  }
  holes(next, latest + 1)
}

/** Null where a generation is a whole checkpoint; else why it is none. */
type Fault = { readonly error: unknown } | null

/** What is known of the generations that later ones may go on from, so that none is read again for each of these. */
class Checkpoints {
  readonly #faults = new Map<number, Fault>()
  readonly #read: (key: string) => Promise<Uint8Array>

  constructor(read: (key: string) => Promise<Uint8Array>) {
    this.#read = read
  }

  note(generation: number, read: GenerationFile | { readonly error: unknown }): void {
    this.#faults.set(generation, 'error' in read ? read : faultOf(read, generation))
  }

  /** Throws where the file is no checkpoint, and does not follow from one. */
  async lead(file: GenerationFile, generation: number): Promise<void> {
    const { checkpoint } = file
    if (!this.#faults.has(checkpoint)) await this.#readUnlisted(checkpoint)
    const fault = this.#faults.get(checkpoint) ?? null
    if (fault !== null) throw fault.error
    if (checkpoint !== generation) checkLead(file, generation)
  }

  /** A listing may be behind what the store has. */
  async #readUnlisted(generation: number): Promise<void> {
    try {
      this.note(generation, await parseGeneration(await this.#read(timelineKey(generation)), generation))
    } catch (error) {
      this.note(generation, { error }) // thrown for each generation that goes on from it
    }
  }
}

function faultOf(file: GenerationFile, generation: number): Fault {
  try {
    timelineOf(file, generation)
    return null
  } catch (error) {
    return { error }
  }
}
