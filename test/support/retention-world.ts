import type { Archive } from '../../src/engine/archive.ts'
import { eraseRecord } from '../../src/engine/erasure.ts'
import { pruneArchive } from '../../src/engine/prune.ts'
import { Retention } from '../../src/engine/retention.ts'
import { View } from '../../src/engine/view.ts'
import type { Item } from '../../src/model/event.ts'
import { type Ulid, ulidTime } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { type CompactionSeams, compact } from '../../src/upkeep/compaction/compact.ts'
import { writeRun } from '../../src/upkeep/compaction/write-run.ts'
import type { RetentionPolicy } from '../../src/upkeep/retention/policy.ts'
import { takeSnapshot } from '../../src/upkeep/snapshot.ts'
import { openReader, openRig, type Rig } from './capture-rig.ts'
import { BEGIN, DAY, HOUR, SetClock } from './kept-history.ts'
import { ModelDatabase, recordImage } from './model-database.ts'
import { type OracleSnapshot, RetentionOracle } from './retention-oracle.ts'
import { FaultyStore } from './stores.ts'

const RECORDS = 12

/** One write, as the oracle knows it. */
interface Written {
  readonly at: number
  readonly id: string
  /** Null: deleted. */
  readonly n: number | null
}

/** A real capture of which years pass in seconds, and what was promised of it, told by an oracle. */
export class RetentionWorld {
  readonly next: () => number
  readonly clock: SetClock
  readonly store: MemoryStore
  readonly marks: Map<string, number> = new Map()
  readonly holds: { id: string; from: number; through: number; until: number | null }[] = []
  readonly #database = new ModelDatabase()
  readonly #rig: Rig
  #written: Written[] = []
  #n = 0
  readonly #live = new Set<string>()
  now: number = BEGIN

  private constructor(next: () => number, clock: SetClock, store: MemoryStore, database: ModelDatabase, rig: Rig) {
    this.next = next
    this.clock = clock
    this.store = store
    this.#database = database
    this.#rig = rig
  }

  static async begin(next: () => number): Promise<RetentionWorld> {
    const [clock, store, database] = [new SetClock(), new MemoryStore(), new ModelDatabase()]
    const rig = await openRig({ store, database, directory: '', clock, ack: 'memory' })
    await rig.session.complete(null)
    return new RetentionWorld(next, clock, store, database, rig)
  }

  upTo(below: number): number {
    return Math.floor(this.next() * below)
  }

  chance(share: number): boolean {
    return this.next() < share
  }

  /** A day of hourly writes, sealed four times, and mostly a snapshot. */
  async day(): Promise<void> {
    for (let hour = 0; hour < 24; hour++) {
      // Within the hour, so that no age ends at a snapshot to the millisecond.
      const begun = this.now + HOUR
      this.now = begun + this.upTo(20 * 60_000)
      this.clock.set(this.now)
      const id = `r${this.upTo(RECORDS)}`
      await this.#write(id, this.chance(0.1) ? null : ++this.#n)
      if (hour % 6 === 5) await this.#rig.session.complete(null)
      this.now = begun
    }
    this.now += 20 * 60_000
    this.clock.set(this.now)
    if (this.chance(0.9)) await this.#snapshot()
    this.now -= 20 * 60_000
  }

  async #write(id: string, n: number | null): Promise<void> {
    if (n === null && !this.#live.delete(id)) return
    if (n !== null) this.#live.add(id)
    await this.#database.write(itemOf(id), n === null ? null : recordImage({ n }))
    this.#written.push({ at: this.now, id, n })
  }

  async #snapshot(): Promise<void> {
    const { archive, timeline } = this.#rig
    const { plan } = await archive.reachLast()
    await takeSnapshot(archive.sources, timeline, plan, 'model://test')
  }

  /** What the records were. */
  stateAt(at: number): Map<string, number> {
    const state = new Map<string, number>()
    for (const one of this.#written) {
      if (one.at > at) break
      if (one.n === null) state.delete(one.id)
      else state.set(one.id, one.n)
    }
    return state
  }

  /** A process of its own over the store, which dies at its `calls`-th call; absent: it lives. */
  async process(calls: number = Number.POSITIVE_INFINITY): Promise<Archive> {
    let made = 0
    const coin = this.chance(0.5) ? 'before' : 'after'
    const faulty = new FaultyStore(this.store, () => {
      made++
      return made < calls ? null : made === calls ? coin : 'before'
    })
    return (await openReader(faulty, this.clock)).archive
  }

  async keep(archive: Archive): Promise<void> {
    const retention = new Retention(archive)
    const at = this.#some()
    const what = this.upTo(4)
    if (what === 0) {
      const name = `m${this.marks.size}-${this.upTo(1e6)}`
      if (await isDone(retention.mark(name, { at }))) this.marks.set(name, at)
    } else if (what === 1) {
      const through = Math.min(at + this.upTo(5) * DAY, this.now - HOUR)
      const until = this.chance(0.5) ? this.now + this.upTo(60) * DAY + 1 : null
      const given = { from: at, through: Math.max(at, through), reason: 'x', ...(until === null ? {} : { until }) }
      const hold = await retention.hold(given).catch(() => null)
      if (hold !== null) this.holds.push({ id: hold.id, from: given.from, through: given.through, until })
    } else if (what === 2) {
      const [name] = [...this.marks.keys()]
      if (name !== undefined && (await isDone(retention.unmark(name)))) this.marks.delete(name)
    } else {
      const hold = this.holds[0]
      if (hold !== undefined && (await isDone(retention.release(hold.id)))) this.holds.shift()
    }
  }

  /** A moment of the last weeks, half an hour behind a write. */
  #some(): number {
    return this.now - this.upTo(20 * 24) * HOUR - HOUR / 2
  }

  /** Deletes a record in the database, and takes it out of the history. */
  async erase(): Promise<boolean> {
    const [id] = [...this.#live]
    if (id === undefined) return false
    this.now += 21 * 60_000
    this.clock.set(this.now)
    await this.#write(id, null)
    this.now -= 21 * 60_000
    await this.#rig.session.complete(null)
    const erased = await eraseRecord(this.#rig.archive, itemOf(id), { reason: 'asked for' })
    this.#written = this.#written.filter((one) => one.id !== id)
    return erased.entry !== null
  }

  async prune(policy: RetentionPolicy, archive: Archive, grace: string): Promise<void> {
    await pruneArchive(archive, { policy, confirm: true, grace })
  }

  /** Merges what there is to merge; returns how many merges that were. */
  async compact({ seams }: Archive): Promise<number> {
    const { store, timeline, clock } = seams
    const write: CompactionSeams['write'] = (request, onFile) => writeRun(store, request, onFile)
    const { merges } = await compact({ store, timeline, clock, memory: 1e7, write }, { graceMs: DAY })
    return merges.length
  }

  /** What a restore shows; null where it is refused because the moment was pruned, or is before the first. */
  async shown(archive: Archive, moment: number | Ulid): Promise<Map<string, number> | null> {
    const view = new View(archive, moment)
    const state = new Map<string, number>()
    try {
      for await (const { kind, id, image } of view.states())
        if (kind === 'record') state.set(id, JSON.parse(Buffer.from(image.json).toString()).n)
      return state
    } catch (error) {
      if (error instanceof Error && /pruned on|history begins later/.test(error.message)) return null
      throw error
    }
  }

  /** As of the timeline before a pruning. */
  async oracle(policy: RetentionPolicy, nowMs: number): Promise<RetentionOracle> {
    const { snapshots } = await this.#rig.timeline.refresh()
    const known = snapshots.map(
      ({ ulid, consistentFrom }): OracleSnapshot => ({
        at: ulidTime(ulid),
        from: ulidTime(consistentFrom),
        isHoled: false,
      }),
    )
    const marks = [...this.marks.values()]
    const newestEvent = this.#written.at(-1)?.at ?? BEGIN
    return new RetentionOracle({ snapshots: known, newestEvent, now: nowMs, marks, holds: this.holds }, policy)
  }

  async end(): Promise<void> {
    await this.#rig.session.close()
    this.#rig.archive.close()
  }
}

function itemOf(id: string): Item {
  return { kind: 'record', resource: 'r', id }
}

async function isDone(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => true,
    () => false,
  )
}
