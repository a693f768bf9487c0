import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { TidemarkError } from '../../src/base/errors.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { gapsOf } from '../../src/restore/gaps.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { copyJournals, liveState, openReader, openRig, type Rig, stateAt, verify } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'
import { FaultyStore } from '../support/stores.ts'

let home = ''
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'bound-'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

/** Waits of the sealer pass a hundred times faster. */
const clock: Clock = { ...systemClock, idle: (ms, signal) => systemClock.idle(ms / 100, signal) }
const LIMIT = 20_000
const acks = ['journal', 'memory'] as const

async function write(
  database: ModelDatabase,
  id: string,
  n: number,
  text = 'x'.repeat(400),
): Promise<TidemarkError | null> {
  const image = recordImage({ id, n, text })
  return database.write({ kind: 'record', resource: 'r', id }, image).then(
    () => null,
    (error: unknown) => {
      if (error instanceof TidemarkError) return error
      throw error
    },
  )
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (condition()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error('waited in vain')
}

async function open(
  store: FaultyStore,
  whenFull: 'refuse' | 'shed',
  { ack = 'journal' as 'journal' | 'memory', directory = 'journal', database = new ModelDatabase() } = {},
): Promise<{ rig: Rig; database: ModelDatabase }> {
  const options = { store, database, directory: join(home, directory), clock, ack, limitBytes: LIMIT, whenFull }
  // Closing takes as long as it takes: its waits pass faster, the machine does not.
  const rig = await openRig({ ...options, seal: { ageMs: 500, closeMs: 10_000_000 } })
  await rig.session.complete(null)
  return { rig, database }
}

const gone = (): 'before' => 'before'
const well = (): null => null

describe.each(acks)('a journal that is full, ack %s', (ack) => {
  test('refuse: writes are refused before the database is touched, and work again when the store is back', async () => {
    const store = new FaultyStore(new MemoryStore())
    const { rig, database } = await open(store, 'refuse', { ack })
    await write(database, 'first', 0)
    store.script = gone
    let refusal: TidemarkError | null = null
    let accepted = 0
    for (; refusal === null; accepted++) refusal = await write(database, `n${accepted}`, accepted)
    expect([refusal.code, refusal.retriable]).toEqual(['JOURNAL_FULL', false])
    expect(refusal.message).toContain('nothing was changed')
    expect(refusal.message).toMatch(/the oldest since 20\d\d-/)
    expect(refusal.hint).toContain('Bring the store back')
    const kept = accepted - 1
    expect(database.items_.size).toBe(kept + 1) // the refused one is not in the database
    const { heldBytes, state, limitBytes } = rig.session.pending
    expect([state, limitBytes, heldBytes >= LIMIT * 0.75, heldBytes < LIMIT * 0.75 + 2000]).toEqual([
      'refusing',
      LIMIT,
      true,
      true,
    ])
    expect(await database.read({ kind: 'record', resource: 'r', id: 'first' })).not.toBeNull()
    expect((await write(database, 'again', 1))?.code).toBe('JOURNAL_FULL')
    store.script = well
    await until(() => rig.session.pending.state === 'recording')
    expect(await write(database, 'after', 1)).toBeNull()
    await rig.session.complete(null)
    expect(await stateAt(rig.archive, 'latest')).toEqual(liveState(database))
    expect(rig.timeline.timeline.segments.tail.reduce((sum, { events }) => sum + events, 0)).toBe(kept + 2)
    expect(gapsOf(rig.timeline.timeline)).toEqual([])
    expect(rig.logged.filter((line) => line.includes('writes are refused'))).toHaveLength(1)
    await rig.session.close()
    expect((await verify((await openReader(store, clock)).archive)).damage).toEqual([])
  })

  test('shed: writes go on unrecorded, as a gap that everyone sees, and a baseline ends it', async () => {
    const store = new FaultyStore(new MemoryStore())
    const { rig, database } = await open(store, 'shed', { ack })
    await write(database, 'first', 0)
    const before = { at: new Date(), state: liveState(database) }
    await new Promise((resolve) => setTimeout(resolve, 5))
    store.script = gone
    let n = 0
    for (; rig.session.pending.state === 'recording'; n++) expect(await write(database, `n${n}`, n)).toBeNull()
    const recorded = n - 1 + 1 // without the one that was shed first, with 'first'
    for (let more = 0; more < 30; more++) expect(await write(database, `n${more}`, n + more)).toBeNull()
    const inside = new Date()
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(rig.session.pending).toMatchObject({ state: 'shedding', shedWrites: 31 })
    store.script = well
    await until(() => rig.session.pending.state === 'recording')
    await until(() => rig.timeline.timeline.snapshots.length === 2)
    expect(await write(database, 'after', 1)).toBeNull()
    await rig.session.complete(null)
    const gaps = gapsOf(rig.timeline.timeline)
    expect(gaps).toMatchObject([{ firstSequence: recorded + 1, lastSequence: recorded + 31, acknowledged: null }])
    expect(await stateAt(rig.archive, 'latest')).toEqual(liveState(database))
    expect(await stateAt(rig.archive, before.at)).toEqual(before.state)
    await expect(stateAt(rig.archive, inside)).rejects.toMatchObject({ code: 'HISTORY_GAP' })
    expect(rig.timeline.timeline.segments.tail.reduce((sum, { events }) => sum + events, 0)).toBe(recorded + 1)
    expect(rig.logged.filter((line) => line.includes('NOT recorded'))).toHaveLength(1)
    await rig.session.close()
    const reader = await openReader(store, clock)
    const { damage } = await verify(reader.archive)
    expect(damage).toMatchObject([{ code: 'HISTORY_GAP' }])
    expect(gapsOf(reader.timeline.timeline)).toEqual(gaps)
    expect(await stateAt(reader.archive, 'latest')).toEqual(liveState(database))
  })
})

const KIB = 1024
const limits = [16, 40, 100, 1024, 2048]

test.each(limits)(
  'limitBytes of %s KiB bounds what the journal takes of the disk, store away and back',
  async (kib) => {
    const limitBytes = kib * KIB
    const directory = join(home, 'bounded')
    const store = new FaultyStore(new MemoryStore())
    const database = new ModelDatabase()
    const rig = await openRig({ store, database, directory, clock, limitBytes, seal: { ageMs: 500 } })
    const onDisk = (): number => {
      const names = readdirSync(join(directory, rig.session.stream)).filter((name) => name.endsWith('.journal'))
      return names.reduce((sum, name) => sum + statSync(join(directory, rig.session.stream, name)).size, 0)
    }
    const large = (n: number): Promise<TidemarkError | null> =>
      write(database, `n${n % 50}`, n, 'x'.repeat(limitBytes / 100))
    let most = 0
    for (let round = 0; round < 3; round++) {
      store.script = gone
      let accepted = 0
      while ((await large(accepted)) === null) {
        accepted++
        most = Math.max(most, onDisk())
      }
      // What may wait is most of the limit.
      expect(rig.session.pending.heldBytes).toBeGreaterThan(limitBytes * 0.7)
      store.script = well
      await until(() => rig.session.pending.state === 'recording')
      await rig.session.flush()
    }
    expect(most).toBeLessThanOrEqual(limitBytes)
    await rig.session.close()
  },
)

test('a stream that is closed while writes are not recorded stays closed, and the next start makes the baseline', async () => {
  const objects = new MemoryStore()
  const store = new FaultyStore(objects)
  const { rig, database } = await open(store, 'shed')
  await write(database, 'first', 0)
  store.script = gone
  for (let n = 0; rig.session.pending.state === 'recording'; n++) await write(database, `n${n}`, n)
  store.script = well
  await rig.session.close()
  await new Promise((resolve) => setTimeout(resolve, 200))
  const { timeline } = (await openReader(objects, clock)).timeline
  expect(timeline.streams.map(({ state }) => state)).toEqual(['closed'])
  expect(timeline.snapshots).toHaveLength(1)
  await rig.session.complete(rig.session.mark()).catch(() => {})
  expect((await openReader(objects, clock)).timeline.timeline.generation).toBe(timeline.generation)

  const second = await open(new FaultyStore(objects), 'shed', { database })
  expect(second.rig.timeline.timeline.snapshots).toHaveLength(2)
  expect(await stateAt(second.rig.archive, 'latest')).toEqual(liveState(database))
  await second.rig.session.close()
})

test('a crash while writes are not recorded leaves a visible gap, and the next start makes a baseline', async () => {
  const objects = new MemoryStore()
  const store = new FaultyStore(objects)
  const { rig, database } = await open(store, 'shed')
  await write(database, 'first', 0)
  store.script = gone // for good: this process is never heard of again
  for (let n = 0; rig.session.pending.state === 'recording'; n++) await write(database, `n${n}`, n)
  await write(database, 'lost', 1)
  const inside = new Date()
  copyJournals(join(home, 'journal'), join(home, 'crashed'))
  await new Promise((resolve) => setTimeout(resolve, 5))

  const second = await open(new FaultyStore(objects), 'shed', { directory: 'crashed', database })
  expect(await write(database, 'after', 1)).toBeNull()
  await second.rig.session.complete(null)
  const gaps = gapsOf(second.rig.timeline.timeline)
  expect(gaps).toHaveLength(1)
  expect(second.rig.timeline.timeline.snapshots).toHaveLength(2)
  expect(await stateAt(second.rig.archive, 'latest')).toEqual(liveState(database))
  await expect(stateAt(second.rig.archive, inside)).rejects.toMatchObject({ code: 'HISTORY_GAP' })
  await second.rig.session.close()
  expect((await verify((await openReader(objects, clock)).archive)).damage).toHaveLength(1)
})

test('journal: a directory, or an object whose members are checked and honoured', async () => {
  const store = `file:${home}/store`
  const source = new ModelDatabase()
  for (const journal of [
    '',
    { directory: '' },
    { limitBytes: 0 },
    { limitBytes: 1.5 },
    { limitBytes: 16 * KIB - 1 },
    { whenFull: 'wait' },
    { size: 1 },
    null,
  ]) {
    const opening = Tidemark.open({ store, source, journal: journal as string })
    await expect(opening).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  }
  const tidemark = await Tidemark.capture({
    store,
    source,
    journal: { directory: join(home, 'here'), limitBytes: 50_000 },
  })
  const { pending, streams } = await tidemark.status()
  expect(pending).toMatchObject({ limitBytes: 50_000, state: 'recording', heldBytes: 0, shedWrites: 0 })
  expect(streams).toMatchObject([{ journal: { path: expect.stringContaining(join(home, 'here')) } }])
  await tidemark.close()
})
