import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../../src/base/clock.ts'
import { TidemarkError } from '../../src/base/errors.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { withRetry } from '../../src/store/retry.ts'
import { openReader, stateAt } from '../support/capture-rig.ts'
import { checkHistory } from '../support/fault-oracle.ts'
import { FaultUpkeep, SOUND_UPKEEP, type UpkeepBuild } from '../support/fault-upkeep.ts'
import { FastClock, Process, Witness } from '../support/fault-world.ts'
import { random } from '../support/random.ts'
import { StormStore } from '../support/storm-store.ts'
import type { Campaign, Tally } from './campaign.ts'

/** Journals are not what fails here: in memory they do not wait for what else the machine's disk does. */
const DISK = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
const TEN_MINUTES = 600_000
/** More than segments are merged in. */
const LONG_MS = 330_000
const UPKEEP = 1_000_000
const LANES = 4
/** Of a lane in one weather, and the longest pause between two of them: they last for several seals. */
const WRITES = 14
const PAUSE_MS = 3000

/** What stands between the engine and the weather; a broken one must be found out. */
export type Wrap = (storm: ObjectStore, clock: Clock, next: () => number) => ObjectStore

/** As in production, or bare: then every fault reaches the engine itself. */
const sound: Wrap = (storm, clock, next) =>
  next() < 0.5 ? storm : withRetry(storm, { clock, random: next, attempts: 3 + Math.floor(next() * 3) })

export const faults: Campaign = { name: 'faults', seeds: 300, run: (seed, tally) => faultScenario(seed, tally) }

/**
 * Two processes write one database and one store in bad weather, and merge, prune and make snapshots meanwhile; then the weather is fair, and everything that they
 * were told must be in the history exactly once, with its bytes. The seed makes the weather and the work; who comes
 * first is for the machine to say, as the journals are real files.
 */
export async function faultScenario(
  seed: number,
  tally: Tally,
  wrap: Wrap = sound,
  build: UpkeepBuild = SOUND_UPKEEP,
): Promise<void> {
  const next = random(seed)
  const home = mkdtempSync(join(DISK, 'faults-'))
  const objects = new MemoryStore()
  const recent: string[] = []
  const witness = new Witness()
  const upkeep = new FaultUpkeep(build, witness, tally)
  const sky = (): StormStore => new StormStore(objects, random(next() * 2 ** 32), tally, recent)
  const mode = seed % 3
  const limits = { limitBytes: mode === 0 ? 1e9 : 20_000, whenFull: mode === 2 ? 'shed' : 'refuse' } as const
  const shared = { home, witness, tally, next, sky, ...limits }
  const processes = ['a', 'b'].map(
    (name) =>
      new Process({
        ...shared,
        name,
        ack: next() < 0.8 ? 'journal' : 'memory',
        wrap: (storm, clock) => wrap(storm, clock, next),
      }),
  )
  try {
    for (const { storm } of processes) storm.rate = next() < 0.3 ? 20 : 0
    for (const process of processes) await process.start()
    for (const phase of phasesOf(seed)) {
      await weatherAndWork(processes, phase, next, { tally, upkeep })
      await checkpoint(witness, phase.isLong)
    }
    for (const { storm } of processes) Object.assign(storm, { rate: 0, isGone: false })
    for (const process of processes) await process.settle()
    // In fair weather, so that there is something to be wrong.
    await upkeep.merge(processes[1])
    if (seed % 2 === 0) await upkeep.snapshot(processes[1])
    if (seed % 4 !== 1) await upkeep.prune(processes[1])
    for (const process of processes) await process.close()
    for (const process of processes) await process.settle()
    await checkHistory(objects, witness, tally, limits.whenFull === 'shed')
    await readInStorm(sky(), witness, tally)
  } finally {
    for (const process of processes) process.abandon()
    rmSync(home, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** What happens in one weather, but for when. */
interface Phase {
  readonly isGone: boolean
  readonly crashes: boolean
  readonly snapshots: boolean
  readonly snapshotsAfter: boolean
  readonly reopens: boolean
  readonly merges: boolean
  readonly prunes: boolean
  /** Whether minutes pass behind it, so that what was written in it can be merged. */
  readonly isLong: boolean
}

/** Drawn apart from the rest: the seed alone decides on them, however fast the machine comes to the next draw. */
function phasesOf(seed: number): Phase[] {
  const next = random(seed + 0x9e3779b9)
  const upkeep = random(seed + UPKEEP)
  return Array.from({ length: 2 + Math.floor(next() * 3) }, () => ({
    isGone: next() < 0.35,
    crashes: next() < 0.21,
    snapshots: next() < 0.5,
    snapshotsAfter: next() < 0.3,
    reopens: next() < 0.3,
    merges: upkeep() < 0.6,
    prunes: upkeep() < 0.4,
    isLong: upkeep() < 0.7,
  }))
}

async function weatherAndWork(
  processes: readonly Process[],
  { isGone, crashes, snapshots, snapshotsAfter, reopens, merges, prunes }: Phase,
  next: () => number,
  { tally, upkeep }: { readonly tally: Tally; readonly upkeep: FaultUpkeep },
): Promise<void> {
  const clock = new FastClock()
  const begun = clock.now()
  for (const process of processes) Object.assign(process.storm, { rate: next() < 0.25 ? 0 : 5 + next() * 45, isGone })
  const work = processes.flatMap((process) =>
    Array.from({ length: LANES }, async (_, lane) => {
      for (let i = 0; i < WRITES; i++) {
        await process.write(lane)
        await clock.sleep(next() * PAUSE_MS)
      }
    }),
  )
  for (const one of work) one.catch(() => {}) // thrown where it is awaited, below, unless a crash fails before
  const [first] = processes
  if (first?.canCrash === true && crashes) {
    await clock.sleep(next() * 30_000)
    await first.crash()
  }
  // The second process neither crashes nor ends before the last weather: it makes snapshots while both write.
  const second = processes[1]
  const underWay = [
    ...(snapshots ? [upkeep.snapshot(second)] : []),
    ...(merges ? [upkeep.merge(second)] : []),
    ...(prunes ? [upkeep.prune(second)] : []),
  ]
  for (const one of underWay) one.catch(() => {})
  await Promise.all([...work, ...underWay])
  if (snapshotsAfter) await upkeep.snapshot(first)
  if (!isGone) return
  tally.add('gone for ten minutes')
  await clock.sleep(Math.max(0, begun + TEN_MINUTES - clock.now()))
  for (const { storm } of processes) storm.isGone = false
  if (first !== undefined && reopens) await first.reopen()
}

/** Nobody writes: the state now is what a restore of this moment must give. */
async function checkpoint(witness: Witness, isLong: boolean): Promise<void> {
  const clock = new FastClock()
  await clock.sleep(3000)
  witness.checkpoints.push({ at: Math.ceil(clock.now()), state: witness.state() })
  await clock.sleep(isLong ? LONG_MS : 3000)
}

/** A truncated or changed answer is an error, never data. */
async function readInStorm(storm: StormStore, witness: Witness, tally: Tally): Promise<void> {
  storm.rate = 8
  const clock = new FastClock()
  const live = JSON.stringify([...witness.state()].sort())
  for (let i = 0; i < 4; i++) {
    try {
      const store = i % 2 === 0 ? storm : withRetry(storm, { clock })
      const { archive } = await openReader(store, clock)
      const state = await stateAt(archive, witness.end()).finally(() => archive.close())
      const read = JSON.stringify([...state].sort())
      if (read !== live) throw new Error('a read in bad weather gave another state')
      tally.add('reads in storm that were right')
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
      tally.add('reads in storm that were refused')
    }
  }
}
