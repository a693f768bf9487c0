import { hasCode } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { forgetGenerations, SELDOM } from '../timeline/forget.ts'
import {
  type Compaction,
  type CompactionLimits,
  type CompactionSeams,
  compact,
  type Merged,
  nextPlan,
} from '../upkeep/compaction/compact.ts'
import { MergeThread } from '../upkeep/compaction/merge-thread.ts'
import { SettledNodes } from '../upkeep/compaction/settled.ts'
import { hasReplaced } from '../upkeep/compaction/sweep.ts'
import type { Job } from '../upkeep/schedule.ts'
import type { Archive } from './archive.ts'
import { checkAtLeast, checkFunction, checkOptions, checkPositive } from './options.ts'

/** How long files that were replaced stay for those who are reading them, milliseconds. */
const GRACE_MS = 3_600_000
/** How often it is looked whether there is something to merge, milliseconds. */
const EVERY_MS = 60_000
/** Merges of one run, so that other jobs have their turn: the next ones come with the next run. */
const MOST_AT_ONCE = 16
/** After a failure that many looks are left out, twice as many each time. */
const MOST_LEFT_OUT = 720

/** How small segments are merged into larger ones while a database is captured, without being asked for. */
export interface CompactionPolicy {
  /** How often it is looked whether a window is over, in milliseconds. Default: 60,000. */
  readonly everyMs?: number
  /** How long files that were replaced stay for those who are reading them, in milliseconds. Default: an hour. */
  readonly graceMs?: number
}

/** A compaction that is asked for. */
export interface CompactOptions extends Pick<CompactionPolicy, 'graceMs'> {
  /** Called after each merge. */
  readonly onMerge?: (merged: Merged) => void
}

/** What a compaction that was asked for has done. */
export interface CompactReport extends Compaction {
  /** Old generations of the catalogue whose files went: each merge commits new ones, and nobody else may be there to let them go. */
  readonly forgotten: number
}

/** Errors: `OPTION_INVALID`. */
export function checkCompaction(what: string, policy: CompactionPolicy): void {
  checkOptions(what, policy, ['everyMs', 'graceMs'])
  checkPositive(what, 'everyMs', policy.everyMs)
  checkAtLeast(what, 'graceMs', policy.graceMs, 0)
}

/** Merges what there is to merge, and lets old generations go. Errors: those of `compact`, and of `forgetGenerations`. */
export async function compactNow(archive: Archive, options: CompactOptions): Promise<CompactReport> {
  checkOptions('compact', options, ['graceMs', 'onMerge'])
  checkAtLeast('compact', 'graceMs', options.graceMs, 0)
  checkFunction('compact', 'onMerge', options.onMerge)
  const { graceMs = GRACE_MS, onMerge } = options
  const { store, timeline } = archive.seams
  const done = await compactApart(archive, { graceMs, ...(onMerge === undefined ? {} : { onMerge }) })
  const { generations, refused } = await forgetGenerations(store, timeline, SELDOM)
  return { ...done, refused: [...done.refused, ...refused], forgotten: generations }
}

/** Merges in a thread, which ends with it. */
async function compactApart(
  { seams }: Archive,
  limits: CompactionLimits,
  settled: SettledNodes = new SettledNodes(),
): Promise<Compaction> {
  const { store, timeline, clock, memory } = seams
  const thread = new MergeThread(store)
  const write: CompactionSeams['write'] = (request, onFile) => thread.write(request, onFile)
  try {
    return await compact({ store, timeline, clock, memory, write, settled }, limits)
  } finally {
    await thread.end()
  }
}

/** Merges whenever a window is over, in a thread of its own. Where nothing has changed it asks the store for nothing. */
export class CompactionJob implements Job {
  readonly name: string = 'compact'
  readonly everyMs: number
  readonly #archive: Archive
  readonly #graceMs: number
  readonly #log: Logger
  /** The generation of which it is known that there is nothing to merge. */
  #looked = 0
  /** When it is looked next whether files that were replaced may go; null: there are none. */
  #sweepAt: number | null = 0
  readonly #settled = new SettledNodes()
  #isDenied = false
  #failures = 0
  #leftOut = 0

  constructor(archive: Archive, { everyMs = EVERY_MS, graceMs = GRACE_MS }: CompactionPolicy, log: Logger) {
    this.#archive = archive
    this.everyMs = everyMs
    this.#graceMs = graceMs
    this.#log = log
  }

  async run(signal: AbortSignal): Promise<void> {
    if (this.#leftOut > 0) {
      this.#leftOut--
      return
    }
    const { timeline, clock } = this.#archive.seams
    const { generation } = timeline.timeline
    const isDue = this.#sweepAt !== null && clock.now() >= this.#sweepAt
    const isNew = generation !== this.#looked
    this.#looked = generation
    if (this.#isDenied || !(isDue || isNew)) return
    if (!isDue && (await nextPlan(timeline.timeline, timeline.nodes.segments, this.#settled)) === null) return
    try {
      await this.#compact(signal)
      this.#failures = 0
    } catch (error) {
      if (!hasCode(error, 'STORE_DENIED')) {
        this.#looked = 0
        this.#leftOut = Math.min(MOST_LEFT_OUT, 2 ** this.#failures++)
        throw error
      }
      this.#isDenied = true
      this.#log.warn(
        'This process may not delete what it replaces, so it merges no segments: run `tidemark compact` as somebody who may.',
      )
    }
  }

  async #compact(signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#archive.seams
    const onMerge = (merged: Merged): void => this.#log.info(merged, 'Segments were merged.')
    const limits = { graceMs: this.#graceMs, most: MOST_AT_ONCE, signal, onMerge }
    const { isHeld, merges, refused } = await compactApart(this.#archive, limits, this.#settled)
    const [first] = refused
    if (first !== undefined)
      this.#log.warn(
        { files: refused.length, ...first },
        'The store does not let files go that were merged: they take space, do no harm, and are tried again.',
      )
    // Somebody else may be broken off, and there may be more.
    if (isHeld || merges.length === MOST_AT_ONCE) this.#looked = 0
    this.#sweepAt = (await hasReplaced(store)) ? clock.now() + this.#graceMs : null
  }
}
