import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createLogger } from '../../src/base/log.ts'
import { conditionOf } from '../../src/engine/condition.ts'
import { endStream } from '../../src/engine/end-stream.ts'
import { firstUlidAt, MIN_ULID } from '../../src/model/ulid.ts'
import { reachOf } from '../../src/restore/reach.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { openReader } from '../support/capture-rig.ts'
import { onlySealed } from '../support/catalogue.ts'
import { random } from '../support/random.ts'
import { entryOf, World } from '../support/reach-world.ts'

const START_MS = Date.UTC(2026, 10, 21)
const DAY = 86_400_000
let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'streams-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

/** The last moment that somebody is told who can ask nobody, as on another host. */
async function latest({ store }: World): Promise<string> {
  return reachOf((await TimelineLog.open(store)).timeline).latest ?? MIN_ULID
}

test('what was reachable while a stream was closed stays so when it is opened again and nothing happens', async () => {
  const world = new World(directory, START_MS)
  await world.fill()
  const first = await world.start('journal')
  await world.write(first, 0.5, false)
  await world.stop(first)
  world.pass(DAY)
  // Who asks nobody promises nothing that whoever starts next could break.
  expect((await latest(world)) < firstUlidAt(world.now)).toBe(true)
  const { archive } = await openReader(world.store, world.clock)
  await archive.reach(world.now)
  const told = await latest(world)
  expect(told > firstUlidAt(world.now)).toBe(true)
  world.pass(DAY)
  const again = await world.start('journal')
  expect(again.stream).toBe(first.stream)
  expect((await latest(world)) >= firstUlidAt(world.now)).toBe(true)
  expect((await latest(world)) >= told).toBe(true)
  expect(await latest(world)).toBe(entryOf((await TimelineLog.open(world.store)).timeline, again.stream).sealedThrough)
  await world.close()
})

test('the last reachable moment never goes back, whoever opens, closes, writes, is idle or is killed', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const dice = random(seed)
    const world = new World(join(directory, String(seed)), START_MS)
    await world.fill()
    await world.start('journal')
    let told = await latest(world)
    for (let step = 0; step < 20; step++) {
      world.pass(Math.floor(dice() * 3) * DAY)
      const seen = [told, await latest(world)]
      // To open a stream takes its time.
      world.pass(1)
      const writer = world.writers[Math.floor(dice() * world.writers.length)]
      const kind = dice()
      let what = 'idle'
      if (writer === undefined || (kind < 0.25 && world.writers.length < 3)) {
        what = 'start'
        await world.start(dice() < 0.7 ? 'journal' : 'store')
      } else if (kind < 0.5) {
        what = 'stop'
        await world.stop(writer)
      } else if (kind < 0.65) {
        what = 'kill'
        await world.kill(writer, 'killed')
      } else if (kind < 0.9) {
        what = 'write'
        await world.write(writer, dice(), false)
        if (dice() < 0.5) await writer.rig.session.complete(null)
      }
      told = await latest(world)
      for (const before of seen) expect(told >= before, `seed ${seed}, step ${step}, ${what}`).toBe(true)
    }
    await world.close()
  }
})

test('a start opens one stream, and leaves alone those that are closed', async () => {
  const world = new World(directory, START_MS)
  await world.fill()
  for (let i = 0; i < 4; i++) await world.start('journal')
  for (const writer of [...world.writers]) await world.stop(writer)
  expect(readdirSync(directory)).toHaveLength(4)
  const log = await TimelineLog.open(world.store)
  const closed = log.timeline
  const one = await world.start('journal')
  const opened = await log.refresh()
  expect(opened.generation).toBe(closed.generation + 1)
  expect(opened.streams.filter(({ state }) => state === 'open').map(({ id }) => id)).toEqual([one.stream])
  for (const before of closed.streams) if (before.id !== one.stream) expect(entryOf(opened, before.id)).toEqual(before)
  // The next process has one of the others to go on with.
  const two = await world.start('journal')
  expect(closed.streams.map(({ id }) => id)).toContain(two.stream)
  expect(readdirSync(directory)).toHaveLength(4)
  await world.close()
})

test.runIf(existsSync('/proc/self/stat'))('a process is not taken for the dead one that had its number', async () => {
  for (const [ack, before] of [
    ['store', { started: '1' }],
    ['memory', { started: '1' }],
  ] as const) {
    const world = new World(join(directory, `${ack} ${Object.keys(before)}`), START_MS)
    await world.fill()
    const first = await world.start(ack)
    world.pass(1)
    await world.write(first, 0.5, false)
    const log = await TimelineLog.open(world.store)
    const known = entryOf(log.timeline, first.stream)
    expect([known.pid, typeof known.started, typeof known.boot]).toEqual([process.pid, 'string', 'string'])
    // As in a container that was restarted, where each process is the first.
    await world.kill(first, 'killed')
    await log.refresh()
    const { door: _, ...dead } = known
    await log.commit(() => ({ putStreams: [{ ...dead, ...before }] }))
    world.pass(1)
    const second = await world.start(ack)
    const { streams, losses, segments } = await log.refresh()
    if (ack === 'store') {
      expect(second.stream).toBe(first.stream)
      expect([segments.tail.length, losses]).toEqual([1, []])
    } else {
      expect(streams.map(({ state }) => state)).toEqual(['closed', 'open'])
      expect(losses).toMatchObject([{ stream: first.stream, cause: 'crash', firstSequence: 1 }])
    }
    // That of this process itself is not.
    await expect(world.start(ack)).resolves.not.toMatchObject({ stream: second.stream })
    expect(entryOf(await log.refresh(), second.stream)).toMatchObject({ state: 'open' })
    await world.close()
  }
})

test('a stream of which nobody can tell, whose journal is here, ends without a loss; without its journal, with one', async () => {
  for (const kept of [true, false]) {
    const journals = join(directory, String(kept))
    const world = new World(journals, START_MS)
    await world.fill()
    const first = await world.start('journal')
    world.pass(1)
    await world.write(first, 0.5, false)
    await world.kill(first, kept ? 'killed' : 'killed, disk lost')
    const timeline = await TimelineLog.open(world.store)
    const entry = { ...entryOf(timeline.timeline, first.stream), boot: 'another', pid: 1 }
    await timeline.commit(() => ({ putStreams: [entry] }))
    const lock = { pid: 1, started: '1', boot: null, namespace: null, door: null, released: false }
    if (kept) writeFileSync(join(journals, first.stream, 'lock.00000001'), JSON.stringify(lock))
    world.pass(1)
    // Its own start may not go on with what may be alive on another host.
    const second = await world.start('journal')
    expect(second.stream).not.toBe(first.stream)

    const { store, clock } = world
    const condition = await conditionOf(entry, { store, clock, own: null })
    expect(condition).toMatchObject({ state: 'stalled', pending: kept ? { events: 1 } : null })
    expect(condition.why).toContain(kept ? 'can be read here' : 'its journal is at')
    const log = createLogger('silent')
    const seams = { store, timeline, recordKeys: null, clock, log, file: { id: basename(journals) } }
    const signed = { stream: first.stream, reason: 'another container', name: 'ann' }
    const loss = await endStream(seams, signed)
    const after = await timeline.refresh()
    expect(entryOf(after, first.stream)).toMatchObject({ state: 'closed', lastSequence: kept ? 1 : 0 })
    expect(onlySealed(after.segments.tail).filter(({ stream }) => stream === first.stream)).toHaveLength(kept ? 1 : 0)
    if (kept) expect([loss, after.losses]).toEqual([null, []])
    else expect(loss).toMatchObject({ stream: first.stream, firstSequence: 1, cause: 'ended' })
    await world.close()
  }
})

test('the journals of another store are not touched, wherever a forged path leads', async () => {
  const world = new World(directory, START_MS)
  await world.fill()
  const first = await world.start('journal')
  world.pass(1)
  await world.write(first, 0.5, false)
  await world.kill(first, 'killed')
  const timeline = await TimelineLog.open(world.store)
  const { store, clock } = world
  const seams = { store, timeline, recordKeys: null, clock, log: createLogger('silent'), file: { id: 'another' } }
  const before = readdirSync(join(directory, first.stream))
  expect(await endStream(seams, { stream: first.stream, reason: 'gone', name: 'ann' })).toMatchObject({
    cause: 'ended',
  })
  expect(readdirSync(join(directory, first.stream))).toEqual(before)
  await world.close()
})
