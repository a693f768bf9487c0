import { TidemarkError } from '../../src/base/errors.ts'
import type { Body, ByteRange, ListOptions, ObjectInfo, ObjectStore, PutOptions } from '../../src/store/object-store.ts'
import type { Tally } from '../campaign/campaign.ts'

/**
 * What befalls a call. `late`: it fails, and takes effect some calls later, as the request that a frozen server finds
 * in its socket. `lost 412`: it took effect, and something on the way sent it twice. `false 412`: there is no object.
 */
export type Fault =
  | 'timeout before'
  | 'timeout after'
  | 'late'
  | '500'
  | '503'
  | '403'
  | 'lost 412'
  | 'false 412'
  | 'truncated'
  | 'flipped'
  | 'stale list'
  | 'broken list'

const PUT: readonly Fault[] = ['timeout before', 'timeout after', 'late', '500', '503', '403']
const PUT_ABSENT: readonly Fault[] = [...PUT, 'lost 412', 'false 412']
const GET: readonly Fault[] = ['timeout before', '500', '503', 'truncated', 'flipped']
const LIST: readonly Fault[] = ['timeout before', '500', 'stale list', 'stale list', 'broken list']
const DELETE: readonly Fault[] = ['timeout before', 'timeout after', '503']

/** Puts that a stale listing may still miss. */
const RECENT = 3

/** A store in bad weather, from one seed. What one process sees; several may stand over one store of objects. */
export class StormStore implements ObjectStore {
  readonly #store: ObjectStore
  readonly #next: () => number
  readonly #tally: Tally
  readonly #recent: string[]
  #late: { in: number; act: () => Promise<unknown> }[] = []
  /** How many calls of a hundred fail. */
  rate = 0
  /** No call gets through. */
  isGone = false

  /** `recent`: the newest keys, known to all who write to the store. */
  constructor(store: ObjectStore, next: () => number, tally: Tally, recent: string[]) {
    this.#store = store
    this.#next = next
    this.#tally = tally
    this.#recent = recent
  }

  async put(key: string, body: Body, options?: PutOptions): Promise<void> {
    const isStream = !(body instanceof Uint8Array)
    let fault = await this.#fault(options?.ifAbsent === true ? PUT_ABSENT : PUT, key)
    if (fault === 'late' && isStream) fault = 'timeout before'
    const act = async (): Promise<void> => {
      await this.#store.put(key, body, options)
      this.#recent.push(key)
      if (this.#recent.length > RECENT) this.#recent.shift()
    }
    if (fault === 'late') {
      this.#late.push({ in: 1 + Math.floor(this.#next() * 12), act })
      throw unavailable(key, fault)
    }
    if (fault === 'false 412') throw new TidemarkError('OBJECT_EXISTS', `${key} exists (not so)`, { hint: '' })
    if (fault !== null && fault !== 'timeout after' && fault !== 'lost 412') throw unavailable(key, fault)
    await act()
    if (fault === 'lost 412') throw new TidemarkError('OBJECT_EXISTS', `${key} exists by now`, { hint: '' })
    if (fault !== null) throw unavailable(key, fault)
  }

  async get(key: string, range?: ByteRange): Promise<Uint8Array> {
    const fault = await this.#fault(GET, key)
    if (fault !== null && fault !== 'truncated' && fault !== 'flipped') throw unavailable(key, fault)
    const bytes = await this.#store.get(key, range)
    if (fault === null || bytes.length === 0) return bytes
    const at = Math.floor(this.#next() * bytes.length)
    if (fault === 'truncated') return bytes.subarray(0, at)
    const flipped = Uint8Array.from(bytes)
    flipped[at] = (flipped[at] ?? 0) ^ (1 << Math.floor(this.#next() * 8))
    return flipped
  }

  async head(key: string): Promise<ObjectInfo | null> {
    const fault = await this.#fault(['timeout before', '503'], key)
    if (fault !== null) throw unavailable(key, fault)
    return this.#store.head(key)
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo, void, undefined> {
    const fault = await this.#fault(LIST, prefix)
    if (fault !== null && fault !== 'stale list' && fault !== 'broken list') throw unavailable(prefix, fault)
    const missing = fault === 'stale list' ? new Set(this.#recent) : new Set()
    let left = fault === 'broken list' ? Math.floor(this.#next() * 4) : Number.POSITIVE_INFINITY
    for await (const info of this.#store.list(prefix, options)) {
      if (missing.has(info.key)) continue
      if (left-- <= 0) throw unavailable(prefix, 'broken list')
      yield info
    }
    if (fault === 'broken list') throw unavailable(prefix, fault)
  }

  async delete(keys: readonly string[]): Promise<void> {
    const fault = await this.#fault(DELETE, keys[0] ?? '')
    if (fault !== null && fault !== 'timeout after') throw unavailable('delete', fault)
    await this.#store.delete(keys)
    if (fault !== null) throw unavailable('delete', fault)
  }

  /** Lets everything that is under way take its effect: what comes after is after all of it. */
  async settle(): Promise<void> {
    const late = this.#late
    this.#late = []
    for (const { act } of late) await act().catch(() => undefined) // nobody waits for the answer any more
  }

  async #fault(kinds: readonly Fault[], key: string): Promise<Fault | null> {
    const due = this.#late.filter((late) => --late.in <= 0)
    this.#late = this.#late.filter((late) => late.in > 0)
    for (const { act } of due) await act().catch(() => undefined) // nobody waits for the answer any more
    if (this.isGone) {
      this.#tally.add('while gone')
      throw unavailable(key, 'gone')
    }
    if (this.#next() * 100 >= this.rate) return null
    const fault = kinds[Math.floor(this.#next() * kinds.length)] ?? null
    // The journal itself is fenced by what it is told: there a wrong answer is no fault but a lie.
    const lie = fault === 'false 412' && key.startsWith('journal/')
    if (fault === null || lie) return null
    this.#tally.add(fault)
    return fault
  }
}

function unavailable(key: string, why: string): TidemarkError {
  const code = why === '403' ? 'STORE_DENIED' : 'STORE_UNAVAILABLE'
  return new TidemarkError(code, `${key}: ${why}, by the test.`, { hint: 'Try again.' })
}
