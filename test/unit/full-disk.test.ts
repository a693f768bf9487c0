import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { TidemarkError } from '../../src/base/errors.ts'
import type { Image } from '../../src/model/event.ts'
import { gapsOf } from '../../src/restore/gaps.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { copyJournals, liveState, openReader, openRig, type Rig, stateAt, verify } from '../support/capture-rig.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'
import { FaultyStore } from '../support/stores.ts'

/** A database that ends with its process, so that nothing is journalled before a write. */
class VolatileDatabase extends ModelDatabase {
  override readonly volatile = true
}

/** Waits of the sealer, and of who waits for room, pass fifty times faster. */
const clock: Clock = { ...systemClock, idle: (ms, signal) => systemClock.idle(ms / 50, signal) }
const DISK_BYTES = 4 * 1024 * 1024
const databases = [
  ['a database on a disk', () => new ModelDatabase()],
  ['a database in memory', () => new VolatileDatabase()],
] as const
const gone = (): 'before' => 'before'
const well = (): null => null

const probe = mkdtempSync(join(tmpdir(), 'mount-'))
const canMount = mount(probe)
if (canMount) unmount(probe)
rmSync(probe, { recursive: true })

function mount(place: string): boolean {
  return spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', place]).status === 0
}

function unmount(place: string): void {
  spawnSync('umount', ['-l', place])
}

let home = ''
let disk = ''
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'full-'))
  disk = join(home, 'disk')
  mkdirSync(disk)
  if (canMount) mount(disk)
})
afterEach(() => {
  unmount(disk)
  rmSync(home, { recursive: true, force: true })
})

/** Another program takes all that is free but this many bytes. */
function fill(but = 0): void {
  const { bavail, bsize } = statfsSync(disk)
  writeFileSync(join(disk, 'other'), Buffer.alloc(Math.max(0, bavail * bsize - but)))
}

/** Tidies up. */
function free(): void {
  rmSync(join(disk, 'other'), { force: true })
}

async function open(
  database: ModelDatabase,
  store: FaultyStore,
  whenFull: 'refuse' | 'shed',
  directory = join(disk, 'journal'),
): Promise<Rig> {
  // Closing takes as long as it takes: its waits pass faster, the machine does not.
  const seal = { ageMs: 500, closeMs: 10_000_000 }
  const rig = await openRig({ store, database, directory, clock, seal, whenFull })
  await rig.session.complete(null)
  return rig
}

function imageOf(n: number, bytes: number): Image {
  return recordImage({ n, text: 'x'.repeat(bytes) })
}

async function write(database: ModelDatabase, id: string, n: number, bytes = 1500): Promise<TidemarkError | null> {
  return database.write({ kind: 'record', resource: 'r', id }, imageOf(n, bytes)).then(
    () => null,
    (error: unknown) => {
      if (error instanceof TidemarkError) return error
      throw error
    },
  )
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 2000; i++) {
    if (condition()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error('waited in vain')
}

/** Every item that the database has is in the history, and nothing else. */
async function expectWhole(store: MemoryStore, database: ModelDatabase): Promise<void> {
  const reader = await openReader(store, clock)
  expect(await stateAt(reader.archive, 'latest')).toEqual(liveState(database))
  expect((await verify(reader.archive)).damage).toEqual([])
  reader.archive.close()
}

describe.skipIf(!canMount).each(databases)('the disk of the journal is full, %s', (_name, make) => {
  test('writes are refused before they touch the database, what was acknowledged is sealed, and room is seen', async () => {
    const [objects, database] = [new MemoryStore(), make()]
    const rig = await open(database, new FaultyStore(objects), 'refuse')
    await write(database, 'first', 0)
    fill()
    let refusal: TidemarkError | null = null
    let count = 0
    for (; refusal === null; count++) refusal = await write(database, `n${count}`, count)
    expect(refusal).toMatchObject({ code: 'JOURNAL_FULL', hint: expect.stringContaining('by themselves') })
    expect(refusal.message).toContain('nothing was changed')
    expect([database.items_.size, rig.session.pending.state]).toEqual([count, 'refusing'])
    expect((await write(database, 'again', 0))?.code).toBe('JOURNAL_FULL')
    await rig.session.flush()
    expect(rig.session.pending.events).toBe(0)
    expect(rig.timeline.timeline.segments.tail.reduce((sum, { events }) => sum + events, 0)).toBe(count)
    free()
    await until(() => rig.session.pending.state === 'recording')
    expect(await write(database, 'after', 1)).toBeNull()
    await rig.session.close()
    await expectWhole(objects, database)
  })

  test('shed: writes are done and not refused, as a gap that a baseline ends', async () => {
    const [objects, database] = [new MemoryStore(), make()]
    const rig = await open(database, new FaultyStore(objects), 'shed')
    await write(database, 'first', 0)
    fill()
    for (let n = 0; rig.session.pending.state !== 'shedding'; n++) expect(await write(database, `n${n}`, n)).toBeNull()
    for (let n = 0; n < 20; n++) expect(await write(database, `shed${n}`, n)).toBeNull()
    expect(rig.session.pending.shedWrites).toBe(21)
    free()
    await until(() => rig.session.pending.state === 'recording')
    await until(() => rig.timeline.timeline.snapshots.length === 2)
    expect(await write(database, 'after', 1)).toBeNull()
    await rig.session.complete(null)
    const gaps = gapsOf(rig.timeline.timeline)
    expect(gaps.map(({ firstSequence, lastSequence }) => Number(lastSequence) - firstSequence)).toEqual([20])
    expect(await stateAt(rig.archive, 'latest')).toEqual(liveState(database))
    await rig.session.close()
  })

  test('large writes beside each other, while the store is gone too: each is done and acknowledged, or refused and not done', async () => {
    const [objects, database] = [new MemoryStore(), make()]
    const store = new FaultyStore(objects)
    const rig = await open(database, store, 'refuse')
    store.script = gone
    fill(2_000_000)
    const outcomes: (TidemarkError | null)[] = []
    let isOver = false
    const writer = async (name: number): Promise<void> => {
      for (let n = 0; !isOver; n++) {
        const error = await write(database, `${name} ${n}`, n, 5_000 + ((name * 7919 + n * 104_729) % 120_000))
        outcomes.push(error)
      }
    }
    const writers = Promise.all(Array.from({ length: 8 }, (_, name) => writer(name)))
    // Some may be done already, and wait for room: what is sealed makes it, and they go on.
    const isShort = (): boolean => rig.session.pending.state === 'refusing' || outcomes.some((error) => error !== null)
    await until(isShort)
    store.script = well
    const count = outcomes.length
    await until(() => outcomes.filter((error) => error === null).length > count + 20)
    isOver = true
    free()
    await writers
    const refused = outcomes.filter((error) => error !== null)
    expect(refused.filter(({ code }) => code !== 'JOURNAL_FULL')).toEqual([])
    expect(database.items_.size).toBe(outcomes.length - refused.length)
    await until(() => rig.session.pending.state === 'recording')
    expect(await write(database, 'after', 1)).toBeNull()
    await rig.session.close()
    await expectWhole(objects, database)
    expect(gapsOf(rig.timeline.timeline)).toEqual([])
  })
})

test.skipIf(!canMount)('a process that is killed while its disk is full has lost nothing', async () => {
  const [objects, database] = [new MemoryStore(), new ModelDatabase()]
  const store = new FaultyStore(objects)
  await open(database, store, 'refuse')
  store.script = gone // for good: this process is never heard of again
  fill(500_000)
  const large = Array.from({ length: 8 }, (_, n) => write(database, `large ${n}`, n, 150_000))
  await Promise.race([Promise.all(large), new Promise((resolve) => setTimeout(resolve, 500))])
  copyJournals(join(disk, 'journal'), join(home, 'crashed'))
  const second = await open(database, new FaultyStore(objects), 'refuse', join(home, 'crashed'))
  expect(await write(database, 'after', 1)).toBeNull()
  await second.session.complete(null)
  expect(await stateAt(second.archive, 'latest')).toEqual(liveState(database))
  expect(gapsOf(second.timeline.timeline)).toEqual([])
  await second.session.close()
})
