import { sha256 } from '../base/bytes.ts'
import { hasCode, isMissing, TidemarkError } from '../base/errors.ts'
import { parseTimelineKey, SEGMENT_PREFIX, SNAPSHOT_PREFIX, TIMELINE_PREFIX, timelineKey } from '../format/keys.ts'
import type { Head } from '../model/head.ts'
import type { Timeline, TimelineChange } from '../model/timeline.ts'
import { claimGeneration, type GenerationNames, hasLater, latestBeyond, latestListed } from '../store/generations.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { deletionRefused } from '../store/refusals.ts'
import { MOST_STEPS, nextStep, type Step } from './bounded.ts'
import { forgetGenerations, forgettable, headIn, readHeads } from './forget.ts'
import { type CatalogueNodes, catalogueNodes, EMPTY_HEAD, readHead, type TimelineHead } from './head.ts'
import { decodeRoot } from './root.ts'

/** How generations are named. */
export const GENERATIONS: GenerationNames = { prefix: TIMELINE_PREFIX, name: timelineKey, parse: parseTimelineKey }

/** Commits that lose this often to other writers in a row are given up; each loss is somebody else's progress. */
const MAX_LOSSES = 200

/** Generations after which it is tried again to let old ones go where that failed. */
const FORGET_AGAIN_AFTER = 64

/**
 * How far a timeline is read: to the last generation, or to the last that a listing shows, which may be behind. That is a request
 * less, and enough for a moment that is reachable in it, since what is reachable is final.
 */
export type ReadThrough = 'last' | 'listed'

/** The timeline of a store: read, and moved on by one conditional put at a time. */
export class TimelineLog {
  readonly #store: ObjectStore
  /** What of the catalogue stands below its root. */
  readonly nodes: CatalogueNodes
  #head: TimelineHead = EMPTY_HEAD
  #isRead = false
  #queue: Promise<unknown> = Promise.resolve()
  /** Null: others let old generations go, or nobody. */
  #onForgetting: ((error: unknown) => void) | null = null
  #forgetting: Promise<void> | null = null
  /** What failed is not tried again before this generation. */
  #forgetFrom = 0

  private constructor(store: ObjectStore) {
    this.#store = store
    this.nodes = catalogueNodes(store)
  }

  /** The timeline of a store that is not asked now: empty until the first refresh or commit reads it. */
  static unread(store: ObjectStore): TimelineLog {
    return new TimelineLog(store)
  }

  /**
   * Reads the latest generation. Errors: `TIMELINE_CORRUPT`, also where there is none in a store that is not new; and those
   * of the store.
   */
  static async open(store: ObjectStore): Promise<TimelineLog> {
    const log = new TimelineLog(store)
    await log.refresh()
    return log
  }

  /** As of the last commit or refresh; costs nothing. */
  get timeline(): Timeline {
    return this.#head.timeline
  }

  /** Size of its file: beyond `LIMITS.rootBytes` none can be committed. */
  get rootBytes(): number {
    return this.#head.rootBytes
  }

  /** Everything that is known, as of the last commit or refresh. */
  get present(): TimelineHead {
    return this.#head
  }

  /** Of the last commit or refresh; null before the first generation. */
  get head(): Head | null {
    const { timeline, sha256 } = this.#head
    return sha256 === null ? null : { generation: timeline.generation, sha256 }
  }

  /** Reads what other writers committed meanwhile. */
  refresh(through: ReadThrough = 'last'): Promise<Timeline> {
    return this.#inTurn(() => this.#refresh(through))
  }

  /**
   * Commits what `change` makes of the present timeline; null: nothing to commit. Where another writer was first, its
   * generation is read and `change` is asked again. The commit point is the put-if-absent of the next generation.
   */
  commit(change: (timeline: Timeline) => TimelineChange | null | Promise<TimelineChange | null>): Promise<Timeline> {
    return this.#inTurn(async () => {
      const put = new Map<string, string>()
      // Where it was never read, its first generation may be free because it is lost, or went long ago.
      if (!this.#isRead) await this.#refresh()
      for (let losses = 0; losses < MAX_LOSSES; losses++) {
        const wanted = await change(this.#head.timeline)
        if (wanted === null) return this.#head.timeline
        if (await this.#make(wanted, put)) {
          this.#forgetOld()
          return this.#head.timeline
        }
      }
      throw new TidemarkError(
        'STORE_UNAVAILABLE',
        `The timeline was moved on by others ${MAX_LOSSES} times in a row.`,
        {
          hint: 'Nothing is lost: what was to be committed is still in the journal and is tried again.',
        },
      )
    })
  }

  /**
   * Commits a change to the timeline that is known, and before it what makes room for it: see `nextStep`. False where others have
   * gone on, which is known then. `put`: what was put already, and is not put again.
   */
  async #make(change: TimelineChange, put: Map<string, string>): Promise<boolean> {
    for (let steps = 0; ; steps++) {
      const made = await this.#next(change, put, steps < MOST_STEPS)
      // Whoever has gone on since may have let go of what this generation names: it is gone on from theirs.
      if (made === null) return false
      const { bytes, files, next, isDone } = made
      for (const file of files) {
        await this.#store.put(file.key, file.bytes, { ifAbsent: true })
        put.set(file.sha256, file.key)
      }
      const isMade = await this.#claim(next.timeline.generation, bytes)
      if (!isMade) await this.#refresh()
      const isLast = next.timeline.generation > this.#head.timeline.generation
      if (isMade && isLast) this.#head = next
      if (isMade && isDone) return true
      // The change was made for this timeline, and not for what others have made of it.
      if (!isMade || !isLast) return false
    }
  }

  /** The generation behind the one that is known; null where others have gone on, which is known then. */
  async #next(change: TimelineChange, put: ReadonlyMap<string, string>, canPrepare: boolean): Promise<Step | null> {
    const { generation } = this.#head.timeline
    try {
      return await nextStep(this.#head, change, this.nodes, put, canPrepare)
    } catch (error) {
      if (!isMissing(error) || (await this.#refresh()).generation === generation) throw error
      return null
    }
  }

  /** False where another writer was first, or went on so far that the number was free again: see `forgetGenerations`. */
  async #claim(generation: number, bytes: Uint8Array): Promise<boolean> {
    if (!(await claimGeneration(this.#store, GENERATIONS, generation, bytes))) return false
    if (!(await hasLater(this.#store, GENERATIONS, generation))) return true
    // Others have gone on: from this one, or long before it.
    return (await this.#headAt(generation)) === sha256(bytes)
  }

  /** SHA-256 of the generation of this number that others have gone on from; null where there is none. */
  async #headAt(generation: number): Promise<string | null> {
    try {
      return decodeRoot(await this.#store.get(timelineKey(generation + 1)), generation + 1).previous
    } catch (error) {
      if (!hasCode(error, 'OBJECT_NOT_FOUND')) throw error
    }
    const { forgotten = [] } = await this.#refresh()
    const heads = forgotten.find(({ first, last }) => generation >= first && generation <= last)
    if (heads === undefined) return null
    try {
      return headIn(await readHeads(this.#store, heads), heads, generation)
    } catch (error) {
      // A longer list is in its place by now.
      if (hasCode(error, 'OBJECT_NOT_FOUND')) return this.#headAt(generation)
      throw error
    }
  }

  async #refresh(through: ReadThrough = 'last'): Promise<Timeline> {
    const { generation } = this.#head.timeline
    for (let before = generation; ; ) {
      const listed = await latestListed(this.#store, GENERATIONS, generation)
      const isEnough = through === 'listed' && listed > 0
      // The next one is asked for beside it: nearly always there is none.
      const [latest, found] = await Promise.all([
        isEnough ? listed : latestBeyond(this.#store, GENERATIONS, listed),
        listed === generation ? this.#head : this.#readHead(listed).catch(goneHead),
      ])
      if (latest === 0) await requireNew(this.#store)
      try {
        const head = latest === listed ? found : await this.#readHead(latest)
        if (head instanceof TidemarkError) throw head
        this.#head = head
        this.#isRead = true
        return head.timeline
      } catch (error) {
        // Whoever sleeps here for long finds that it has gone meanwhile, and later ones are there.
        if (latest === before || !isGone(error)) throw error
        before = latest
      }
    }
  }

  #readHead(generation: number): Promise<TimelineHead> {
    return readHead(this.#store, generation, this.nodes, this.#head)
  }

  /**
   * Lets old generations go from now on, now and then, beside the commits. `onFailure` hears why that failed: where nothing may
   * be deleted it is not tried again.
   */
  forgetting(onFailure: (error: unknown) => void): void {
    this.#onForgetting = onFailure
  }

  /** Resolves when nothing goes on beside the commits. */
  async settled(): Promise<void> {
    await this.#forgetting
  }

  #forgetOld(): void {
    const onFailure = this.#onForgetting
    const isDue = this.timeline.generation >= this.#forgetFrom && forgettable(this.timeline) !== null
    if (onFailure === null || this.#forgetting !== null || !isDue) return
    this.#forgetting = forgetGenerations(this.#store, this)
      .then(({ files, refused }) => {
        if (refused.length === 0) return
        onFailure(deletionRefused(refused))
        // Nothing at all may be deleted.
        if (files === 0) this.#onForgetting = null
      })
      .catch((error: unknown) => {
        this.#forgetFrom = this.timeline.generation + FORGET_AGAIN_AFTER
        onFailure(error)
      })
      .finally(() => {
        this.#forgetting = null
      })
  }

  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(step)
    this.#queue = result.catch(() => undefined) // the caller has the error; the queue goes on
    return result
  }
}

function isGone(error: unknown): error is TidemarkError {
  return hasCode(error, 'OBJECT_NOT_FOUND', 'TIMELINE_CORRUPT')
}

/** The error of a generation that may have gone, or may be damaged: it counts where it is the last one. */
function goneHead(error: unknown): TidemarkError {
  if (isGone(error)) return error
  throw error
}

/** The first generation is committed before anything else is put: where there is something, the timeline is lost. */
async function requireNew(store: ObjectStore): Promise<void> {
  for (const prefix of [SEGMENT_PREFIX, SNAPSHOT_PREFIX]) {
    for await (const { key } of store.list(prefix)) {
      throw new TidemarkError('TIMELINE_CORRUPT', `The timeline is lost: the store has ${key} and no generation.`, {
        hint: 'Run `tidemark repair`: it shows how the timeline is made again from the segments and snapshots in the store.',
        details: { key: timelineKey(1) },
      })
    }
  }
}
