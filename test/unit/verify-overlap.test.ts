import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import type { Item } from '../../src/model/event.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { takeSnapshot } from '../../src/upkeep/snapshot.ts'
import { verifyStore } from '../../src/upkeep/verify.ts'
import { openReader, openRig, verify } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

/** Nothing is sealed by itself: the test says when. */
const clock: Clock = { ...systemClock, idle: (_, signal) => systemClock.idle(2 ** 30, signal) }

/** A database whose reading as a whole waits for `gate`. */
class SlowDatabase extends ModelDatabase {
  gate: Promise<void> = Promise.resolve()

  override async *items(resources?: readonly string[]): AsyncGenerator<readonly Item[]> {
    await this.gate
    yield* super.items(resources)
  }
}

function write(database: ModelDatabase, id: string, n: number): Promise<void> {
  return database.write({ kind: 'record', resource: 'r', id }, recordImage({ id, n }))
}

test('a snapshot that was made while another process read a baseline is no damage', async () => {
  const home = mkdtempSync(join(tmpdir(), 'overlap-'))
  const store = new MemoryStore()
  const slow = new SlowDatabase()
  const shared = new ModelDatabase('model://test', slow.items_)
  const one = await openRig({ store, database: slow, directory: join(home, 'one'), clock })
  await one.session.complete(null)
  const two = await openRig({ store, database: shared, directory: join(home, 'two'), clock })
  await two.session.complete(null)
  await write(slow, 'a', 1)
  await write(shared, 'b', 2)

  const { promise, resolve } = Promise.withResolvers<void>()
  slow.gate = promise
  const baseline = one.session.baseline()
  await write(slow, 'a', 3)
  await new Promise((done) => setTimeout(done, 5))
  await one.session.complete(one.session.mark(), 'begun')
  await two.session.complete(two.session.mark())
  const { plan } = await two.archive.reach('latest')
  const inside = await takeSnapshot(two.archive.sources, two.timeline, plan, 'model://test')
  resolve()
  const outer = await baseline
  expect([outer.ulid < inside.ulid, inside.ulid < outer.consistentFrom]).toEqual([true, true])

  for (const { session, archive } of [one, two]) {
    await session.close()
    archive.close()
  }
  const { archive } = await openReader(store, clock)
  expect((await verify(archive)).damage).toEqual([])
  // It is compared with the one before both, so what is wrong about it would be found.
  const { timeline } = await archive.refresh()
  const [first] = timeline.snapshots
  if (first === undefined) throw new Error('no baseline')
  const wrong = { ...first, ulid: inside.ulid, consistentFrom: inside.ulid }
  const snapshots = timeline.snapshots.map((entry) => (entry.ulid === inside.ulid ? wrong : entry))
  const { damage } = await verifyStore(archive.sources, { ...timeline, snapshots })
  expect(damage).toMatchObject([{ code: 'OBJECT_CORRUPT' }])
  expect(damage[0]?.message).toContain('is not what the snapshot before it and the events since give')
  archive.close()
  rmSync(home, { recursive: true, force: true })
})
