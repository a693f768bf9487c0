import type { Context, Image, Item } from '../model/event.ts'

/** The states of the items of a write, in their order; null where one does not exist. */
export type Images = readonly (Image | null)[]

/** The last known states of the items of a write, in their order; undefined where none is known. */
export type KnownImages = readonly (Image | null | undefined)[]

/**
 * One captured write: how to see the state of its items, and the write itself. All of it runs under the items' locks.
 * Where it calls `capture` again, for other items, their locks are taken inside: see `Sink`.
 */
export interface Write<T> {
  /**
   * The state of each item now. Reads the database. `known` is what this process last knew; it is given where no other
   * process writes. A state that is confirmed to have been just that a moment ago need not be read again: only a foreign
   * write between that moment and this write is then missed, which this write replaces in any case.
   */
  read(known?: KnownImages): Promise<Images>
  /** Does the write in the database. */
  perform(): Promise<T>
  /** The state of each item after `perform` succeeded, from what was written, without reading the database. */
  after(before: Images, result: T): Images
  /**
   * `fingerprint` of the image that the write leaves at every item that it changes; null where only doing it tells. Asked
   * for after `read`. Who settles a write of which nobody knows whether it happened can tell it from somebody else's by it.
   */
  meant?(): Uint8Array | null
  /**
   * Whether `read` told what has to be so for the write to succeed, and was not read: that an insert finds nothing.
   * Default: everything was read.
   */
  readonly isAssumed?: boolean
  /**
   * Whether `error`, which `perform` threw, says for certain that nothing was changed and nothing will be: the write was
   * refused. False where it may have been done, or may still be (a time-out, a broken connection).
   */
  refused?(error: unknown): boolean
}

/**
 * Where a source reports its writes; implemented by the engine's recorder.
 *
 * **The order of locks.** The sink locks the items of a capture in the order of `compareItems`, then calls the write. A
 * database with locks of its own takes them inside `read` and `perform`, never around `capture`: a lock that is held when
 * `capture` is called and wanted inside another `perform` is a deadlock that neither of the two can see. A capture inside
 * `perform` may only name items that come after all those that are held; otherwise it is refused. Captures of two databases
 * that are written inside one another in both ways wait for each other, and neither of them can see it.
 */
export interface Sink {
  /**
   * Locks the items, reads the state before, makes the intent durable, performs the write, and makes the events
   * durable as `ack` says; only then it resolves, with the result of `perform`. All events of one capture have one time.
   * An item whose state did not change yields no event, unless other processes write to the database. Where `perform`
   * throws, the state is read again, what did change becomes an event, and the error is thrown on.
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
  /**
   * Whether nobody syncs what it has written, so that what was done a moment ago may be gone with the machine. Default:
   * false. Where it is so, a write that none goes on beside waits only until its intent outlives this process, and not the disk.
   */
  readonly isUnsynced?: boolean
  /** From now on every write of the database goes through `sink`; returns what undoes it. */
  attach(sink: Sink): () => void
  /** Every item there is now, or every item of these resources, in the order of `compareItems`, in batches. */
  items(resources?: readonly string[]): AsyncIterable<readonly Item[]>
  /** The present state of an item, or null. Never decrypts. */
  read(item: Item): Promise<Image | null>
}
