import { AsyncLocalStorage } from 'node:async_hooks'
import { systemClock } from '../base/clock.ts'
import { isLocal } from './access.ts'
import type { AwsCommand, StorageClient } from './client.ts'

/** s3db.js gives up an operation on S3 after four attempts of 30 s with pauses between them. */
const REMOTE_MS = 180_000
/** Memory and files are not tried again. */
const LOCAL_MS = 10_000

const captured = new AsyncLocalStorage<true>()

/** The answer to a command, as every client of s3db.js emits it when the command is done. */
const ANSWER = 'cl:response'
const WRITES = ['PutObjectCommand', 'CopyObjectCommand', 'DeleteObjectCommand', 'DeleteObjectsCommand']

/**
 * Writes that were under way when their client was attached to: they were called before, and cannot be waited for. But
 * the client tells when they are done, as it does of every write; those that do not come from a captured write are they.
 * It is listened for as long as s3db.js goes on with an operation, and costs nothing after that.
 */
export class EarlyWrites {
  readonly #client: StorageClient
  readonly #done: (key: string) => void
  readonly #ending = new AbortController()

  /** `done` is called with the key of each object that such a write has changed. */
  constructor(client: StorageClient, done: (key: string) => void) {
    this.#client = client
    this.#done = done
    client.on?.(ANSWER, this.#answered)
    void systemClock.idle(isLocal(client) ? LOCAL_MS : REMOTE_MS, this.#ending.signal).then(() => this.end())
  }

  /** Runs a captured write, of whose answer nothing new is learnt. */
  run<T>(write: () => Promise<T>): Promise<T> {
    return this.#ending.signal.aborted ? write() : captured.run(true, write)
  }

  end(): void {
    if (this.#ending.signal.aborted) return
    this.#ending.abort()
    this.#client.off?.(ANSWER, this.#answered)
  }

  readonly #answered = (command: string, _response: unknown, input: NonNullable<AwsCommand['input']>): void => {
    if (captured.getStore() === true || !WRITES.includes(command)) return
    const keys = [input.Key, ...(input.Delete?.Objects ?? []).map(({ Key }) => Key)]
    for (const key of keys) if (key !== undefined) this.#done(withoutPrefix(this.#client, key))
  }
}

/** Commands to S3 name whole keys, with the prefix of the database. */
function withoutPrefix(client: StorageClient, key: string): string {
  const prefix = (client.config?.keyPrefix ?? '').replace(/\/+$/, '')
  return isLocal(client) || prefix === '' ? key : key.slice(prefix.length + 1)
}
