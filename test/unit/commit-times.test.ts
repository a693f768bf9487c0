import { expect, test } from 'vitest'
import { CommitTimes } from '../../src/capture/commit-times.ts'

/** A disk that needs so long for a commit, and an application that leaves the event loop idle meanwhile for so long. */
class World {
  blockingMs = 0.2
  idleMs = 0
  readonly #times: CommitTimes
  #now = 0
  #idle = 0

  constructor() {
    this.#times = new CommitTimes({ now: () => this.#now, idle: () => this.#idle })
  }

  /** How many of so many commits blocked. */
  async commits(count: number, bytes = 1000): Promise<number> {
    let blocked = 0
    for (let i = 0; i < count; i++) {
      await this.#times.run(
        bytes,
        () => {
          blocked++
          this.#now += this.blockingMs
        },
        async () => {
          this.#idle += this.idleMs
        },
      )
    }
    return blocked
  }
}

test('commits block where the loop would have nothing to do for longer, and not where the application needs it', async () => {
  const idle = new World()
  idle.idleMs = 0.5
  expect(await idle.commits(10_000)).toBeGreaterThan(9_500)
  expect(await idle.commits(100, 1024 * 1024)).toBe(0)

  const busy = new World()
  busy.idleMs = 0.1
  expect(await busy.commits(10_000)).toBeLessThan(100)
})

test('it is measured again from time to time: an application that gets busy is noticed, and one that gets idle', async () => {
  const world = new World()
  world.idleMs = 0.5
  await world.commits(1000)
  world.idleMs = 0
  expect(await world.commits(10_000)).toBeLessThan(700)
  world.idleMs = 0.5
  await world.commits(20_000)
  expect(await world.commits(1000)).toBeGreaterThan(900)
})

test('no commit blocks where the disk is slow, and one that stalls ends blocking at once', async () => {
  const slow = new World()
  Object.assign(slow, { idleMs: 20, blockingMs: 2 })
  expect(await slow.commits(10_000)).toBeLessThan(100)

  const stalling = new World()
  stalling.idleMs = 0.5
  await stalling.commits(100)
  stalling.blockingMs = 50
  expect(await stalling.commits(400)).toBe(1)
})
