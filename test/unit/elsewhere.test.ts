import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import type { Image } from '../../src/model/event.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { liveState, openRig, type Rig, stateAt } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

const home = mkdtempSync(join(tmpdir(), 'elsewhere-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

const item = { kind: 'record', resource: 'r', id: 'x' } as const
const SECONDS_APART_MS = 20_000

/** The clock of a machine, so far off; time between two looks goes by when the test says so. */
class Off implements Clock {
  readonly now: () => number
  readonly sleep = systemClock.sleep
  #waiting: (() => void)[] = []

  constructor(ms: number) {
    this.now = () => systemClock.now() + ms
  }

  idle(_: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve()
      signal.addEventListener('abort', () => resolve(), { once: true })
      this.#waiting.push(resolve)
    })
  }

  pass(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

/** Two machines: each its own journal directory, which the other cannot reach, and one database. */
async function twoMachines(name: string): Promise<{
  readonly rigs: readonly [Rig, Rig]
  readonly databases: readonly [ModelDatabase, ModelDatabase]
  readonly clock: Off
}> {
  const store = new MemoryStore()
  const first = new ModelDatabase()
  const second = new ModelDatabase('model://test', first.items_)
  const seal = { ageMs: 600_000 }
  const clock = new Off(SECONDS_APART_MS)
  const ahead = { store, database: first, directory: join(home, name, 'a'), clock, seal }
  const a = await openRig({ ...ahead, ack: 'memory' })
  await a.session.complete(null)
  const b = await openRig({
    store,
    database: second,
    directory: join(home, name, 'b'),
    clock: new Off(0),
    ack: 'memory',
    seal,
  })
  await b.session.complete(null)
  await a.timeline.refresh()
  return { rigs: [a, b], databases: [first, second], clock }
}

test('a write that another machine made later, by a clock that is behind, is what the history ends with', async () => {
  const { rigs, databases, clock } = await twoMachines('later')
  const [a, b] = rigs
  const [ahead, behind] = databases
  const value = (n: number): Image => recordImage({ n })
  await ahead.write(item, value(1))
  await behind.write(item, value(2)) // stamped seconds before the other one
  await a.session.complete(null)
  await b.session.complete(null)
  // The other one goes on, behind what it has read of this one.
  await behind.write({ ...item, id: 'y' }, value(3))
  await b.session.complete(null)
  clock.pass()
  const told = async (): Promise<Map<string, string>> => {
    await a.session.complete(null)
    await b.session.complete(b.session.mark())
    return stateAt(b.archive, 'latest')
  }
  await expect.poll(told).toEqual(liveState(behind))
  for (const { session, archive } of rigs) {
    await session.close()
    archive.close()
  }
})
