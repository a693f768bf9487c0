import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { TidemarkError } from '../../src/base/errors.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import type { Body, PutOptions } from '../../src/store/object-store.ts'
import { liveState, openReader, openRig, type Rig, stateAt, verify } from '../support/capture-rig.ts'
import { onlySealed } from '../support/catalogue.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

let home = ''
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'once-'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

/** Nothing is sealed by itself: the test says when. */
const clock: Clock = { ...systemClock, idle: (_, signal) => systemClock.idle(2 ** 30, signal) }

/** A store that takes no generation while `isDenied`, and counts the segments that are sent to it. */
class DenyingStore extends MemoryStore {
  isDenied = false
  /** What befalls the next segment: it is stored and no answer comes, or it is not stored. */
  next: 'unanswered' | 'lost' | null = null
  sent: string[] = []

  override async put(key: string, body: Body, options?: PutOptions): Promise<void> {
    if (this.isDenied && key.startsWith('timeline/')) throw away(key)
    if (!key.startsWith('segment/')) return super.put(key, body, options)
    this.sent.push(key)
    const { next } = this
    this.next = null
    if (next !== 'lost') await super.put(key, body, options)
    if (next !== null) throw away(key)
  }
}

function away(key: string): TidemarkError {
  return new TidemarkError('STORE_UNAVAILABLE', `${key}: no answer came.`, { hint: 'Try again.' })
}

async function capture(store: DenyingStore, database: ModelDatabase): Promise<Rig> {
  const rig = await openRig({ store, database, directory: join(home, 'journal'), clock })
  await rig.session.complete(null)
  store.sent = []
  return rig
}

function write(database: ModelDatabase, id: string): Promise<void> {
  return database.write({ kind: 'record', resource: 'r', id }, recordImage({ id }))
}

async function check(store: DenyingStore, database: ModelDatabase): Promise<void> {
  const { archive, timeline } = await openReader(store, clock)
  const segments = onlySealed(timeline.timeline.segments.tail)
  expect(segments.map(({ firstSequence }) => firstSequence)).toEqual(
    segments.map((_, index) => (segments[index - 1]?.lastSequence ?? 0) + 1),
  )
  expect(await stateAt(archive, 'latest')).toEqual(liveState(database))
  expect((await verify(archive)).damage).toEqual([])
}

test('a segment is uploaded once, however often the commit behind it fails', async () => {
  const store = new DenyingStore()
  const database = new ModelDatabase()
  const { session, timeline } = await capture(store, database)
  await write(database, 'a')
  store.isDenied = true
  for (let attempt = 0; attempt < 5; attempt++) {
    await expect(session.complete(null)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    await write(database, `b${attempt}`)
  }
  expect(store.sent).toHaveLength(1)
  store.isDenied = false
  await session.complete(null)
  expect(session.pending.events).toBe(0)
  // The one from before, and one with what was written while the timeline could not be.
  expect(timeline.timeline.segments.tail.map(({ key }) => key)).toEqual(store.sent)
  expect(timeline.timeline.segments.tail.map(({ events }) => events)).toEqual([1, 5])
  await session.close()
  await check(store, database)
})

test('a segment whose upload was not answered is used where it is there, and made anew where it is not', async () => {
  const store = new DenyingStore()
  const database = new ModelDatabase()
  const { session, timeline } = await capture(store, database)
  await write(database, 'a')
  store.next = 'unanswered'
  await expect(session.complete(null)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  await session.complete(null)
  expect(store.sent).toHaveLength(1)
  await write(database, 'b')
  store.next = 'lost'
  await expect(session.complete(null)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  await session.complete(null)
  expect(store.sent).toHaveLength(3)
  expect(timeline.timeline.segments.tail.map(({ key }) => key)).toEqual([store.sent[0], store.sent[2]])
  await session.close()
  await check(store, database)
})
