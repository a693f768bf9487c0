import { equalBytes } from '../base/bytes.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { hasCode, TidemarkError } from '../base/errors.ts'
import { type Keeping, keepingOf } from './keeping.ts'
import type { Body, ByteRange, ListOptions, ObjectInfo, ObjectStore, PutOptions } from './object-store.ts'

/** How often and how long a failed request is tried again. */
export interface RetryOptions {
  /** Requests in all, the first included. Default 5. */
  readonly attempts?: number
  /** The wait before attempt n + 1 is random between 0 and `baseMs` x 2^(n-1), at most `capMs`. Default 100. */
  readonly baseMs?: number
  /** Default 5000. */
  readonly capMs?: number
  readonly clock?: Clock
  /** A number from 0 up to 1, as `Math.random` gives. */
  readonly random?: () => number
}

/**
 * Runs `act` until it succeeds, fails with an error that is not `retriable`, or the attempts are used up. `act` gets
 * the number of attempts that failed before. With `mayRepeat`, a failed attempt is final once it returns false.
 */
export type Retry = <T>(act: (failed: number) => Promise<T>, mayRepeat?: () => boolean) => Promise<T>

/** Exponential backoff with full jitter. */
export function retrying(options: RetryOptions = {}): Retry {
  const { attempts = 5, baseMs = 100, capMs = 5000, clock = systemClock, random = Math.random } = options
  return async (act, mayRepeat = () => true) => {
    for (let failed = 0; ; failed++) {
      try {
        return await act(failed)
      } catch (error) {
        if (!(error instanceof TidemarkError && error.retriable)) throw error
        if (failed + 1 >= attempts || !mayRepeat()) throw failed === 0 ? error : exhausted(error, failed + 1)
      }
      await clock.sleep(random() * Math.min(capMs, baseMs * 2 ** failed))
    }
  }
}

function exhausted(error: TidemarkError, attempts: number): TidemarkError {
  const { code, hint } = error
  const details = { ...error.details, attempts }
  return new TidemarkError(code, `${error.message} (${attempts} attempts)`, { hint, details, cause: error })
}

/** `store`, with every request that fails with a `retriable` error tried again. Nothing else in Tidemark retries. */
export function withRetry(store: ObjectStore, options: RetryOptions = {}): ObjectStore {
  return new RetryStore(store, retrying(options))
}

class RetryStore implements ObjectStore {
  readonly #store: ObjectStore
  readonly #retry: Retry

  constructor(store: ObjectStore, retry: Retry) {
    this.#store = store
    this.#retry = retry
  }

  put(key: string, body: Body, options?: PutOptions): Promise<void> {
    if (body instanceof Uint8Array) return this.#putBytes(key, body, options)
    // What was taken from a stream is gone: only a put that failed before the first chunk is tried again.
    let touched = false
    const watched = watch(body, () => {
      touched = true
    })
    return this.#retry(
      () => this.#store.put(key, watched, options),
      () => !touched,
    )
  }

  #putBytes(key: string, body: Uint8Array, options: PutOptions | undefined): Promise<void> {
    return this.#retry(async (failed) => {
      try {
        await this.#store.put(key, body, options)
      } catch (error) {
        // A request whose answer was lost may have been carried out: what exists can be our own object.
        if (failed === 0 || !hasCode(error, 'OBJECT_EXISTS')) throw error
        if (!equalBytes(await this.#store.get(key), body)) throw error
      }
    })
  }

  get(key: string, range?: ByteRange): Promise<Uint8Array> {
    return this.#retry(() => this.#store.get(key, range))
  }

  head(key: string): Promise<ObjectInfo | null> {
    return this.#retry(() => this.#store.head(key))
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo, void, undefined> {
    let last = options?.startAfter
    let open = this.#listing(prefix, last)
    for (;;) {
      const next = await this.#retry(async (failed) => {
        // A listing that failed is over; a new one goes on behind the last key that was given out.
        if (failed > 0) open = this.#listing(prefix, last)
        return open.next()
      })
      if (next.done === true) return
      last = next.value.key
      yield next.value
    }
  }

  delete(keys: readonly string[]): Promise<void> {
    return this.#retry(() => this.#store.delete(keys))
  }

  keeping(keys: readonly string[]): Promise<Keeping> {
    return this.#retry(() => keepingOf(this.#store, keys))
  }

  #listing(prefix: string, startAfter: string | undefined): AsyncIterator<ObjectInfo> {
    return this.#store.list(prefix, startAfter === undefined ? {} : { startAfter })[Symbol.asyncIterator]()
  }
}

async function* watch(body: AsyncIterable<Uint8Array>, onFirst: () => void): AsyncGenerator<Uint8Array> {
  onFirst()
  yield* body
}
