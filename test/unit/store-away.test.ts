import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { liveState, openRig, stateAt } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

const home = mkdtempSync(join(tmpdir(), 'away-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

const item = { kind: 'record', resource: 'r', id: 'x' } as const

/** A store that hangs while it is away: nobody is answered. */
function hanging(store: ObjectStore, sky: { back: Promise<void>; asked: number }): ObjectStore {
  const there = async <T>(call: () => Promise<T>): Promise<T> => {
    sky.asked++
    await sky.back
    return call()
  }
  return {
    put: (...args) => there(() => store.put(...args)),
    get: (...args) => there(() => store.get(...args)),
    head: (...args) => there(() => store.head(...args)),
    list: (...args) => store.list(...args),
    delete: (...args) => there(() => store.delete(...args)),
  }
}

test('two processes that take turns at a record wait for the store in no write, also where it hangs', async () => {
  const sky = { back: Promise.resolve(), asked: 0 }
  const store = hanging(new MemoryStore(), sky)
  const database = new ModelDatabase()
  const directory = join(home, 'turns')
  const seal = { ageMs: 600_000 }
  const first = await openRig({ store, database, directory, clock: systemClock, seal })
  const other = new ModelDatabase('model://test', database.items_)
  const second = await openRig({ store, database: other, directory, clock: systemClock, seal })
  for (const { session } of [first, second]) await session.complete(null)
  await database.write(item, recordImage({ n: 0 }))
  await other.write(item, recordImage({ n: 1 }))
  const { promise, resolve } = Promise.withResolvers<void>()
  sky.back = promise
  sky.asked = 0
  for (let n = 2; n < 20; n++) await (n % 2 === 0 ? database : other).write(item, recordImage({ n }))
  expect(sky.asked).toBeLessThan(3) // the looks for others at the first event since a seal, behind the writes
  resolve()
  await first.session.complete(null)
  await second.session.complete(null)
  expect(await stateAt(first.archive, 'latest')).toEqual(liveState(database))
  for (const { session, archive } of [first, second]) {
    expect(session.findings.count.count).toBe(0)
    await session.close()
    archive.close()
  }
})
