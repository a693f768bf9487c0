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
  home = mkdtempSync(join(tmpdir(), 'late-'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

/** Nothing is sealed by itself: the test says when. */
const clock: Clock = { ...systemClock, idle: (_, signal) => systemClock.idle(2 ** 30, signal) }

/** A store in which `next` befalls the next put of a generation: its request arrives with the one after it, or twice. */
class LateStore extends MemoryStore {
  next: 'late' | 'twice' | null = null
  #arrives: (() => Promise<void>) | null = null
  /** Requests for a generation that found it taken. */
  taken = 0

  override async put(key: string, body: Body, options?: PutOptions): Promise<void> {
    if (!key.startsWith('timeline/')) return super.put(key, body, options)
    const { next } = this
    this.next = null
    const arrives = this.#arrives
    this.#arrives = null
    await arrives?.()
    const put = (): Promise<void> => super.put(key, body, options)
    if (next === 'late') {
      this.#arrives = put
      throw new TidemarkError('STORE_UNAVAILABLE', 'No answer came.', { hint: 'Try again.' })
    }
    if (next === 'twice') await put()
    try {
      await put()
    } catch (error) {
      this.taken++
      throw error
    }
  }
}

async function capture(store: LateStore, database: ModelDatabase): Promise<Rig> {
  const rig = await openRig({ store, database, directory: join(home, 'journal'), clock })
  await rig.session.complete(null)
  return rig
}

function write(database: ModelDatabase, id: string): Promise<void> {
  return database.write({ kind: 'record', resource: 'r', id }, recordImage({ id }))
}

async function check(store: LateStore, database: ModelDatabase, events: number): Promise<void> {
  const { archive, timeline } = await openReader(store, clock)
  const segments = onlySealed(timeline.timeline.segments.tail)
  expect(segments.map(({ firstSequence, lastSequence }) => [firstSequence, lastSequence])).toEqual(
    segments.map((_, i, all) => [(all[i - 1]?.lastSequence ?? 0) + 1, all[i]?.lastSequence]),
  )
  expect(timeline.timeline.streams.map(({ lastSequence, state }) => [lastSequence, state])).toEqual([
    [events, 'closed'],
  ])
  expect(await stateAt(archive, 'latest')).toEqual(liveState(database))
  expect((await verify(archive)).damage).toEqual([])
}

test('a commit that arrives while the next one is tried is no other process, and nothing is sealed twice', async () => {
  const store = new LateStore()
  const database = new ModelDatabase()
  const { session } = await capture(store, database)
  await write(database, 'a')
  store.next = 'late'
  await expect(session.complete(null)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  await write(database, 'b')
  await session.complete(null)
  expect(store.taken).toBe(1)
  expect(session.pending.events).toBe(0)
  await write(database, 'c')
  await session.close()
  await check(store, database, 3)
})

test('a closing that arrives late closes once', async () => {
  const store = new LateStore()
  const database = new ModelDatabase()
  const { session } = await capture(store, database)
  await write(database, 'a')
  store.next = 'late'
  await expect(session.complete(null)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  await session.close()
  await check(store, database, 1)
})

test('a commit that was sent twice on the way was made, whoever answered', async () => {
  const store = new LateStore()
  const database = new ModelDatabase()
  store.next = 'twice'
  const { session, timeline } = await capture(store, database)
  expect(store.taken).toBe(1)
  for (const id of ['a', 'b']) {
    await write(database, id)
    store.next = 'twice'
    const { generation } = timeline.timeline
    await session.complete(null)
    expect(timeline.timeline.generation).toBe(generation + 1)
  }
  expect(store.taken).toBe(3)
  await session.close()
  await check(store, database, 2)
})
