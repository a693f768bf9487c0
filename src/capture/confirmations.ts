import { equalBytes } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { fingerprint, type Image, type Item, unknownImage } from '../model/event.ts'
import { type Ulid, ulidTime } from '../model/ulid.ts'
import type { Chain } from './chain.ts'
import { nameOf } from './locks.ts'
import { OBSERVED } from './settlement.ts'
import type { Stamping } from './stamping.ts'

/** A stamp that is this old is confirmed although others have not passed it: their clocks are not this far apart. */
const CLOCKS_APART_MS = 10 * 60_000
/** How many items may wait; the oldest give way. */
const MOST_ITEMS = 100_000

/** What confirming works with. */
export interface ConfirmationSeams {
  readonly clock: Clock
  readonly log: Logger
  readonly chain: Chain
  readonly read: (item: Item) => Promise<Image | null>
}

interface Unconfirmed {
  readonly item: Item
  readonly ulid: Ulid
  readonly print: Uint8Array
}

/**
 * Stamps of records that processes on other machines may write too. Those cannot be heard before an event is stamped, only
 * read of in the timeline, so their clocks may be behind: a write that comes after ours may get a stamp before ours. So
 * every item is read once more when all of them have passed its stamp: by then whatever they write is stamped after
 * it. Where it is not what its stamp says, what was read is stamped. It is the second rule of `Peers`, put off.
 *
 * A process elsewhere that writes nothing passes nothing. After ten minutes it is taken to have passed: the order of writes then
 * rests on clocks that are no further apart than that. A process that closes confirms what it can and goes.
 */
export class Confirmations {
  readonly #seams: ConfirmationSeams
  readonly #stamping: Pick<Stamping, 'company' | 'stamp'>
  readonly #locked: (item: Item, look: () => Promise<void>) => Promise<void>
  /** The oldest stamp first. */
  readonly #waiting = new Map<string, Unconfirmed>()
  #running: Promise<void> | null = null

  constructor(
    seams: ConfirmationSeams,
    stamping: Pick<Stamping, 'company' | 'stamp'>,
    locked: (item: Item, look: () => Promise<void>) => Promise<void>,
  ) {
    this.#seams = seams
    this.#stamping = stamping
    this.#locked = locked
  }

  /** How many items wait to be read once more. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Notes what was stamped last of an item. */
  add(item: Item, image: Image | null, ulid: Ulid): void {
    const name = nameOf(item)
    this.#waiting.delete(name)
    this.#waiting.set(name, { item, ulid, print: fingerprint(image) })
    if (this.#waiting.size <= MOST_ITEMS) return
    const [oldest] = this.#waiting.keys()
    if (oldest !== undefined) this.#waiting.delete(oldest)
  }

  /** An item has a later event, which needs no confirmation: what was stamped before is not to be read any more. */
  superseded(item: Item): void {
    if (this.#waiting.size > 0) this.#waiting.delete(nameOf(item))
  }

  /** What was stamped up to `ulid` got later stamps than it had, in the store: none of them is later than that. */
  restamped(ulid: Ulid): void {
    for (const [name, waiting] of this.#waiting) {
      if (waiting.ulid > ulid) break
      this.#waiting.set(name, { ...waiting, ulid })
    }
  }

  /** Reads what all others have passed; `passed`: every later stamp of each of them is greater. One run at a time. */
  confirm(passed: Ulid): Promise<void> {
    this.#running ??= this.#confirm(passed).finally(() => {
      this.#running = null
    })
    return this.#running
  }

  async #confirm(passed: Ulid): Promise<void> {
    const old = this.#seams.clock.now() - CLOCKS_APART_MS
    for (const [name, waiting] of [...this.#waiting]) {
      if (waiting.ulid > passed && ulidTime(waiting.ulid) > old) break
      try {
        await this.#locked(waiting.item, async () => {
          // It was written again meanwhile: then its later stamp waits.
          if (this.#waiting.get(name) === waiting) await this.#look(name, waiting)
        })
      } catch (error) {
        const { kind, resource, id } = waiting.item
        this.#seams.log.warn({ kind, resource, id, error: messageOf(error) }, 'A record cannot be read once more now.')
        return
      }
    }
  }

  async #look(name: string, { item, print }: Unconfirmed): Promise<void> {
    const { chain, read } = this.#seams
    const since = this.#stamping.company()
    const now = await read(item)
    this.#waiting.delete(name)
    if (equalBytes(fingerprint(now), print)) return
    const known = chain.imageOf(item)
    const before = known === undefined ? (print.length === 0 ? null : unknownImage(item)) : known
    await this.#stamping.stamp(since, [{ item, intent: 0, before, after: now, context: OBSERVED }])
  }
}
