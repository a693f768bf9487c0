import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Intent } from '../format/intent-codec.ts'
import { type Context, changeBetween, type Image, type Item, sameImage } from '../model/event.ts'
import { type Finding, foundContext } from '../model/found.ts'
import type { Chain } from './chain.ts'
import type { Findings } from './findings.ts'
import type { Journal, Outcome } from './journal.ts'
import type { JournalBound } from './journal-bound.ts'
import { ItemLocks } from './locks.ts'
import type { Sink, Write } from './source.ts'
import { Undecided } from './undecided.ts'

/** What the recorder tells the engine. */
export interface RecorderSeams {
  readonly journal: Journal
  readonly bound: JournalBound
  readonly clock: Clock
  /** Called after events became durable. */
  readonly noticed: () => void
  /** Called when it became unknown whether a write happened: `settleOpen` is to be called until it is known. */
  readonly doubted: () => void
  /** The present state of an item, from the database itself. */
  readonly read: (item: Item) => Promise<Image | null>
  /** Whether the database is gone with this process: then nothing is journalled before a write. */
  readonly volatile: boolean
  /** Whether other processes write to the same database now: then the outcome of a write is read back. */
  readonly shared: () => boolean
  readonly chain: Chain
  readonly findings: Findings
}

/** Two processes of one machine read times that differ by less than this; hosts need theirs kept as close. */
const CLOCK_SKEW_MS = 2

/** Somebody who waits for the writes that were under way when he asked. */
interface Waiter {
  readonly writes: Set<object>
  readonly resolve: () => void
}

/** Who is named for a state that another process's write left behind. */
const OBSERVED = JSON.stringify({ tidemark: 'observed after a concurrent write of another process' })

/** Turns writes into journalled events: intent, write, event, under a lock for each item. */
export class Recorder implements Sink {
  readonly #seams: RecorderSeams
  readonly #locks = new ItemLocks()
  /** Writes that hold their locks: each may have changed the database already. */
  readonly #underWay = new Set<object>()
  readonly #waiting = new Set<Waiter>()
  readonly #undecided = new Undecided()
  #active = 0
  #idle: () => void = () => {}
  #refusal: TidemarkError | null = null

  constructor(seams: RecorderSeams) {
    this.#seams = seams
  }

  async capture<T>(items: readonly Item[], context: Context, write: Write<T>): Promise<T> {
    return this.#locked(items, async () => {
      const token = {}
      this.#underWay.add(token)
      try {
        return await this.#captureLocked(items, context, write)
      } finally {
        this.#ended(token)
      }
    })
  }

  /**
   * Journals what `judge` finds out about the items while no captured write of them is under way. Resolves with what
   * was found when it is durable; null, and nothing is judged, while the journal is full.
   */
  async record(items: readonly Item[], judge: () => Promise<readonly Finding[]>): Promise<readonly Finding[] | null> {
    return this.#locked(items, async () => {
      if (this.#seams.bound.state !== 'recording') return null
      const found = await judge()
      await this.#journal([], found)
      // Another process may have written between the reading and the stamp: then the last event must say so.
      const states = found.map(({ after }) => after)
      if (found.length > 0 && this.#seams.shared()) await this.#readBack(found, states)
      return found
    })
  }

  /**
   * Resolves when every write that may have changed the database by now is journalled. A write that still waits for
   * the lock of an item has changed nothing, and is not waited for.
   */
  async journalled(): Promise<void> {
    if (this.#underWay.size === 0) return
    await new Promise<void>((resolve) => {
      this.#waiting.add({ writes: new Set(this.#underWay), resolve })
    })
  }

  /** Runs `read` while no captured write of the item is under way: what it sees belongs between two events. */
  async betweenWrites<T>(item: Item, read: () => Promise<T>): Promise<T> {
    return this.#withLocks([item], read)
  }

  /** Takes over intents that an earlier process left open: nothing is written to their items before they are settled. */
  adopt(journal: Journal, intents: readonly Intent[]): void {
    for (const intent of intents) this.#undecided.add(journal, intent)
  }

  /** What writes of which it is not known whether they happened may have changed. */
  get undecided(): readonly Item[] {
    return this.#undecided.items
  }

  /**
   * Settles every write of which it is not known whether it happened, by what the database holds now. The items are
   * locked from the moment of the call. Rejects, after all were tried, with why one could not be settled.
   */
  async settleOpen(): Promise<void> {
    const tried = await Promise.allSettled(this.undecided.map((item) => this.betweenWrites(item, async () => {})))
    for (const one of tried) if (one.status === 'rejected') throw one.reason
  }

  /** Refuses further writes with `error`, before they touch the database. */
  refuse(error: TidemarkError): void {
    this.#refusal ??= error
  }

  /** Refuses further writes and waits for those under way. */
  async close(): Promise<void> {
    this.#refusal = closed()
    if (this.#active === 0) return
    await new Promise<void>((resolve) => {
      this.#idle = resolve
    })
  }

  async #captureLocked<T>(items: readonly Item[], context: Context, write: Write<T>): Promise<T> {
    const { shared, bound, chain } = this.#seams
    if (!bound.admits()) {
      // What is not recorded breaks no chain: that it is missing is known.
      chain.forget(items)
      return bound.shed(items.length, () => write.perform())
    }
    const before = await write.read()
    const breaks = chain.breaks(items, before)
    const intents = await this.#intend(items, context, before)
    let result: T
    try {
      result = await write.perform()
    } catch (error) {
      // It may have taken effect all the same: what the database holds now is what happened. Where that cannot be
      // read, the caller has the error of the write, and who settles it later logs why it cannot be read.
      const now = await write.read().catch(() => null)
      if (now === null) this.#doubt(items, intents, context, before)
      else await this.#settle(items, intents, context, before, now)
      throw error
    }
    const after = write.after(before, result)
    // Only now: an insert says that there was nothing before it, and that is known when it has succeeded.
    const found = breaks.length === 0 ? breaks : await chain.confirmed(breaks)
    await this.#settle(items, intents, context, before, after, found)
    if (shared()) await this.#readBack(items, after)
    return result
  }

  /** It is not known what the write did: the items are settled when the database can be read. */
  #doubt(
    items: readonly Item[],
    intents: readonly number[],
    context: Context,
    before: readonly (Image | null)[],
  ): void {
    for (const [i, item] of items.entries()) {
      const intent = { intent: intents[i] ?? 0, item, before: before[i] ?? null, context }
      this.#undecided.add(this.#seams.journal, intent)
    }
    this.#seams.doubted()
  }

  /** Makes the intents durable; without one where none is needed. */
  async #intend(
    items: readonly Item[],
    context: Context,
    before: readonly (Image | null)[],
  ): Promise<readonly number[]> {
    const { journal, volatile } = this.#seams
    if (volatile) return []
    return journal.intend(items.map((item, i) => ({ item, before: before[i] ?? null, context })))
  }

  async #settle(
    items: readonly Item[],
    intents: readonly number[],
    context: Context,
    before: readonly (Image | null)[],
    after: readonly (Image | null)[],
    found: readonly Finding[] = [],
  ): Promise<void> {
    const outcomes = items.map((item, i) => {
      const [had, has] = [before[i] ?? null, after[i] ?? null]
      return { intent: intents[i] ?? 0, change: sameImage(had, has) ? null : changeBetween(item, had, has, context) }
    })
    await this.#journal(
      outcomes.filter(({ intent, change }) => intent !== 0 || change !== null),
      found,
    )
  }

  /** Makes the outcomes durable, and before them what was found. */
  async #journal(outcomes: readonly Outcome[], found: readonly Finding[]): Promise<void> {
    const { journal, chain, findings, noticed } = this.#seams
    const all = found.length === 0 ? outcomes : [...found.map(foundOutcome), ...outcomes]
    const stamps = await journal.settle(all)
    for (const [i, { change }] of all.entries()) {
      const stamp = stamps[i] ?? null
      if (change !== null && stamp !== null) chain.note(change, change.after, stamp.ulid)
    }
    for (const finding of found) findings.raise(finding)
    noticed()
  }

  async #locked<T>(items: readonly Item[], work: () => Promise<T>): Promise<T> {
    if (this.#refusal !== null) throw this.#refusal
    this.#active++
    try {
      return await this.#withLocks(items, work)
    } finally {
      if (--this.#active === 0) this.#idle()
    }
  }

  /** Whatever comes next for an item belongs behind its writes of which it was not known whether they happened. */
  async #withLocks<T>(items: readonly Item[], work: () => Promise<T>): Promise<T> {
    const release = await this.#locks.acquire(items)
    try {
      for (const item of items) await this.#undecided.settle(item, (journal, intent) => this.#decide(journal, intent))
      return await work()
    } finally {
      release()
    }
  }

  /** What the database holds now is what happened. */
  async #decide(journal: Journal, { intent, item, before, context }: Intent): Promise<void> {
    const { read, chain, noticed } = this.#seams
    const now = await read(item)
    const change = sameImage(before, now) ? null : changeBetween(item, before, now, context)
    if (intent === 0 && change === null) return
    const [stamp] = await journal.settle([{ intent, change }])
    if (stamp != null) chain.note(item, now, stamp.ulid)
    noticed()
  }

  #ended(token: object): void {
    this.#underWay.delete(token)
    for (const waiting of this.#waiting) {
      waiting.writes.delete(token)
      if (waiting.writes.size > 0) continue
      this.#waiting.delete(waiting)
      waiting.resolve()
    }
  }

  /**
   * Two processes that write one item at the same time stamp their events without knowing of each other. Whoever reads
   * back another state than it wrote records that state, until what it reads is what it stamped last; so the last event
   * of the item is what the database holds. Before it reads, it waits as long as the clocks of two processes may
   * differ: a write that comes after the reading is then stamped after the event, too.
   */
  async #readBack(items: readonly Item[], written: readonly (Image | null)[]): Promise<void> {
    const { clock, read } = this.#seams
    const context: Context = { actor: null, transaction: null, metadata: OBSERVED }
    for (let last = written; ; ) {
      await clock.sleep(CLOCK_SKEW_MS)
      const now = await Promise.all(items.map(read))
      const before = last
      if (items.every((_, i) => sameImage(before[i] ?? null, now[i] ?? null))) return
      const intents = await this.#intend(items, context, before)
      await this.#settle(items, intents, context, before, now)
      last = now
    }
  }
}

function foundOutcome(finding: Finding): Outcome {
  const { before, after, interval } = finding
  return { intent: 0, change: changeBetween(finding, before, after, foundContext(interval)) }
}

function closed(): TidemarkError {
  return new TidemarkError(
    'CAPTURE_CLOSED',
    'Capture has been closed; the write was refused and nothing was changed.',
    {
      hint: 'Write before db.disconnect(), or attach the plugin again.',
    },
  )
}
