import { TidemarkError } from '../../src/base/errors.ts'
import type { Body, ByteRange, ListOptions, ObjectInfo, ObjectStore, PutOptions } from '../../src/store/object-store.ts'

/** The calls of a store; one of `list` is one listing. */
export type Verb = 'put' | 'get' | 'head' | 'list' | 'delete'

const VERBS: readonly Verb[] = ['put', 'get', 'head', 'list', 'delete']

/** Counts calls, and bytes of objects that went in and out. */
export class CountingStore implements ObjectStore {
  readonly #store: ObjectStore
  calls: Record<Verb, number> = zeroes()
  bytesRead = 0
  bytesWritten = 0
  /** Every call, as 'put timeline/0001.json'. */
  log: string[] = []

  constructor(store: ObjectStore) {
    this.#store = store
  }

  reset(): void {
    this.calls = zeroes()
    this.bytesRead = 0
    this.bytesWritten = 0
    this.log = []
  }

  put(key: string, body: Body, options?: PutOptions): Promise<void> {
    this.#count('put', key)
    return this.#store.put(key, body instanceof Uint8Array ? this.#written(body) : this.#counted(body), options)
  }

  async get(key: string, range?: ByteRange): Promise<Uint8Array> {
    this.#count('get', key)
    const bytes = await this.#store.get(key, range)
    this.bytesRead += bytes.length
    return bytes
  }

  head(key: string): Promise<ObjectInfo | null> {
    this.#count('head', key)
    return this.#store.head(key)
  }

  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    this.#count('list', prefix)
    return this.#store.list(prefix, options)
  }

  delete(keys: readonly string[]): Promise<void> {
    this.#count('delete', keys.join(' '))
    return this.#store.delete(keys)
  }

  #count(verb: Verb, what: string): void {
    this.calls[verb]++
    this.log.push(`${verb} ${what}`)
  }

  #written(bytes: Uint8Array): Uint8Array {
    this.bytesWritten += bytes.length
    return bytes
  }

  async *#counted(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of body) yield this.#written(chunk)
  }
}

function zeroes(): Record<Verb, number> {
  return { put: 0, get: 0, head: 0, list: 0, delete: 0 }
}

/** When a call fails: before it does anything, or after it has done everything and only the answer is lost. */
export type FaultPoint = 'before' | 'after'

/** Decides for each call whether it fails; `call` counts the calls of the verb from 1. */
export type FaultScript = (verb: Verb, key: string, call: number) => FaultPoint | Error | null

/**
 * Fails where the script says, with `STORE_UNAVAILABLE`, or with the script's own error before the call. A listing
 * that fails 'after' fails behind its first key. What a user of the store must survive: any call failing at either
 * point, any number of times.
 */
export class FaultyStore implements ObjectStore {
  readonly #store: ObjectStore
  readonly #calls = new Map(VERBS.map((verb) => [verb, 0]))
  script: FaultScript

  constructor(store: ObjectStore, script: FaultScript = () => null) {
    this.#store = store
    this.script = script
  }

  put(key: string, body: Body, options?: PutOptions): Promise<void> {
    return this.#run('put', key, () => this.#store.put(key, body, options))
  }

  get(key: string, range?: ByteRange): Promise<Uint8Array> {
    return this.#run('get', key, () => this.#store.get(key, range))
  }

  head(key: string): Promise<ObjectInfo | null> {
    return this.#run('head', key, () => this.#store.head(key))
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo, void, undefined> {
    const fault = this.#fault('list', prefix)
    if (fault instanceof Error) throw fault
    if (fault === 'before') throw unavailable('list', prefix)
    for await (const info of this.#store.list(prefix, options)) {
      yield info
      if (fault === 'after') throw unavailable('list', prefix)
    }
  }

  delete(keys: readonly string[]): Promise<void> {
    return this.#run('delete', keys.join(' '), () => this.#store.delete(keys))
  }

  async #run<T>(verb: Verb, key: string, act: () => Promise<T>): Promise<T> {
    const fault = this.#fault(verb, key)
    if (fault instanceof Error) throw fault
    if (fault === 'before') throw unavailable(verb, key)
    const result = await act()
    if (fault === 'after') throw unavailable(verb, key)
    return result
  }

  #fault(verb: Verb, key: string): FaultPoint | Error | null {
    const call = (this.#calls.get(verb) ?? 0) + 1
    this.#calls.set(verb, call)
    return this.script(verb, key, call)
  }
}

function unavailable(verb: Verb, key: string): TidemarkError {
  return new TidemarkError('STORE_UNAVAILABLE', `${verb} ${key}: broken off by the test.`, { hint: 'Try again.' })
}

/** Puts of keys with a prefix wait for what `gate` returns. */
export class GatedStore implements ObjectStore {
  readonly #store: ObjectStore
  readonly #prefix: string
  readonly #gate: () => Promise<void>

  constructor(store: ObjectStore, prefix: string, gate: () => Promise<void>) {
    this.#store = store
    this.#prefix = prefix
    this.#gate = gate
  }

  async put(key: string, body: Body, options?: PutOptions): Promise<void> {
    if (key.startsWith(this.#prefix)) await this.#gate()
    return this.#store.put(key, body, options)
  }

  get(key: string, range?: ByteRange): Promise<Uint8Array> {
    return this.#store.get(key, range)
  }

  head(key: string): Promise<ObjectInfo | null> {
    return this.#store.head(key)
  }

  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    return this.#store.list(prefix, options)
  }

  delete(keys: readonly string[]): Promise<void> {
    return this.#store.delete(keys)
  }
}
