import type { Clock } from '../base/clock.ts'
import type { TidemarkError } from '../base/errors.ts'
import type { FrameLog } from './frame-log.ts'
import type { GroupCommit } from './group-commit.ts'

/** What the disk refused is tried again after this long, milliseconds. */
const RETRY_MS = 1_000

/** What is watched: the log that may run out of room, and who tells the time. */
export interface RoomSeams {
  readonly log: FrameLog
  readonly clock: Clock
}

/** Whether the disk takes what is journalled, and the attempts to have it take what it refused. */
export class RoomWatch {
  readonly #commits: GroupCommit
  readonly #seams: RoomSeams
  readonly #letGo: () => Promise<void>
  readonly #stopping = new AbortController()
  #waiting: Promise<void> | null = null
  #short: () => void = () => {}

  /** `letGo` lets files go whose events are in the store, where the disk took nothing. */
  constructor(commits: GroupCommit, seams: RoomSeams, letGo: () => Promise<void>) {
    this.#commits = commits
    this.#seams = seams
    this.#letGo = letGo
  }

  /** Why the disk takes no more, or may soon take no more; null: nothing is in the way. */
  get shortage(): TidemarkError | null {
    return this.#commits.obstacle ?? this.#seams.log.room?.shortage ?? null
  }

  /** Why nothing at all can be made durable, not even that something is not recorded; null: it can. */
  get obstacle(): TidemarkError | null {
    return this.#commits.failure ?? this.#commits.obstacle
  }

  /** `short` is called at every attempt: what the journal holds should go to the store, which makes room. */
  whenShort(short: () => void): void {
    this.#short = short
  }

  /** Tries again now and then, until the disk takes what it refused and there is room for more, or `stop`. */
  awaitRoom(): Promise<void> {
    this.#waiting ??= this.#wait()
    return this.#waiting
  }

  async #wait(): Promise<void> {
    const { signal } = this.#stopping
    do {
      this.#short()
      await this.#seams.clock.idle(RETRY_MS, signal)
      if (!signal.aborted) await this.makeRoom()
    } while (this.shortage !== null && !signal.aborted)
    this.#waiting = null
  }

  /** Tries again what the disk refused, and to make room for more. What is in the store goes first: that makes room. */
  async makeRoom(): Promise<void> {
    await this.#commits.retry(this.#letGo)
    await this.#seams.log.room?.prepare()
  }

  /** Ends the attempts. */
  stop(): void {
    this.#stopping.abort()
  }
}
