import type { Image, Item } from '../model/event.ts'

/** An item with its state. */
export interface ItemState extends Item {
  readonly image: Image
}

/**
 * What a restore changes about one item: null where the item does not exist before, or after. Null in both, where the
 * target can be torn: nothing may stay of what a killed write left of it.
 */
export interface Difference extends Item {
  readonly before: Image | null
  readonly after: Image | null
}

/** What a restore is about: everything, or chosen resources, or chosen ids of them. */
export interface Selection {
  /** Absent: all resources. */
  readonly resources?: readonly string[]
  /** Absent: all records of the resources. */
  readonly ids?: readonly string[]
}

/** What becomes of an item that somebody else has written since it was compared. */
export type OnConflict = 'keep' | 'overwrite'

/** How a restore treats what others write meanwhile. */
export interface ConflictRule {
  readonly onConflict: OnConflict
  /** Called with what somebody else has written since it was compared. */
  readonly tell: (difference: Difference) => void
}

/** States as they fit a target. */
export interface Fitted {
  readonly states: readonly ItemState[]
  /** What of them had no place there, for people: `resource.attribute`. */
  readonly unfit: readonly string[]
}

/** Where a restore goes. */
export interface Target {
  /** For people: a path or a connection string without secrets. */
  readonly name: string
  /**
   * `differences`: `write` gets only what differs from what the target holds. `states`: it gets the whole state, with
   * `before` null throughout, and what the target held is replaced as a whole by `finish`.
   */
  readonly takes: 'differences' | 'states'
  /** Whether a write that is killed may leave a part of an item that no scan shows. Absent: no. */
  readonly canBeTorn?: boolean
  /** What the target holds of the selection, in the order of `compareItems`, in batches. */
  scan(selection: Selection): AsyncIterable<readonly ItemState[]>
  /**
   * Makes the differences true; called with batches in the order of `compareItems`: schemas, objects, then records. Schemas
   * that are to go come after all of these, so that none is removed before its records. What somebody else has written
   * since it was compared is treated as `conflicts` says, as far as the target can know.
   */
  write(differences: readonly Difference[], conflicts?: ConflictRule): Promise<void>
  /**
   * Makes what is derived (partitions, caches) agree with what is there of the selection now (absent: of everything),
   * whoever wrote it, and everything durable; nothing may be written afterwards.
   */
  finish(selection?: Selection, conflicts?: ConflictRule): Promise<void>
  /**
   * Makes states of single records fit where the target keeps a schema of its own; called in the order of `compareItems`, with
   * the schemas of the moment first. Absent: they go in as they are.
   */
  fit?(states: readonly ItemState[]): Promise<Fitted>
  /** Lets go of the target: once, last of all, whether the restore was finished, was a dry run, or failed. */
  close(): Promise<void>
}
