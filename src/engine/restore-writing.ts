import { hasCode } from '../base/errors.ts'
import type { Ulid } from '../model/ulid.ts'
import { type Comparison, compareStates } from '../restore/difference.ts'
import { type Plan, planRestore } from '../restore/plan.ts'
import { replay } from '../restore/replay.ts'
import { scanned } from '../restore/scanned.ts'
import type { Difference, Selection, Target } from '../restore/target.ts'
import type { Archive } from './archive.ts'
import type { ConflictList } from './conflicts.ts'
import type { InPlace } from './in-place.ts'
import { overtaken } from './overtaken.ts'

/** What writing works with. */
export interface WritingSeams {
  readonly archive: Archive
  readonly target: Target
  readonly plan: Plan
  readonly selection: Selection
  /** Null: the target is not the database whose history this is. */
  readonly inPlace: InPlace | null
  readonly conflicts: ConflictList
}

/** The writing half of a restore: what is in place is noted before the first write. */
export class Writing {
  readonly #seams: WritingSeams
  /** Schemas that are not there any more at the moment: they go behind their records. */
  readonly #dropped: Difference[] = []
  #isBegun = false

  constructor(seams: WritingSeams) {
    this.#seams = seams
  }

  /** Writes comparisons, and gives on what was written of them. */
  async *written(comparisons: AsyncIterable<Comparison>): AsyncGenerator<Comparison> {
    const { target, conflicts } = this.#seams
    for await (const comparison of comparisons) {
      if (target.takes === 'differences') {
        const { differences } = comparison
        this.#dropped.push(...differences.filter(isDropped))
        await this.#write(differences.filter((difference) => !isDropped(difference)))
      }
      yield conflicts.restored(comparison)
    }
  }

  async finish(): Promise<void> {
    const { target, selection, inPlace, conflicts } = this.#seams
    await this.#begin()
    for (const moment of inPlace?.between ?? []) await this.#clear(moment)
    if (inPlace !== null) await this.#tellOvertaken(inPlace)
    await this.#write(this.#dropped.splice(0))
    await target.finish(selection, conflicts)
  }

  /** Lists what other processes wrote and was overwritten unseen; where it is to be kept, it is put back. */
  async #tellOvertaken({ since }: InPlace): Promise<void> {
    const { archive, plan, selection, conflicts } = this.#seams
    for await (const batch of overtaken(archive, { plan, selection, since })) {
      for (const one of batch) conflicts.tell(one)
      if (conflicts.onConflict === 'keep') await this.#write(batch)
    }
  }

  /** Takes away what may be left of records that were there at a moment and are not there now. */
  async #clear(moment: Ulid): Promise<void> {
    const { archive, target, selection, plan: wanted } = this.#seams
    // What was there at the moment itself was compared already.
    if (target.canBeTorn !== true || moment === wanted.moment) return
    const plan = await planUnlessGap(archive, moment)
    if (plan === null) return
    const past = replay(archive.sources, plan, selection)
    for await (const { differences } of compareStates(scanned(target, selection), past)) {
      const gone = differences.filter(({ kind, before }) => kind === 'record' && before === null)
      await this.#write(gone.map((item) => ({ ...item, after: null })))
    }
  }

  async #write(differences: readonly Difference[]): Promise<void> {
    if (differences.length === 0) return
    await this.#begin()
    await this.#seams.target.write(differences, this.#seams.conflicts)
  }

  async #begin(): Promise<void> {
    if (!this.#isBegun) await this.#seams.inPlace?.begin()
    this.#isBegun = true
  }
}

/** Null where a gap is in the way: what it hides cannot be looked for, and the restore itself does not need it. */
async function planUnlessGap({ sources, seams }: Archive, moment: Ulid): Promise<Plan | null> {
  try {
    return await planRestore(sources.nodes, seams.timeline.timeline, moment)
  } catch (error) {
    if (hasCode(error, 'HISTORY_GAP')) return null
    throw error
  }
}

function isDropped({ kind, after }: Difference): boolean {
  return kind === 'schema' && after === null
}
