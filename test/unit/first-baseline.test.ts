import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import type { Item } from '../../src/model/event.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { liveState, openReader, openRig, stateAt } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

/** Nothing is sealed by itself: the test says when. */
const clock: Clock = { ...systemClock, idle: (_, signal) => systemClock.idle(2 ** 30, signal) }
const home = mkdtempSync(join(tmpdir(), 'first-baseline-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

/** A database whose reading as a whole waits, before it begins or when it has found what there is. */
class SlowDatabase extends ModelDatabase {
  before: Promise<void> = Promise.resolve()
  after: Promise<void> = Promise.resolve()

  override async *items(resources?: readonly string[]): AsyncGenerator<readonly Item[]> {
    await this.before
    yield* super.items(resources)
    await this.after
  }
}

test('nothing is reachable while another process may hold events from before the end of the first baseline', async () => {
  const store = new MemoryStore()
  const [never, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const others = new SlowDatabase()
  others.before = never.promise
  const own = new SlowDatabase('model://test', others.items_)
  own.after = held.promise
  const a = { kind: 'record', resource: 'r', id: 'a' } as const
  const writer = await openRig({ store, database: others, directory: join(home, 'writer'), clock })
  await others.write(a, recordImage({ n: 1 }))

  const reader = await openRig({ store, database: own, directory: join(home, 'reader'), clock })
  const baseline = reader.session.baseline()
  await new Promise((done) => setTimeout(done, 20))
  await others.write(a, null)
  held.resolve()
  await baseline
  await reader.session.complete(reader.session.mark())

  // Somebody who can ask nobody, as on another host.
  const { archive } = await openReader(store, clock)
  await expect(archive.reach('latest')).rejects.toMatchObject({
    code: 'MOMENT_UNREACHABLE',
    message: expect.stringContaining(`stream ${writer.session.stream}`),
  })
  // Its own baseline, which waits, is not waited for.
  await writer.session.complete(writer.session.mark(), 'begun')
  expect(await stateAt(archive, 'latest')).toEqual(liveState(others))
  expect(liveState(others).size).toBe(0)

  never.resolve()
  for (const one of [writer, reader]) {
    await one.session.close()
    one.archive.close()
  }
  archive.close()
})
