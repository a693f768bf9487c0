import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { type Image, type Item, sameImage } from '../model/event.ts'
import type { Chain } from './chain.ts'
import type { OpenIntent } from './journal-recovery.ts'
import { settled } from './settlement.ts'
import type { Stamping } from './stamping.ts'

/** A request that was given up may arrive so much later: after each of these times the database is looked at, milliseconds. */
const LOOKS_MS = [1_000, 4_000, 15_000, 40_000, 120_000, 420_000]
/** Bytes of images that are kept for looking; beyond them a write is not followed. */
const MOST_BYTES = 16 * 1024 * 1024

type Late = Omit<OpenIntent, 'since'>

/** What following late writes takes. */
export interface LateSeams {
  readonly clock: Clock
  readonly log: Logger
  readonly chain: Chain
  readonly read: (item: Item) => Promise<Image | null>
}

/**
 * Writes that failed without an answer, and had changed nothing when the database was read: their requests may still
 * be on their way. Their items are looked at again for ten minutes. What lands later than that, or when the
 * process has ended, is found as every write that was not captured.
 */
export class LateWrites {
  readonly #seams: LateSeams
  readonly #locked: (item: Item, look: () => Promise<void>) => Promise<void>
  readonly #stamping: Pick<Stamping, 'company' | 'stamp'>
  readonly #stopping = new AbortController()
  #bytes = 0

  constructor(
    seams: LateSeams,
    locked: (item: Item, look: () => Promise<void>) => Promise<void>,
    stamping: Pick<Stamping, 'company' | 'stamp'>,
  ) {
    this.#seams = seams
    this.#locked = locked
    this.#stamping = stamping
  }

  /** Follows a write from now on; its `before` is what the database held when it was read after the failure. */
  follow(late: Late): void {
    const bytes = (late.before?.json.length ?? 0) + (late.before?.raw?.length ?? 0)
    if (this.#bytes + bytes > MOST_BYTES) {
      const { kind, resource, id } = late.item
      this.#seams.log.warn(
        { kind, resource, id },
        'Too many writes failed without an answer: this one is not followed.',
      )
      return
    }
    this.#bytes += bytes
    void this.#follow(late).finally(() => {
      this.#bytes -= bytes
    })
  }

  stop(): void {
    this.#stopping.abort()
  }

  async #follow(late: Late): Promise<void> {
    const { signal } = this.#stopping
    for (const ms of LOOKS_MS) {
      await this.#seams.clock.idle(ms, signal)
      if (signal.aborted) return
      try {
        let landed = false
        await this.#locked(late.item, async () => {
          landed = await this.#look(late)
        })
        if (landed) return
      } catch (error) {
        const { kind, resource, id } = late.item
        this.#seams.log.warn(
          { kind, resource, id, error: messageOf(error) },
          'Whether a write that failed without an answer arrived later cannot be read now; it is looked at again.',
        )
      }
    }
  }

  /** Whether the write has arrived by now: then it is stamped, in the name of its writer. The item is locked. */
  async #look(late: Late): Promise<boolean> {
    const { chain, read, log } = this.#seams
    const { item } = late
    const known = chain.imageOf(item)
    const before = known === undefined ? late.before : known
    const since = this.#stamping.company()
    const now = await read(item)
    if (sameImage(before, now)) return false
    const outcome = settled({ ...late, before }, now, false)
    // Something else: a write that was not captured, which the next captured write or a comparison finds.
    if (outcome?.context !== late.context) return false
    log.warn(
      { kind: item.kind, resource: item.resource, id: item.id },
      'A write that failed without an answer arrived late.',
    )
    await this.#stamping.stamp(since, [{ item, intent: 0, ...outcome, after: now }])
    return true
  }
}
