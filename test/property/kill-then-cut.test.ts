import { expect, test } from 'vitest'
import type { Clock } from '../../src/base/clock.ts'
import { ModelDatabase } from '../support/model-database.ts'
import { random } from '../support/random.ts'
import { check, initialItems, Workload } from '../support/simulated-life.ts'
import { SimulatedProcess, type World } from '../support/simulated-process.ts'
import { SimulatedTree } from '../support/simulated-tree.ts'
import { Truth } from '../support/truth.ts'

test('a journal lets go of nothing on the strength of a timeline that a killed process left unsynced', {
  timeout: 60_000,
}, async () => {
  let both = 0
  for (let seed = 1; seed <= 2; seed++) {
    for (let killAt = 6; killAt < 26; killAt++) {
      for (const cutAt of [2, 3]) if (await live(seed, killAt, cutAt)) both++
    }
  }
  expect(both).toBeGreaterThan(30)
})

/** Kills a process at its nth sync of a directory of the store, cuts the power in the next opening, and checks. */
async function live(seed: number, killAt: number, cutAt: number): Promise<boolean> {
  const next = random(seed)
  const initial = initialItems(next)
  const database = new ModelDatabase()
  for (const { item, image } of initial) database.put(item, image)
  const world: World = {
    pass: () => {},
    database,
    truth: new Truth(initial),
    clock: steadyClock(),
    broken: {},
    storm: null,
  }
  const workload = new Workload(next, world)
  const first = new SimulatedTree()
  const process = await open(first, world)
  first.arm({ place: 'store directory sync', nth: killAt })
  const killed = await ends(first, () => workload.bursts(process, 3))
  const second = first.afterKill()
  second.arm({ place: 'journal sync', nth: cutAt })
  const cut = await ends(second, () => open(second, world))
  const third = second.afterPowerCut(seed * 77 + killAt)
  await check(await open(third, world), world, next)
  return killed && cut
}

async function open(tree: SimulatedTree, world: World): Promise<SimulatedProcess> {
  const process = await SimulatedProcess.open(tree, world)
  await process.recover(async () => {})
  return process
}

/** Whether the tree went off meanwhile; it is off in any case, and nothing goes on in it. */
async function ends(tree: SimulatedTree, act: () => Promise<unknown>): Promise<boolean> {
  const early = await act().then(
    () => false,
    (error: unknown) => {
      if (!tree.isOff) throw error
      return true
    },
  )
  tree.turnOff()
  for (let turn = 0; turn < 12; turn++) await new Promise((resolve) => setImmediate(resolve))
  return early
}

function steadyClock(): Clock {
  let now = 1_760_000_000_000
  return { now: () => ++now, sleep: () => Promise.resolve(), idle: () => new Promise(() => {}) }
}
