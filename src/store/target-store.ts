import { type ErrorCode, TidemarkError } from '../base/errors.ts'
import { fileError } from './filesystem-errors.ts'
import type { Body, ByteRange, ListOptions, ObjectInfo, ObjectStore, PutOptions } from './object-store.ts'

/** A directory that a restore fills, as an object store: what fails says so of the target, and not of a backup store. */
export class TargetStore implements ObjectStore {
  readonly #inner: ObjectStore
  readonly #path: string

  constructor(inner: ObjectStore, path: string) {
    this.#inner = inner
    this.#path = path
  }

  put(key: string, body: Body, options?: PutOptions): Promise<void> {
    return this.#told(this.#inner.put(key, body, options))
  }

  get(key: string, range?: ByteRange): Promise<Uint8Array> {
    return this.#told(this.#inner.get(key, range))
  }

  head(key: string): Promise<ObjectInfo | null> {
    return this.#told(this.#inner.head(key))
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    try {
      yield* this.#inner.list(prefix, options)
    } catch (error) {
      throw targetError(error, this.#path)
    }
  }

  delete(keys: readonly string[]): Promise<void> {
    return this.#told(this.#inner.delete(keys))
  }

  async #told<T>(call: Promise<T>): Promise<T> {
    try {
      return await call
    } catch (error) {
      throw targetError(error, this.#path)
    }
  }
}

const HINTS: ReadonlyMap<ErrorCode, readonly [ErrorCode, string]> = new Map([
  ['STORE_FULL', ['TARGET_FULL', 'Free space there (df -h), or give a --target on another disk, and restore again.']],
  [
    'STORE_DENIED',
    ['TARGET_DENIED', 'Give this user the right to write there, or another --target, and restore again.'],
  ],
  ['STORE_NOT_FOUND', ['TARGET_INVALID', 'Give a --target that is a directory, or a path where one can be made.']],
  ['STORE_UNAVAILABLE', ['TARGET_UNAVAILABLE', 'Look at the disk (dmesg | tail), or give another --target.']],
])

/** The error of a target for one that a file call on its directory, or its store, raised; any other as it is. */
export function targetError(error: unknown, path: string): unknown {
  const meant = fileError(error, path, 'write')
  const [code, hint] = (meant instanceof TidemarkError ? HINTS.get(meant.code) : undefined) ?? []
  if (!(meant instanceof TidemarkError) || code === undefined || hint === undefined) return meant
  return new TidemarkError(code, meant.message.replace(' Nothing was stored.', ''), {
    hint,
    cause: meant,
    details: { target: path },
  })
}
