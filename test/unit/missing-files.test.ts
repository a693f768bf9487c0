import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createLogger } from '../../src/base/log.ts'
import { endStream } from '../../src/engine/end-stream.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { liveState, openReader, stateAt } from '../support/capture-rig.ts'
import { recordImage } from '../support/model-database.ts'
import { World } from '../support/reach-world.ts'

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'missing-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const TEXT = 'x'.repeat(150_000)
const WRITES = 40

/** Which of the files of a journal that a killed process left is taken away; null: all. */
const cases: readonly (readonly [string, (files: readonly string[]) => readonly string[]])[] = [
  ['the first', ([first = '']) => [first]],
  ['one in the middle', ([, second = '']) => [second]],
  ['the last, before the next is made', (files) => files.slice(2)],
  ['the last, with the one made ahead behind it', ([, , third = '']) => [third]],
  ['all of them', (files) => files],
]

test.each(cases)('a journal file that is missing is a loss that is told once and blocks: %s', async (_, chosen) => {
  const world = new World(directory, Date.UTC(2026, 10, 21))
  await world.fill()
  const first = await world.start('journal')
  for (let i = 0; i < WRITES; i++) {
    world.pass(10)
    await first.database.write({ kind: 'record', resource: 'large', id: `l${i}` }, recordImage({ i, text: TEXT }))
  }
  const during = world.now
  await world.kill(first, 'killed')
  const journal = join(directory, first.stream)
  const files = readdirSync(journal)
    .filter((name) => name.endsWith('.journal'))
    .sort()
  expect(files.length).toBeGreaterThan(3)
  for (const name of chosen(files)) rmSync(join(journal, name))

  world.pass(10)
  const second = await world.start('journal')
  await second.rig.session.complete(null)
  const { timeline, archive } = await openReader(world.store, world.clock)
  const told = timeline.timeline.losses
  expect(told).toMatchObject([{ stream: first.stream, cause: 'missing', by: null }])
  expect(told[0]?.reason).toContain('missing')
  // What was in it may be the last thing before that, and nothing behind it is promised.
  await expect(stateAt(archive, new Date(during))).rejects.toMatchObject({ code: 'HISTORY_GAP' })
  // What is in the other files is in the history.
  const events = timeline.timeline.segments.tail.reduce((sum, segment) => sum + segment.events, 0)
  expect(events).toBeLessThan(WRITES)
  if (chosen(files).length < files.length) expect(events).toBeGreaterThan(0)
  // The capture goes on, and the baseline of this start makes what comes now reachable.
  await second.database.write({ kind: 'record', resource: 'large', id: 'after' }, recordImage({ after: true }))
  await second.rig.session.complete(null)
  expect(await stateAt((await openReader(world.store, world.clock)).archive, 'latest')).toEqual(
    liveState(second.database),
  )

  await world.kill(second, 'killed')
  world.pass(10)
  await world.start('journal')
  expect((await TimelineLog.open(world.store)).timeline.losses).toEqual(told)
  expect(told[0]?.after.localeCompare(firstUlidAt(world.now))).toBe(-1)
  await world.close()
})

test('a journal that is damaged keeps its application out only until its stream is ended, as the error says', async () => {
  const world = new World(directory, Date.UTC(2026, 10, 21))
  await world.fill()
  const first = await world.start('journal')
  world.pass(10)
  for (let i = 0; i < 3; i++) await world.write(first, i / 3, false)
  await world.kill(first, 'killed')
  const path = join(directory, first.stream, '00000001.journal')
  const bytes = readFileSync(path)
  bytes[200] = (bytes[200] ?? 0) ^ 1
  writeFileSync(path, bytes)
  world.pass(10)
  await expect(world.start('journal')).rejects.toMatchObject({
    code: 'JOURNAL_CORRUPT',
    hint: expect.stringContaining('tidemark stream end'),
  })
  const { store, clock } = world
  const timeline = await TimelineLog.open(store)
  const seams = {
    store,
    timeline,
    recordKeys: null,
    clock,
    log: createLogger('silent'),
    file: { id: basename(directory) },
  }
  const loss = await endStream(seams, { stream: first.stream, reason: 'damaged', name: 'ann' })
  expect(loss).toMatchObject({ stream: first.stream, cause: 'ended' })
  const second = await world.start('journal')
  expect(second.stream).not.toBe(first.stream)
  expect(readFileSync(path)).toEqual(bytes)
  await world.close()
})
