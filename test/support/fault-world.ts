import { join } from 'node:path'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { hasCode, TidemarkError } from '../../src/base/errors.ts'
import type { Ack } from '../../src/engine/streams.ts'
import type { Image, Item } from '../../src/model/event.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import type { Tally } from '../campaign/campaign.ts'
import { show } from './arbitrary.ts'
import { copyJournals, openRig, type Rig } from './capture-rig.ts'
import { keyOf, ModelDatabase, recordImage } from './model-database.ts'
import type { StormStore } from './storm-store.ts'

/** Model time passes so many times faster: ten minutes in 0.6 seconds. */
const SCALE = 1000

/** A write of the application, and what it was told. */
export interface Told {
  readonly item: Item
  /** As `before -> after`: no two writes of an item have the same. */
  readonly change: string
  /** `open`: whether it happened is for the database to say, and the history must agree with it. */
  outcome: 'acknowledged' | 'refused' | 'open'
  readonly after: Image | null
  /** Model time. */
  readonly from: number
  to: number
}

/** Everything that the application did and saw, and nothing that the engine says. */
export class Witness {
  readonly items: Map<string, { item: Item; image: Image }> = new Map()
  readonly told: Told[] = []
  readonly checkpoints: { at: number; state: Map<string, string> }[] = []
  /** Retention has promised everything from here on, in model time; nothing was pruned yet where it is 0. */
  keptFrom = 0

  /** A moment after everything. */
  end(): number {
    return Math.ceil(this.told.reduce((end, { to }) => (Number.isFinite(to) ? Math.max(end, to) : end), 0)) + 1
  }

  tells(item: Item, before: Image | null, after: Image | null, from: number): Told {
    const change = `${show(before)} -> ${show(after)}`
    const told: Told = { item, change, after, outcome: 'open', from, to: Number.POSITIVE_INFINITY }
    this.told.push(told)
    return told
  }

  state(): Map<string, string> {
    return new Map([...this.items].map(([key, { image }]) => [key, show(image)]))
  }
}

/** How a process is set up. */
export interface ProcessOptions {
  readonly name: string
  readonly home: string
  /** The store as this process sees it, in weather of its own. */
  readonly sky: () => StormStore
  /** What stands between the engine and the weather. */
  readonly wrap: (storm: StormStore, clock: Clock) => ObjectStore
  readonly ack: Ack
  readonly limitBytes: number
  readonly whenFull: 'refuse' | 'shed'
  readonly witness: Witness
  readonly tally: Tally
  readonly next: () => number
}

/** Fast time, one for all; a process that has died never comes back from a wait. */
export class FastClock implements Clock {
  dead = false

  now(): number {
    return 1_800_000_000_000 + performance.now() * SCALE
  }

  async sleep(ms: number): Promise<void> {
    await systemClock.sleep(ms / SCALE)
    if (this.dead) await new Promise(() => {})
  }

  async idle(ms: number, signal: AbortSignal): Promise<void> {
    await systemClock.idle(Math.max(1, ms / SCALE), signal)
    if (this.dead) await new Promise(() => {})
  }
}

class MortalDatabase extends ModelDatabase {
  dead = false

  protected override async access(): Promise<void> {
    await super.access()
    if (this.dead) await new Promise(() => {})
  }
}

/** What a process has from its start to its end. */
interface Life {
  readonly clock: FastClock
  readonly storm: StormStore
  readonly store: ObjectStore
  readonly database: MortalDatabase
  readonly death: PromiseWithResolvers<'dead'>
}

/** A capturing process: it can be closed, and it can die. */
export class Process {
  readonly #options: ProcessOptions
  readonly #ghosts: StormStore[] = []
  #rig: Rig | null = null
  #life: Life
  #directory: string
  #count = 0
  /** Resolves when the process captures again: an application writes only then. */
  #up: Promise<void> = Promise.resolve()

  constructor(options: ProcessOptions) {
    this.#options = options
    this.#directory = join(options.home, options.name, '0')
    this.#life = this.#born()
  }

  /** The weather that it has. */
  get storm(): StormStore {
    return this.#life.storm
  }

  get rig(): Rig {
    if (this.#rig === null) throw new Error('the process does not run')
    return this.#rig
  }

  /** Starts until it succeeds: in bad weather a start may fail, which a supervisor answers by another. */
  async start(): Promise<void> {
    const { ack, limitBytes, whenFull, tally } = this.#options
    const { storm, store, clock, database } = this.#life
    // In this time a close would give up after 25 ms, and the oracle read what goes on being brought in.
    const seal = { events: 15, bytes: 8000, ageMs: 5000, closeMs: 1e9 }
    const setup = { store, clock, database, ack, limitBytes, whenFull, seal, directory: this.#directory }
    for (let failures = 0; this.#rig === null; failures++) {
      if (failures > 10) Object.assign(storm, { rate: 0, isGone: false })
      try {
        this.#rig = await openRig(setup)
      } catch (error) {
        if (!(error instanceof TidemarkError) || failures > 20) throw error
        tally.add('starts that failed')
      }
    }
  }

  /** The end of the process in the midst of everything: only what is on the disk is left. */
  crash(): Promise<void> {
    this.#up = this.#crash()
    return this.#up
  }

  async #crash(): Promise<void> {
    const { home, name, tally } = this.#options
    const { clock, database, storm, death } = this.#life
    clock.dead = true
    database.dead = true
    storm.isGone = true
    death.resolve('dead')
    this.#ghosts.push(storm)
    this.#letGo()
    this.#life = this.#born()
    this.#life.storm.rate = storm.rate
    const left = join(home, name, `after ${++this.#count}`)
    copyJournals(this.#directory, left)
    this.#directory = left
    tally.add('crashes')
    await this.start()
  }

  /** Ends, well or not, and begins again with the journal that is left. */
  async reopen(): Promise<void> {
    const { tally } = this.#options
    if (!this.canCrash) this.storm.rate = 0
    try {
      await this.rig.session.close()
      tally.add('reopenings')
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
      tally.add('closes that failed')
    }
    this.#letGo()
    this.#ghosts.push(this.storm)
    const { rate } = this.storm
    this.#life = this.#born()
    this.storm.rate = rate
    await this.start()
  }

  /** Lets requests of dead processes, and of this one, take their effect after all. */
  async settle(): Promise<void> {
    for (const storm of [...this.#ghosts, this.storm]) await storm.settle()
  }

  /** A journal in memory is gone with its process: nothing could be expected of it. */
  get canCrash(): boolean {
    return this.#options.ack === 'journal'
  }

  /** Whatever still runs comes back from nothing any more. */
  abandon(): void {
    this.#life.clock.dead = true
    this.#life.database.dead = true
    this.#life.storm.isGone = true
  }

  /** Ends as it should, with everything in the store. */
  async close(): Promise<void> {
    const { session } = this.rig
    const { clock } = this.#life
    for (let failures = 0; ; failures++) {
      try {
        await session.complete(null)
        break
      } catch (error) {
        if (failures > 100 || !(error instanceof TidemarkError) || hasCode(error, 'STREAM_FENCED')) throw error
        await clock.sleep(4000)
      }
    }
    await session.close()
    this.#letGo()
  }

  #letGo(): void {
    this.#rig?.archive.close()
    this.#rig = null
  }

  /** One write of an own item, or of a new one; remembers what it was told. */
  async write(lane: number): Promise<void> {
    const { name, witness, next, tally } = this.#options
    await this.#up
    const { clock, database, death } = this.#life
    const item: Item = { kind: 'record', resource: 'r', id: `${name}${lane}-${Math.floor(next() * 3)}` }
    const before = witness.items.get(keyOf(item))?.image ?? null
    const told = witness.tells(item, before, this.#image(item, before), clock.now())
    try {
      const done = database.write(item, told.after).then(() => 'done' as const)
      if ((await Promise.race([done, death.promise])) === 'dead' || clock.dead) return
      told.outcome = 'acknowledged'
      tally.add('writes')
    } catch (error) {
      if (clock.dead) return
      if (!hasCode(error, 'JOURNAL_FULL')) throw error
      const now = witness.items.get(keyOf(item))?.image ?? null
      if (now !== before) throw new Error('a refused write changed the database', { cause: error })
      told.outcome = 'refused'
      tally.add('refused')
      await new FastClock().sleep(4000)
    } finally {
      told.to = clock.now()
    }
  }

  #image(item: Item, before: Image | null): Image | null {
    const { name, next } = this.#options
    if (before !== null && next() < 0.15) return null
    return recordImage({ id: item.id, n: `${name}.${++this.#count}`, text: 'x'.repeat(Math.floor(next() * 800)) })
  }

  #born(): Life {
    const { sky, wrap, witness } = this.#options
    const clock = new FastClock()
    const storm = sky()
    const database = new MortalDatabase('model://test', witness.items)
    return { clock, storm, store: wrap(storm, clock), database, death: Promise.withResolvers() }
  }
}
