import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Intent } from '../format/intent-codec.ts'
import {
  type Change,
  type Context,
  changeBetween,
  type Image,
  type Item,
  type Stamp,
  sameImage,
  unknownImage,
} from '../model/event.ts'
import { type Finding, foundContext } from '../model/found.ts'
import { MIN_ULID, type Ulid } from '../model/ulid.ts'
import type { Chain } from './chain.ts'
import type { Journal, Outcome } from './journal.ts'
import { NO_PEERS, type Peers } from './peers.ts'
import { readEach } from './read-each.ts'
import { OBSERVED } from './settlement.ts'

/** What a write did to an item: the database has done it. */
export interface Done {
  readonly item: Item
  /** The intent that it settles, 0 where there is none. */
  readonly intent: number
  readonly before: Image | null
  readonly after: Image | null
  readonly context: Context
}

/** What stamping works with. */
export interface StampingSeams {
  readonly journal: Journal
  readonly peers: Peers
  readonly chain: Chain
  readonly log: Logger
  /** The present state of an item, from the database itself. */
  readonly read: (item: Item) => Promise<Image | null>
  /** Called with what was stamped of an item that processes elsewhere may write too. */
  readonly unconfirmed: (item: Item, image: Image | null, ulid: Ulid) => void
  /** Called with what was stamped of an item that no process elsewhere can write any more. */
  readonly superseded: (item: Item) => void
  /** Called after events became durable. */
  readonly noticed: () => void
  /** Called where the database cannot be read: whether the item is as the intent says is to be found out later. */
  readonly doubted: (intent: Intent) => void
}

/**
 * Who was there when a write began. Others may have written while it was under way although they are gone when it is
 * stamped: between what it read and what it did, and between that and its stamp.
 */
export interface Company {
  readonly isShared: boolean
  /** What had been heard of others. */
  readonly heard: Ulid
}

const NOBODY: Company = { isShared: false, heard: MIN_ULID }

/** An item whose stamp was told, and that is still to be read. */
interface Told {
  readonly item: Item
  readonly said: Image | null
  /** The intent that watches it. */
  readonly watch: number
}

/** Gives what was done its stamps, so that the last event of an item is what the database holds: see `Peers`. */
export class Stamping {
  readonly #seams: StampingSeams
  /** The greatest stamp of others that its own follow already. */
  #heard: Ulid = MIN_ULID

  constructor(seams: StampingSeams) {
    this.#seams = seams
  }

  /** Who is there now. */
  company(): Company {
    const { peers } = this.#seams
    if (peers === NO_PEERS) return NOBODY
    // First what was told: who has said that nothing more comes of him is nobody then.
    const heard = this.#learn()
    return { isShared: peers.isShared(), heard }
  }

  /** Whether another process may have written since. */
  isShared(since: Company): boolean {
    return this.#isShared(since, this.#learn())
  }

  #isShared({ isShared, heard }: Company, now: Ulid): boolean {
    const { peers } = this.#seams
    return isShared || now > heard || peers.isShared()
  }

  /** What others have told by now; every later stamp is greater. */
  #learn(): Ulid {
    const { journal, peers } = this.#seams
    if (peers === NO_PEERS) return MIN_ULID
    const heard = peers.learn()
    if (heard > this.#heard) journal.advanceTo(heard)
    if (heard > this.#heard) this.#heard = heard
    return heard
  }

  /**
   * Stamps what one capture did, as one moment, and before it what was found; resolves when it is durable and, where other
   * processes write, was read again. The items are locked. `since`: who was there before they were read.
   */
  async stamp(since: Company, done: readonly Done[], found: readonly Finding[] = []): Promise<void> {
    let told = await this.#stamp(since, done, found)
    while (told.length > 0) told = await this.#readAgain(told)
  }

  /** Everything up to the telling is done in one turn: no other event of this process comes between. */
  async #stamp(since: Company, done: readonly Done[], found: readonly Finding[]): Promise<readonly Told[]> {
    const { journal, peers, chain, noticed, unconfirmed, superseded } = this.#seams
    const isShared = this.#isShared(since, this.#learn())
    const outcomes = outcomesOf(done, isShared)
    const finds = found.map((finding): Outcome => ({ intent: 0, change: changeOf(finding) }))
    const stamped = finds.length === 0 ? journal.settle(outcomes) : this.#settleEach(finds, outcomes)
    stamped.catch(() => undefined) // it is awaited below, unless the telling fails first
    const all = finds.length === 0 ? outcomes : [...finds, ...outcomes]
    const told = this.#tell(since, all, isShared)
    let stamps: readonly (Stamp | null)[]
    try {
      stamps = await stamped
    } catch (error) {
      // Nothing was stamped: there is nothing to watch, and the intents of the write are open.
      journal.abort(told.map(({ watch }) => watch))
      throw error
    }
    for (let i = 0; i < all.length; i++) {
      const [change, stamp] = [all[i]?.change ?? null, stamps[i] ?? null]
      if (change === null || stamp === null) continue
      chain.note(change, change.after, stamp.ulid)
      if (peers.isElsewhere()) unconfirmed(itemOf(change), change.after, stamp.ulid)
      else superseded(change)
    }
    noticed()
    return told
  }

  /** What was found is no part of the capture: each of it has an instant of its own. */
  async #settleEach(finds: readonly Outcome[], outcomes: readonly Outcome[]): Promise<readonly (Stamp | null)[]> {
    const { journal } = this.#seams
    return (await Promise.all([...finds.map((one) => journal.settle([one])), journal.settle(outcomes)])).flat()
  }

  /** Tells the stamps, then looks for others: where there are any, every item that was stamped is to be read again. */
  #tell(since: Company, outcomes: readonly Outcome[], wasShared: boolean): readonly Told[] {
    const { journal, peers } = this.#seams
    if (peers === NO_PEERS || outcomes.every(({ change }) => change === null)) return []
    peers.tell(journal.mark())
    if (!wasShared && !this.isShared(since)) return []
    const changes = outcomes.flatMap(({ change }) => (change === null ? [] : [change]))
    const last = new Map(changes.map((change) => [JSON.stringify([change.kind, change.resource, change.id]), change]))
    const watched = [...last.values()]
    const watches = journal.note(watched.map(watchOf))
    return watched.map((change, i) => ({ item: itemOf(change), said: change.after, watch: watches[i] ?? 0 }))
  }

  /** Reads what was stamped, and stamps what is not so; returns what is to be read after that. */
  async #readAgain(told: readonly Told[]): Promise<readonly Told[]> {
    const { journal, read, log, doubted } = this.#seams
    const differing: Done[] = []
    const since = this.company()
    const states = await readEach(
      told.map(({ item }) => item),
      read,
    )
    for (const [i, { item, said, watch }] of told.entries()) {
      const state = states[i]
      if (state?.status !== 'fulfilled') {
        log.warn({ error: messageOf(state?.reason) }, 'A record could not be read again after it was written.')
        doubted({ ...watchOf({ ...item, after: said }), intent: watch })
      } else if (sameImage(said, state.value)) journal.abort([watch])
      else differing.push({ item, intent: watch, before: said, after: state.value, context: OBSERVED })
    }
    // A watch that is over only in memory keeps the stream undecided for who finds it after a kill.
    if (differing.length < told.length) journal.persist()
    return differing.length === 0 ? [] : this.#stamp(since, differing, [])
  }
}

/**
 * A write that left an item as it was is no event, unless others write too: then it may have replaced what one of them
 * wrote in between.
 */
function outcomesOf(done: readonly Done[], isShared: boolean): readonly Outcome[] {
  const outcomes: Outcome[] = []
  for (const { item, intent, before, after, context } of done) {
    const isSame = sameImage(before, after)
    let change: Change | null = null
    if (isShared && before === null && after === null) change = changeBetween(item, unknownImage(item), null, context)
    else if (isShared || !isSame) change = changeBetween(item, before, after, context)
    if (intent !== 0 || change !== null) outcomes.push({ intent, change })
  }
  return outcomes
}

function changeOf({ before, after, interval, ...item }: Finding): Change | null {
  return changeBetween(item, before, after, foundContext(interval))
}

function itemOf({ kind, resource, id }: Item): Item {
  return { kind, resource, id }
}

/** The intent that watches an item until it was read again. */
function watchOf(told: Item & { readonly after: Image | null }): Omit<Intent, 'intent'> {
  return { item: itemOf(told), before: told.after, isAssumed: false, meant: null, context: OBSERVED }
}
