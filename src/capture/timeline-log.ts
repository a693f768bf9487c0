import { TidemarkError } from '../base/errors.ts'
import { parseTimelineKey, SEGMENT_PREFIX, SNAPSHOT_PREFIX, TIMELINE_PREFIX, timelineKey } from '../format/keys.ts'
import { decodeHead, EMPTY_HEAD, encodeNextGeneration, type TimelineHead } from '../format/timeline-codec.ts'
import type { Head } from '../model/head.ts'
import type { Timeline, TimelineChange } from '../model/timeline.ts'
import { claimGeneration, type GenerationNames, latestGeneration } from '../store/generations.ts'
import type { ObjectStore } from '../store/object-store.ts'

/** How generations are named. */
export const GENERATIONS: GenerationNames = { prefix: TIMELINE_PREFIX, name: timelineKey, parse: parseTimelineKey }

/** Commits that lose this often to other writers in a row are given up; each loss is somebody else's progress. */
const MAX_LOSSES = 200

/** The timeline of a store: read, and moved on by one conditional put at a time. */
export class TimelineLog {
  readonly #store: ObjectStore
  #head: TimelineHead = EMPTY_HEAD
  #queue: Promise<unknown> = Promise.resolve()

  private constructor(store: ObjectStore) {
    this.#store = store
  }

  /** The timeline of a store that cannot be asked now: empty until the first refresh or commit reads it. */
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

  /** Size of the last checkpoint: beyond `LIMITS.jsonBytes` none can be committed. */
  get checkpointBytes(): number {
    return this.#head.checkpointBytes
  }

  /** Of the last commit or refresh; null before the first generation. */
  get head(): Head | null {
    const { timeline, sha256 } = this.#head
    return sha256 === null ? null : { generation: timeline.generation, sha256 }
  }

  /** Reads what other writers committed meanwhile. */
  refresh(): Promise<Timeline> {
    return this.#inTurn(() => this.#refresh())
  }

  /**
   * Commits what `change` makes of the present timeline; null: nothing to commit. Where another writer was first, its
   * generation is read and `change` is asked again. The commit point is the put-if-absent of the next generation.
   */
  commit(change: (timeline: Timeline) => TimelineChange | null): Promise<Timeline> {
    return this.#inTurn(async () => {
      for (let losses = 0; losses < MAX_LOSSES; losses++) {
        const wanted = change(this.#head.timeline)
        if (wanted === null) return this.#head.timeline
        const { bytes, next } = await encodeNextGeneration(this.#head, wanted)
        if (await claimGeneration(this.#store, GENERATIONS, next.timeline.generation, bytes)) {
          this.#head = next
          return next.timeline
        }
        await this.#refresh()
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

  async #refresh(): Promise<Timeline> {
    const { generation } = this.#head.timeline
    const latest = await latestGeneration(this.#store, GENERATIONS, generation)
    const read = (wanted: number): Promise<Uint8Array> => this.#store.get(timelineKey(wanted))
    if (latest === 0) await requireNew(this.#store)
    if (latest > generation) this.#head = await decodeHead(latest, read, this.#head)
    return this.#head.timeline
  }

  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(step)
    this.#queue = result.catch(() => undefined) // the caller has the error; the queue goes on
    return result
  }
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
