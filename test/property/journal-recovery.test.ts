import { expect, test } from 'vitest'
import { check, History, work } from '../support/journal-history.ts'
import { PowerCut, random, SimulatedDisk } from '../support/simulated-disk.ts'

const STEPS = 10

interface Fault {
  readonly syncDoesNothing?: boolean
}

/** A stream's life: several openings, each ended by a power cut at a random point, the last one checked. */
async function live(seed: number, fault: Fault = {}): Promise<{ cuts: number; open: number; events: number }> {
  const next = random(seed)
  const history = new History()
  let files = new Map<string, Buffer>()
  let cuts = 0
  for (let round = 0; round < 3; round++) {
    const disk = new SimulatedDisk({ seed: seed + round, cutAt: Math.floor(next() ** 2 * 700), ...fault }, files)
    try {
      await work(disk, seed * 7 + round, STEPS, history)
    } catch (error) {
      if (!disk.isOff) throw error
      cuts++
    }
    files = disk.powerOff()
    // Callers that still wait are told; they must not go on into the next round.
    await new Promise((resolve) => setImmediate(resolve))
  }
  const recovered = await check(new SimulatedDisk({ seed }, files), history)
  return { cuts, open: recovered.openIntents.length, events: recovered.unsealedEvents }
}

test('after any power cut every acknowledged event is there, none half, and intents are open or settled', async () => {
  let [cuts, open, events] = [0, 0, 0]
  for (let seed = 1; seed <= 800; seed++) {
    try {
      const life = await live(seed)
      cuts += life.cuts
      open += life.open
      events += life.events
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error })
    }
  }
  // The test must have met what it is about.
  expect(cuts).toBeGreaterThan(800)
  expect(open).toBeGreaterThan(200)
  expect(events).toBeGreaterThan(800)
})

test('the same check catches a disk whose sync does nothing', async () => {
  let caught = 0
  for (let seed = 1; seed <= 50; seed++) {
    try {
      await live(seed, { syncDoesNothing: true })
    } catch (error) {
      expect(error).not.toBeInstanceOf(PowerCut)
      caught++
    }
  }
  expect(caught).toBeGreaterThan(25)
})

test('a second crash while a torn end is being cut changes nothing', async () => {
  for (let seed = 1; seed <= 200; seed++) {
    const history = new History()
    const disk = new SimulatedDisk({ seed, cutAt: 60 + (seed % 150) })
    await work(disk, seed, STEPS, history).catch(() => undefined)
    let files = disk.powerOff()
    await new Promise((resolve) => setImmediate(resolve))
    for (let cutAt = 0; cutAt < 12; cutAt += 3) {
      const again = new SimulatedDisk({ seed: seed + cutAt, cutAt }, files)
      await check(again, history).catch((error: unknown) => {
        if (!again.isOff) throw error
      })
      if (!again.isOff) break
      files = again.powerOff()
    }
    await check(new SimulatedDisk({ seed }, files), history)
  }
})
