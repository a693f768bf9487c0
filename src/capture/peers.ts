import type { Ulid } from '../model/ulid.ts'
import { MIN_ULID } from '../model/ulid.ts'

/**
 * What a process knows of the others that write the same database.
 *
 * Two processes that write one record stamp their events without waiting for each other, and their clocks say nothing
 * about which write the database kept. The order of their stamps has to come from what each has heard and read:
 *
 * 1. **Learn, then stamp.** When the database has done a write, its process learns the greatest stamp that any other
 *    has told, and stamps its event after it.
 * 2. **Tell, then read.** When the event is stamped, the process tells its stamp, and only then, where it is not alone,
 *    reads the record again. Where that is not what it stamped last, it stamps what it read (an observation), by the
 *    same two rules, and reads again.
 *
 * So for every process: what it has read *after telling its last stamp* of a record is what that stamp says. And every write
 * is stamped, also one that left the record as it was: it may have replaced what another wrote in between.
 *
 * *Why the last event of a record is what the database holds.* Let E be the event of a record with the greatest stamp,
 * of process P. Once P is done, it has told E's stamp and then read what E says. Assume that the database holds something
 * else later: some write W changed it after that reading, since the reading would have seen what was there before. The
 * process of W learned after W was done, so after P had told: it stamped W's event after E. That contradicts that E is the
 * greatest. No clock is part of this: a clock that is behind only makes stamps run ahead of it, by `advanceTo`.
 *
 * *Where a record is two files* (`file://`) the same holds for each file by itself: what the reading found in a file is
 * what the file holds at the end, or a write came to it after that reading and was stamped later. A reading of halves of
 * two writes is an observation like any other; the next reading corrects it, and where the two writes left halves for
 * good, that is what the database holds.
 *
 * *A process that is killed* between two of these steps leaves an intent in its journal: that of the write, until its event
 * is durable, and in the same frame as the event one that watches the record (its `before` is what the event says), until
 * the reading has been done. Whoever settles the journal reads the record and, where it is not what the intent
 * says, stamps what it read, after every stamp in that journal, and by the two rules. Nothing is sealed past an
 * intent that is open, so no moment is reachable whose events are still to be corrected.
 *
 * *Telling may run ahead.* What is told need not be a stamp: whoever learns it stamps after it, and so after every stamp
 * up to it. A process that is alone tells a stamp of a little later and is silent until it has come up to that; beside
 * others it tells what it has stamped, or their stamps would drive each other ahead of all clocks.
 *
 * *A process that was alone* since before it read the record, and still is after it has told, need not read again. Whoever
 * comes later has made itself known before its first write, so it learns what was told; who came and went meanwhile has told
 * stamps that were not heard before.
 *
 * `test/campaign/race.ts` tries to refute this with arbitrary pauses and kills between any two steps.
 */
export interface Peers {
  /** The greatest stamp that any other process has told; `MIN_ULID` where none has. Looks for new ones. */
  learn(): Ulid
  /** Tells the others that this process has stamped up to `ulid`. */
  tell(ulid: Ulid): void
  /**
   * Whether another process may write to the database, as it was at the last `learn`, as far as can be known without asking
   * the store.
   */
  isShared(): boolean
  /** Whether one of them cannot be heard, because it is on another machine: see `Confirmations`. */
  isElsewhere(): boolean
}

/** Of a database that only this process can write. */
export const NO_PEERS: Peers = {
  learn: () => MIN_ULID,
  tell: () => {},
  isShared: () => false,
  isElsewhere: () => false,
}
