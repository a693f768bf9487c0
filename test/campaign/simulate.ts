import type { Clock } from '../../src/base/clock.ts'
import { ModelDatabase, UnsyncedDatabase } from '../support/model-database.ts'
import { random } from '../support/random.ts'
import { check, initialItems, Workload } from '../support/simulated-life.ts'
import { type Broken, SimulatedProcess, type World } from '../support/simulated-process.ts'
import { type Cut, PowerCut, SimulatedTree } from '../support/simulated-tree.ts'
import { Storm } from '../support/storm.ts'
import { Truth } from '../support/truth.ts'
import { type Campaign, campaignMain, type Tally } from './campaign.ts'

const ROUNDS = 3
const STORMS = 1_000_000
const CUTS_OF_RECOVERY = 3

/** Where the power goes, and how many of these points a round has, roughly. */
const PLACES: readonly (readonly [string | undefined, number])[] = [
  [undefined, 900],
  ['journal write', 60],
  ['journal sync', 120],
  // In the opening.
  ['journal sync', 8],
  ['journal open', 6],
  ['journal remove', 6],
  ['journal directory sync', 8],
  ['store write', 24],
  ['store sync', 24],
  ['store rename', 12],
  ['store link', 12],
  ['store directory sync', 30],
  ['store mkdir', 12],
  ['store remove', 12],
]

/** The scenario of a seed: a process writes, the power goes, the next one recovers and is cut in that too. */
class Life {
  readonly #next: () => number
  readonly #tally: Tally
  readonly #world: World
  readonly #workload: Workload
  readonly #isUnsynced: boolean
  #tree = new SimulatedTree()

  constructor(seed: number, tally: Tally, broken: Broken) {
    const next = random(seed)
    this.#next = next
    this.#tally = tally
    const initial = initialItems(next)
    // The power takes what it likes of a database that nobody syncs: only a kill leaves what the history must have.
    this.#isUnsynced = seed % 3 === 0
    const database = this.#isUnsynced ? new UnsyncedDatabase() : new ModelDatabase()
    for (const { item, image } of initial) database.put(item, image)
    // By numbers of its own: half of the seeds have a fair disk, and are what they were.
    const storm = seed % 2 === 0 ? new Storm(random(seed + STORMS), (what) => tally.add(what)) : null
    const { clock, pass } = unsteadyClock(next)
    this.#world = { database, truth: new Truth(initial), clock, pass, broken, storm }
    this.#workload = new Workload(next, this.#world)
  }

  async run(): Promise<void> {
    const rounds = 1 + Math.floor(this.#next() * ROUNDS)
    for (let round = 0; round < rounds; round++) {
      const process = await this.#recovered()
      await check(process, this.#world, this.#next)
      this.#tree.arm(this.#cut())
      const lived = await this.#live('in work', async () => {
        await this.#workload.bursts(process, 3)
        this.#tally.add('segments merged', process.merged)
        if (this.#next() < 0.5) await process.close()
        return process
      })
      if (lived !== null) await this.#end(this.#next() < 0.5 || this.#isUnsynced)
    }
    const last = await this.#recovered()
    await check(last, this.#world, this.#next)
    await last.close()
    await check(last, this.#world, this.#next)
    this.#tally.add('writes acknowledged', this.#world.truth.acknowledged)
    this.#tally.add('events checked', this.#world.truth.changes)
  }

  /** A process that has recovered; the power may go some times before. */
  async #recovered(): Promise<SimulatedProcess> {
    for (let cuts = 0; ; cuts++) {
      this.#tree.arm(cuts < CUTS_OF_RECOVERY && this.#next() < 0.5 ? this.#cut() : null)
      const process = await this.#live('in recovery', async () => {
        const opened = await SimulatedProcess.open(this.#tree, this.#world)
        await opened.recover(() => this.#workload.during(opened))
        return opened
      })
      if (process === null) continue
      this.#tree.arm(null)
      this.#world.truth.quiet()
      return process
    }
  }

  /** Runs `act` until it is done or the power goes; then it is null, and the tree is what the next process finds. */
  async #live<T>(when: string, act: () => Promise<T>): Promise<T | null> {
    try {
      const done = await act()
      // What is made ahead may meet the cut, and nobody has noticed yet.
      if (!this.#tree.isOff) return done
    } catch (error) {
      if (!this.#tree.isOff) throw error
    }
    const kill = this.#next() < 0.25 || this.#isUnsynced
    this.#tally.add(kill ? 'kills' : 'cuts')
    this.#tally.add(`${when}`)
    this.#tally.add(`at ${this.#tree.lastPlace}`)
    await this.#end(kill)
    return null
  }

  /** Ends the process; the tree is then what the next one finds. */
  async #end(kill: boolean): Promise<void> {
    this.#tree.turnOff()
    this.#world.storm?.clear()
    // Whatever is still under way meets the end; it must not go on into the next life.
    for (let turn = 0; turn < 12; turn++) await new Promise((resolve) => setImmediate(resolve))
    this.#tree = kill ? this.#tree.afterKill() : this.#powerCut()
  }

  #powerCut(): SimulatedTree {
    const before = this.#tree
    const after = before.afterPowerCut(Math.floor(this.#next() * 2 ** 32))
    const { dropped, kept, torn, names } = before.damage
    this.#tally.add('sectors dropped', dropped)
    this.#tally.add('sectors kept', kept)
    this.#tally.add('writes torn', torn)
    this.#tally.add('names lost', names)
    return after
  }

  #cut(): Cut {
    const [place, points] = PLACES[Math.floor(this.#next() * PLACES.length)] ?? [undefined, 900]
    const nth = Math.floor(this.#next() ** 1.5 * points)
    return place === undefined ? { nth } : { place, nth }
  }
}

/** Time that now and then stands still or runs backwards. */
function unsteadyClock(next: () => number): { readonly clock: Clock; readonly pass: (ms: number) => void } {
  let now = 1_760_000_000_000
  const clock: Clock = {
    now: () => {
      now += next() < 0.05 ? -500 : next() < 0.5 ? 0 : 3
      return now
    },
    sleep: () => Promise.resolve(),
    // Seals come by number and by request: a timer would make a seed another run each time.
    idle: (_ms, signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
  }
  const pass = (ms: number): void => {
    now += ms
  }
  return { clock, pass }
}

/** Power loss over the whole path: journal, segments, snapshots and timeline on one simulated machine. */
export function simulateCampaign(broken: Broken = {}): Campaign {
  return {
    name: 'simulate',
    seeds: 2000,
    run: async (seed, tally) => {
      try {
        await new Life(seed, tally, broken).run()
      } catch (error) {
        if (error instanceof PowerCut) throw new Error('a power cut got out of the simulation', { cause: error })
        throw error
      }
    },
  }
}

if (import.meta.main) await campaignMain(simulateCampaign())
