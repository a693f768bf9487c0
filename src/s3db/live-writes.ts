import { AsyncLocalStorage } from 'node:async_hooks'
import type { Images, Sink, Write } from '../capture/source.ts'
import { NameSet } from '../engine/name-set.ts'
import { type Image, type Item, isUnreadable, sameImage } from '../model/event.ts'
import type { PutParams, StorageClient } from './client.ts'

/** What a restore expects to find where it writes; null: it writes whatever there is. */
export type Expectation = {
  /** The state that an item was compared in. */
  before(item: Item): Image | null
  /** Whether others have written the item since the restore began. */
  isLive(item: Item): Promise<boolean>
} | null

/** Why a restore did not write: what is there is not what was compared, or others have written it since it began. */
export class Newer extends Error {
  /** Of the first item. */
  readonly now: Image | null

  constructor(now: Image | null) {
    super('somebody else has written it')
    this.now = now
  }
}

/** One write of a restore. */
interface Restoring {
  readonly expectation: Expectation
  /** What else comes from there is not its own: somebody may stand in front of the client, and write too. */
  isBegun: boolean
}

const restoring = new AsyncLocalStorage<Restoring>()
const puts = new WeakMap<PutParams, Restoring>()
const watches = new WeakMap<StorageClient, Set<LiveWrites>>()

/**
 * What others than the restore write through a client that is captured, from when this is made until `end`. What other
 * processes write, only the history tells.
 */
export class LiveWrites {
  readonly #client: StorageClient
  readonly #names = new NameSet()

  constructor(client: StorageClient) {
    this.#client = client
    const others = watches.get(client)
    if (others === undefined) watches.set(client, new Set([this]))
    else others.add(this)
  }

  has(item: Item): Promise<boolean> {
    return this.#names.has(nameOf(item))
  }

  /** They are noted at once; resolves when there is room for more. */
  async note(items: readonly Item[]): Promise<void> {
    await Promise.all(items.map((item) => this.#names.add(nameOf(item))))
  }

  end(): void {
    watches.get(this.#client)?.delete(this)
    this.#names.close()
  }
}

/**
 * Puts something as a restore does. Where the client is captured, a write of a restore is done under the lock of its items,
 * after they were read again, and only if they are what is expected. Errors: `Newer` if not; then nothing was written.
 */
export function restoringPut(client: StorageClient, params: PutParams, expectation: Expectation): Promise<object> {
  puts.set(params, { expectation, isBegun: false })
  return client.putObject(params)
}

/** Deletes something as a restore does; see `restoringPut`. */
export function restoringDelete(client: StorageClient, key: string, expectation: Expectation): Promise<object> {
  return restoring.run({ expectation, isBegun: false }, () => client.deleteObject(key))
}

/** Does a put, as a restore where it is one of a restore. */
export function puttingAs<T>(params: PutParams, work: () => T): T {
  const restore = puts.get(params)
  return restore === undefined ? work() : restoring.run(restore, work)
}

/** A sink through which restores find what they expect, and hear of the writes of others. */
export function watchedSink(client: StorageClient, sink: Sink): Sink {
  return { capture: (items, context, write) => sink.capture(items, context, watched(client, items, write)) }
}

function watched<T>(client: StorageClient, items: readonly Item[], write: Write<T>): Write<T> {
  const restore = restoring.getStore()
  if (restore === undefined || restore.isBegun) {
    return (watches.get(client)?.size ?? 0) === 0 ? write : new NotedWrite(client, items, write)
  }
  restore.isBegun = true
  return restore.expectation === null ? write : new ExpectingWrite(items, write, restore.expectation)
}

function nameOf({ kind, resource, id }: Item): string {
  return JSON.stringify([kind, resource, id])
}

/** A write that is handed on as it is. */
class PassedWrite<T> implements Write<T> {
  protected readonly items: readonly Item[]
  protected readonly write: Write<T>
  readonly isAssumed: boolean

  constructor(items: readonly Item[], write: Write<T>) {
    this.items = items
    this.write = write
    this.isAssumed = write.isAssumed ?? false
  }

  read(known?: Parameters<Write<T>['read']>[0]): Promise<Images> {
    return this.write.read(known)
  }

  perform(): Promise<T> {
    return this.write.perform()
  }

  after(before: Images, result: T): Images {
    return this.write.after(before, result)
  }

  meant(): Uint8Array | null {
    return this.write.meant?.() ?? null
  }

  refused(error: unknown): boolean {
    return this.write.refused?.(error) ?? false
  }
}

/** A write of somebody else, while a restore goes on. */
class NotedWrite<T> extends PassedWrite<T> {
  readonly #client: StorageClient

  constructor(client: StorageClient, items: readonly Item[], write: Write<T>) {
    super(items, write)
    this.#client = client
  }

  override async perform(): Promise<T> {
    // One that fails may have been done all the same. Under the lock still, so that no restore comes in between.
    try {
      return await this.write.perform()
    } finally {
      const noting = [...(watches.get(this.#client) ?? [])].map((watch) => watch.note(this.items))
      await Promise.all(noting)
    }
  }
}

/** A write of a restore. */
class ExpectingWrite<T> extends PassedWrite<T> {
  readonly #expectation: NonNullable<Expectation>
  #isChecked = false

  constructor(items: readonly Item[], write: Write<T>, expectation: NonNullable<Expectation>) {
    super(items, write)
    this.#expectation = expectation
  }

  /** Reads again, whatever is known: it may be another process that has written. */
  override async read(): Promise<Images> {
    const images = await this.write.read()
    const { before, isLive } = this.#expectation
    for (const [i, item] of this.items.entries()) {
      const now = images[i] ?? null
      if ((await isLive(item)) || !isExpected(now, before(item))) throw new Newer(now)
    }
    this.#isChecked = true
    return images
  }

  /** While the journal is full, nothing was read before. */
  override async perform(): Promise<T> {
    if (!this.#isChecked) await this.read()
    return this.write.perform()
  }
}

/** What is damaged nobody has written: it is replaced, also where a listing did not show it. */
function isExpected(now: Image | null, before: Image | null): boolean {
  return (now !== null && isUnreadable(now)) || sameImage(now, before)
}
