import type { Context, Image, Item } from '../model/event.ts'

/** One captured write: how to see the state of its items, and the write itself. All three run under the items' locks. */
export interface Write<T> {
  /** The state of each item now, in the order of the items; null where it does not exist. Reads the database. */
  read(): Promise<readonly (Image | null)[]>
  /** Does the write in the database. */
  perform(): Promise<T>
  /** The state of each item after `perform` succeeded, from what was written, without reading the database. */
  after(before: readonly (Image | null)[], result: T): readonly (Image | null)[]
  /**
   * SHA-256 (32 bytes) of the `raw` of the image that the write leaves at every item that it changes; no bytes where it
   * leaves nothing there; null where only doing it tells. Called after `read` and before `perform`, at most once.
   */
  meant?(): Uint8Array | null
  /**
   * Whether `error`, which `perform` threw, says for certain that nothing was changed and nothing will be: the write was
   * refused. False where it may have been done, or may still be (a time-out, a broken connection).
   */
  refused?(error: unknown): boolean
}

/** Where a source reports its writes; implemented by the engine's recorder. */
export interface Sink {
  /**
   * Locks the items, reads the state before, makes the intent durable, performs the write, and makes the events
   * durable as `ack` says; only then it resolves, with the result of `perform`. An item whose state did not change
   * yields no event. Where `perform` throws, the state is read again, what did change becomes an event, and the
   * error is thrown on.
   */
  capture<T>(items: readonly Item[], context: Context, write: Write<T>): Promise<T>
}

/** A live database as the engine sees it. */
export interface Source {
  /** Which database this is, the same on every machine and at every start, without secrets. */
  readonly identity: string
  /**
   * Whether what it holds is gone when the process ends. A crash then leaves no write behind of which the history does
   * not know, so that writes need no intent.
   */
  readonly volatile: boolean
  /** From now on every write of the database goes through `sink`; returns what undoes it. */
  attach(sink: Sink): () => void
  /** Every item there is now, or every item of these resources, in the order of `compareItems`, in batches. */
  items(resources?: readonly string[]): AsyncIterable<readonly Item[]>
  /** The present state of an item, or null. Never decrypts. */
  read(item: Item): Promise<Image | null>
}
