import { randomBytes } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import { LEASE_PREFIX, leaseKey, parseLeaseKey } from '../../format/keys.ts'
import { sealJson, unsealJson } from '../../format/sealed-json.ts'
import { claimGeneration, type GenerationNames, hasLater, latestGeneration } from '../../store/generations.ts'
import type { ObjectStore } from '../../store/object-store.ts'

/*
 * Who merges, so that two do not do the same work for nothing: a numbered series of files, of which the last counts. It is
 * taken, held on to, and given back by putting the next number if it is absent. It keeps nobody from anything: whose merge
 * comes second is refused by the timeline, which names what was merged no more. So its clock need not be right.
 */
const NAMES: GenerationNames = { prefix: LEASE_PREFIX, name: leaseKey, parse: parseLeaseKey }

/** How long nobody else begins after the last sign of life, milliseconds. */
const LEASE_MS = 60_000

/** What a file of the series says. */
interface LeaseFile {
  readonly holder: string
  /** Milliseconds since the epoch; 0: it was given back. */
  readonly until: number
}

/** What a lease file says, or null where it is none. */
export function decodeLease(bytes: Uint8Array): LeaseFile | null {
  const { format, holder, until } = unsealJson(bytes) ?? {}
  return format === 1 && typeof holder === 'string' && typeof until === 'number' ? { holder, until } : null
}

/** A lease that is held. */
export class Lease {
  readonly #store: ObjectStore
  readonly #clock: Clock
  readonly #holder: string
  #number: number
  #until: number

  private constructor(store: ObjectStore, clock: Clock, holder: string, number: number, until: number) {
    this.#store = store
    this.#clock = clock
    this.#holder = holder
    this.#number = number
    this.#until = until
  }

  /** Null where somebody else holds it. Errors: those of the store. */
  static async take(store: ObjectStore, clock: Clock): Promise<Lease | null> {
    const last = await latestGeneration(store, NAMES)
    const known = last === 0 ? null : decodeLease(await store.get(leaseKey(last)))
    // What is further away was said by another clock, which one of the two has wrong.
    const left = (known?.until ?? 0) - clock.now()
    if (left > 0 && left <= LEASE_MS) return null
    const lease = new Lease(store, clock, randomBytes(8).toString('hex'), last, 0)
    return (await lease.#put(clock.now() + LEASE_MS)) ? lease : null
  }

  /** Holds on to it, where half of its time is over. False where somebody else has taken it. */
  async renew(): Promise<boolean> {
    const now = this.#clock.now()
    return this.#until - now > LEASE_MS / 2 || this.#put(now + LEASE_MS)
  }

  /** Gives it back. */
  async release(): Promise<void> {
    await this.#put(0)
  }

  async #put(until: number): Promise<boolean> {
    const next = this.#number + 1
    const bytes = sealJson({ format: 1, holder: this.#holder, until })
    if (!(await claimGeneration(this.#store, NAMES, next, bytes))) return false
    if (await hasLater(this.#store, NAMES, next)) {
      // Who slept finds the number free again that somebody has had meanwhile.
      await this.#store.delete([leaseKey(next)])
      return false
    }
    // The last one stays, so that numbers only grow.
    await this.#store.delete(this.#number === 0 ? [] : [leaseKey(this.#number)])
    this.#number = next
    this.#until = until
    return true
  }
}
