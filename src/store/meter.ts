import type { Clock } from '../base/clock.ts'
import { keepingOf } from './keeping.ts'
import type { ObjectStore } from './object-store.ts'

/** Calls of a store in the last 24 hours. A long listing or a large upload is one call, and several requests of HTTP. */
export interface Requests {
  readonly put: number
  readonly get: number
  readonly head: number
  readonly list: number
  readonly delete: number
}

/** What a store can be asked for. */
type Verb = keyof Requests

const HOUR_MS = 3_600_000
const HOURS = 24

type CallCounts = { -readonly [V in Verb]: number }

const zero = (): CallCounts => ({ put: 0, get: 0, head: 0, list: 0, delete: 0 })

/** CallCounts the calls of a store by hour, for the last day. */
export class RequestMeter {
  readonly #clock: Clock
  /** By the number of the hour; at most a day of them. */
  readonly #hours = new Map<number, CallCounts>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The store, counted. */
  over(store: ObjectStore): ObjectStore {
    const counted = (verb: Verb): ObjectStore => {
      this.#count(verb)
      return store
    }
    return {
      put: (key, body, options) => counted('put').put(key, body, options),
      get: (key, range) => counted('get').get(key, range),
      head: (key) => counted('head').head(key),
      list: (prefix, options) => counted('list').list(prefix, options),
      delete: (keys) => counted('delete').delete(keys),
      keeping: (keys) => keepingOf(counted('head'), keys),
    }
  }

  /** The sums of the last day. */
  get requests(): Requests {
    const first = this.#hour() - HOURS
    const sum = zero()
    for (const [hour, counts] of this.#hours) {
      if (hour <= first) continue
      for (const verb of VERBS) sum[verb] += counts[verb]
    }
    return sum
  }

  #count(verb: Verb): void {
    const hour = this.#hour()
    let counts = this.#hours.get(hour)
    if (counts === undefined) {
      counts = zero()
      this.#hours.set(hour, counts)
      for (const old of this.#hours.keys()) if (this.#hours.size > HOURS + 1) this.#hours.delete(old)
    }
    counts[verb]++
  }

  #hour(): number {
    return Math.floor(this.#clock.now() / HOUR_MS)
  }
}

const VERBS: readonly Verb[] = ['put', 'get', 'head', 'list', 'delete']
