import { AsyncLocalStorage } from 'node:async_hooks'
import type { Clock } from '../base/clock.ts'
import { TidemarkError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Context, Image, Item } from '../model/event.ts'
import type { Finding } from '../model/found.ts'
import { compareItems } from '../model/order.ts'
import { MIN_ULID, type Ulid } from '../model/ulid.ts'
import type { Chain } from './chain.ts'
import { checkCapture, checkImages, checkMeant } from './check.ts'
import { Confirmations } from './confirmations.ts'
import type { Findings } from './findings.ts'
import type { Journal } from './journal.ts'
import type { JournalBound } from './journal-bound.ts'
import type { OpenIntent } from './journal-recovery.ts'
import { LateWrites } from './late-writes.ts'
import { ItemLocks } from './locks.ts'
import type { Peers } from './peers.ts'
import { readEach } from './read-each.ts'
import { settled } from './settlement.ts'
import type { Images, KnownImages, Sink, Source, Write } from './source.ts'
import { type Company, type Done, Stamping } from './stamping.ts'
import { Undecided } from './undecided.ts'

/** What the recorder tells the engine. */
export interface RecorderSeams {
  readonly journal: Journal
  readonly bound: JournalBound
  readonly clock: Clock
  readonly log: Logger
  /** Called after events became durable. */
  readonly noticed: () => void
  /** Called when it became unknown whether a write happened: `settleOpen` is to be called until it is known. */
  readonly doubted: () => void
  /** The present state of an item, from the database itself. */
  readonly read: (item: Item) => Promise<Image | null>
  /** What outlives this process and this machine: see `#intend`. */
  readonly database: Pick<Source, 'volatile' | 'isUnsynced'>
  readonly peers: Peers
  readonly chain: Chain
  readonly findings: Findings
}

/** Somebody who waits for the writes that were under way when he asked. */
interface Waiter {
  readonly writes: Set<object>
  readonly resolve: () => void
}

/** What is locked by the capture in whose `perform` the program is. */
interface Held {
  readonly items: readonly Item[]
  isOver: boolean
}

/** A write under way: what it is about, and its intents where it has any. */
interface Begun<T> {
  readonly items: readonly Item[]
  readonly context: Context
  readonly write: Write<T>
  readonly since: Company
  readonly before: Images
  readonly intents: readonly number[]
}

/** Turns writes into journalled events: intent, write, event, under a lock for each item. */
export class Recorder implements Sink {
  readonly #seams: RecorderSeams
  readonly #stamping: Stamping
  readonly #late: LateWrites
  readonly #confirmations: Confirmations
  readonly #locks = new ItemLocks()
  /** Of this database: the items of another one have locks of their own, whatever they are called. */
  readonly #held = new AsyncLocalStorage<Held>()
  /** Writes that hold their locks: each may have changed the database already. */
  readonly #underWay = new Set<object>()
  readonly #waiting = new Set<Waiter>()
  readonly #undecided = new Undecided()
  #active = 0
  #idle: () => void = () => {}
  #refusal: TidemarkError | null = null

  constructor(seams: RecorderSeams) {
    this.#seams = seams
    const doubted = (intent: Omit<OpenIntent, 'since'>): void => this.#doubt([intent])
    const unconfirmed: Confirmations['add'] = (...stamped) => this.#confirmations.add(...stamped)
    const locked = (item: Item, look: () => Promise<void>): Promise<void> => this.#locked([item], look)
    const superseded = (item: Item): void => this.#confirmations.superseded(item)
    this.#stamping = new Stamping({ ...seams, doubted, unconfirmed, superseded })
    this.#late = new LateWrites(seams, locked, this.#stamping)
    this.#confirmations = new Confirmations(seams, this.#stamping, locked)
  }

  async capture<T>(items: readonly Item[], context: Context, write: Write<T>): Promise<T> {
    checkCapture(items, context, write)
    requireOrder(items, this.#held.getStore())
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
      const since = this.#stamping.company()
      const found = await judge()
      await this.#stamping.stamp(since, [], found)
      // Whoever judged them has asked everybody.
      for (const finding of found) this.#seams.findings.raise(finding)
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
  adopt(journal: Journal, intents: readonly OpenIntent[]): void {
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

  /** How many items wait until processes elsewhere have passed their stamps. */
  get unconfirmed(): number {
    return this.#confirmations.waiting
  }

  /** Reads once more what processes elsewhere have passed; `passed`: every later stamp of each of them is greater. */
  confirm(passed: Ulid): Promise<void> {
    return this.#confirmations.confirm(passed)
  }

  /** What was stamped up to `ulid` has later stamps in the store: processes elsewhere have passed it when they have passed `ulid`. */
  restamped(ulid: Ulid): void {
    this.#confirmations.restamped(ulid)
  }

  /** Refuses further writes with `error`, before they touch the database. */
  refuse(error: TidemarkError): void {
    this.#refusal ??= error
  }

  /** Refuses further writes and waits for those under way. */
  async close(): Promise<void> {
    this.#refusal = closed()
    this.#late.stop()
    if (this.#active === 0) return
    await new Promise<void>((resolve) => {
      this.#idle = resolve
    })
  }

  async #captureLocked<T>(items: readonly Item[], context: Context, write: Write<T>): Promise<T> {
    const { bound, chain } = this.#seams
    if (!bound.admits()) {
      // What is not recorded breaks no chain: that it is missing is known.
      chain.forget(items)
      return bound.shed(items.length, () => write.perform())
    }
    const since = this.#stamping.company()
    const known = write.isAssumed === true ? undefined : this.#known(items, since)
    const before = checkImages(items, await write.read(known))
    const found = chain.breaks(items, before)
    const intents = await this.#intend(items, context, write, before)
    const begun = { items, context, write, since, before, intents }
    const inside: Held = { items, isOver: false }
    let result: T
    try {
      result = await this.#held.run(inside, () => write.perform())
    } catch (error) {
      await this.#settleFailed(begun, error)
      throw error
    } finally {
      inside.isOver = true
    }
    try {
      await this.#stamping.stamp(since, doneBy(begun, checkImages(items, write.after(before, result))), found)
      for (const finding of found) void this.#seams.findings.confirm(finding)
    } catch (error) {
      // The write was done, and what it left cannot be recorded as its source tells it: what the database says counts.
      this.#doubt(openOf(begun))
      throw error
    }
    return result
  }

  /** What is known of the items before they are read; nothing where another process may have written them. */
  #known(items: readonly Item[], since: Company): KnownImages | undefined {
    const { chain, peers } = this.#seams
    if (since.isShared || peers.isElsewhere()) return undefined
    return items.map((item) => chain.imageOf(item))
  }

  /**
   * A write that failed may have taken effect all the same: what the database holds now is what happened. Where that
   * cannot be read, the caller has the error of the write, and who settles it later logs why it cannot be read.
   */
  async #settleFailed<T>(begun: Begun<T>, error: unknown): Promise<void> {
    const { items, write, since, intents } = begun
    const { journal, read } = this.#seams
    if (write.refused?.(error) === true) return journal.abort(intents)
    const states = await readEach(items, read)
    const isShared = this.#stamping.isShared(since)
    const done: Done[] = []
    for (const [i, one] of openOf(begun).entries()) {
      const state = states[i]
      if (state?.status !== 'fulfilled') {
        this.#doubt([one])
        continue
      }
      const outcome = settled(one, state.value, isShared)
      if (outcome !== null) done.push({ ...one, ...outcome, after: state.value })
      else if (one.intent !== 0) journal.abort([one.intent])
      // Its request may still be on its way.
      if (outcome?.context !== one.context) this.#late.follow({ ...one, before: state.value })
    }
    await this.#stamping.stamp(since, done)
  }

  /** It is not known what the writes did: the items are settled when the database can be read. */
  #doubt(intents: readonly Omit<OpenIntent, 'since'>[]): void {
    const { journal, doubted } = this.#seams
    for (const intent of intents) this.#undecided.add(journal, { ...intent, since: MIN_ULID })
    doubted()
  }

  /**
   * Makes the intents durable; none where the database is gone with this process. Where nobody syncs it, a write that none
   * goes on beside is done while its intent reaches the disk: a kill leaves both, and of what was written a moment before the
   * power went nobody knows whether the database has it, which the next start says. An event is never on the disk without its
   * intent: its frame comes later. Several writes share their syncs, and would scatter over more of them (20 writers: a
   * twentieth slower).
   */
  async #intend<T>(
    items: readonly Item[],
    context: Context,
    write: Write<T>,
    before: Images,
  ): Promise<readonly number[]> {
    const { journal, database } = this.#seams
    if (database.volatile) return []
    const open = openOf({ items, context, write, before, intents: [] })
    checkMeant(open[0]?.meant ?? null)
    const isEarly = database.isUnsynced === true && this.#underWay.size === 1
    return journal.intend(open, isEarly ? 'written' : 'tried')
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
    const locks = this.#locks.acquire(items)
    const release = locks instanceof Promise ? await locks : locks
    try {
      if (!this.#undecided.isEmpty) {
        for (const item of items) await this.#undecided.settle(item, (journal, intent) => this.#decide(journal, intent))
      }
      return await work()
    } finally {
      release()
    }
  }

  /** What the database holds now is what happened; it is stamped here, whoever left the intent. */
  async #decide(journal: Journal, intent: OpenIntent): Promise<void> {
    const { journal: own, read } = this.#seams
    const since: Company = { isShared: false, heard: intent.since }
    const now = await read(intent.item)
    const outcome = settled(intent, now, this.#stamping.isShared(since))
    const id = journal === own ? intent.intent : 0
    if (outcome === null) return journal.abort(intent.intent === 0 ? [] : [intent.intent])
    await this.#stamping.stamp(since, [{ ...outcome, item: intent.item, intent: id, after: now }])
    if (id === 0 && intent.intent !== 0) journal.abort([intent.intent])
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
}

/** The intents of a write that was begun, as its journal would tell them. */
function openOf<T>({
  items,
  context,
  write,
  before,
  intents,
}: Omit<Begun<T>, 'since'>): readonly Omit<OpenIntent, 'since'>[] {
  const meant = write.meant?.() ?? null
  const isAssumed = write.isAssumed ?? false
  return items.map((item, i) => {
    return { item, context, isAssumed, meant, intent: intents[i] ?? 0, before: before[i] ?? null }
  })
}

/** What a write came to, from the states that it left. */
function doneBy<T>({ items, context, before, intents }: Begun<T>, after: Images): readonly Done[] {
  return items.map((item, i) => ({
    item,
    context,
    intent: intents[i] ?? 0,
    before: before[i] ?? null,
    after: after[i] ?? null,
  }))
}

/** Errors: `SOURCE_UNSUPPORTED` where an item is named twice, or its lock would be waited for by who holds it. */
function requireOrder(items: readonly Item[], outer: Held | undefined): void {
  const sorted = items.length < 2 ? items : items.toSorted(compareItems)
  for (let i = 1; i < sorted.length; i++) {
    const [a, b] = [sorted[i - 1], sorted[i]]
    if (a === undefined || b === undefined || compareItems(a, b) !== 0) continue
    throw unsupported(`${a.kind} ${a.resource}/${a.id} stands twice in one capture.`, 'Name each item once.')
  }
  if (outer === undefined || outer.isOver) return
  const [first] = sorted
  for (const item of outer.items) {
    if (first === undefined || compareItems(item, first) < 0) continue
    throw unsupported(
      `${first.kind} ${first.resource}/${first.id} is to be captured inside a write that holds ${item.kind} ${item.resource}/${item.id}: both would wait for ever.`,
      'Capture both in one call, or in the order of the items.',
    )
  }
}

function unsupported(what: string, hint: string): TidemarkError {
  return new TidemarkError('SOURCE_UNSUPPORTED', `${what} What was written is found out by reading the database.`, {
    hint,
  })
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
