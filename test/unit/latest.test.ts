import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { ListOptions, ObjectInfo } from '../../src/store/object-store.ts'
import { openReader, openRig } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

const home = mkdtempSync(join(tmpdir(), 'latest-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

/** Listings answer when they are let, with what was there when they were asked. */
class SlowListing extends MemoryStore {
  answer: Promise<void> = Promise.resolve()

  override async *list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo> {
    const found: ObjectInfo[] = []
    for await (const one of super.list(prefix, options)) found.push(one)
    await this.answer
    yield* found
  }
}

test('latest is no later than the timeline that it comes from: a process that starts meanwhile is not covered', async () => {
  const store = new SlowListing()
  const database = new ModelDatabase()
  const options = { store, database, directory: join(home, 'journals'), clock: systemClock }
  const item = { kind: 'record', resource: 'r', id: 'a' } as const
  const first = await openRig(options)
  await database.write(item, recordImage({ n: 1 }))
  await first.session.complete(null)
  await first.session.close()

  const reader = await openReader(store, systemClock)
  const { promise, resolve } = Promise.withResolvers<void>()
  store.answer = promise
  const reaching = reader.archive.reach('latest')
  await new Promise((done) => setTimeout(done, 20))
  store.answer = Promise.resolve()
  const second = await openRig(options)
  await database.write(item, recordImage({ n: 2 }))
  resolve()
  const { bound } = await reaching
  await second.session.complete(null)
  await second.session.close()
  const { segments } = await reader.timeline.refresh()
  expect([bound.ulid, segments.tail.at(-1)?.firstUlid].toSorted()[0]).toBe(bound.ulid)
  for (const { archive } of [first, second, reader]) archive.close()
})
