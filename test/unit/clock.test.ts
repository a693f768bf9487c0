import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createLogger } from '../../src/base/log.ts'
import { Backlog } from '../../src/capture/backlog.ts'
import { ClockWatch } from '../../src/engine/clock-watch.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { EMPTY_TIMELINE } from '../../src/model/timeline.ts'
import { firstUlidAt, lastUlidAt, UlidGenerator } from '../../src/model/ulid.ts'
import { parseMoment } from '../../src/restore/moment.ts'
import { resolveMoment } from '../../src/restore/resolve.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

const DAY = 86_400_000
const NOW = Date.UTC(2026, 10, 21)

test('a generator says how far it runs ahead of a clock that was set back', () => {
  let now = NOW + 0.7
  const ulids = new UlidGenerator(() => now)
  ulids.next()
  expect(ulids.aheadMs).toBe(0)
  now -= DAY
  ulids.next()
  expect(ulids.aheadMs).toBe(DAY)
  now += 2 * DAY
  expect(ulids.aheadMs).toBe(0)
})

test('that stamps run ahead of the clock is said once each time, and that they do no more', () => {
  const said: unknown[] = []
  const log = createLogger('silent')
  log.warn = (...line: unknown[]): void => void said.push(line[0])
  let ahead = 0
  const watch = new ClockWatch(() => ahead, log)
  for (ahead of [0, 999, 0, 5000, 4000, 800, 2000, 0, 0, 1000]) watch.look()
  expect(said).toEqual([{ clockAheadMs: 5000 }, expect.stringContaining('again'), { clockAheadMs: 1000 }])
})

test('an event with a stamp in the future waits from when the clock is first looked at', () => {
  const backlog = new Backlog(0)
  backlog.add(1, 1, { events: 1, bytes: 10, length: 20, since: NOW + DAY })
  expect(backlog.waitedMs(NOW)).toBe(0)
  expect(backlog.waitedMs(NOW + 500)).toBe(500)
  expect(backlog.waitedMs(NOW - DAY)).toBe(0)
  expect(backlog.waitedMs(NOW - DAY + 300)).toBe(300)
})

test('where less than a millisecond is reachable, no time is offered that is not', () => {
  const openStream = EMPTY_TIMELINE.streams[0] ?? null
  const reach = { earliest: firstUlidAt(NOW), latest: `${firstUlidAt(NOW).slice(0, 25)}1`, openStream }
  expect(() => resolveMoment(parseMoment(NOW), reach)).toThrow(expect.objectContaining({ hint: 'Reachable: latest.' }))
  const limit = { why: 'a stream was never closed', hint: 'Close it.' }
  expect(() => resolveMoment(null, reach, limit)).toThrow(
    expect.objectContaining({ hint: 'Nothing is reachable. Close it.' }),
  )
  const whole = { ...reach, latest: lastUlidAt(NOW) }
  const text = new Date(NOW).toISOString()
  expect(() => resolveMoment(parseMoment(NOW + 1), whole)).toThrow(
    expect.objectContaining({ hint: `Reachable: ${text} to ${text}.` }),
  )
})

test('epochs are in order, and the status says how far stamps are ahead, after the clock was set back', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-clock-'))
  let now = NOW
  const clock = {
    now: () => (now += 0.01),
    sleep: async (): Promise<void> => {},
    idle: (_ms: number, signal: AbortSignal): Promise<void> =>
      new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
  }
  try {
    const database = new ModelDatabase()
    const options = { store: `file:${directory}/store`, journal: `${directory}/journal`, source: database }
    const tidemark = await Tidemark.capture({ ...options, logger: createLogger('silent') }, clock)
    await database.write({ kind: 'record', resource: 'r', id: '1' }, recordImage({ id: '1' }))
    for (const step of [0, -DAY, -DAY]) {
      now += step
      await tidemark.restoreAt('latest', { target: `${directory}/out`, overwrite: true, inPlace: true })
    }
    const { epochs, streams } = await tidemark.status()
    const started = epochs.map(({ startedAt }) => startedAt)
    expect(started).toHaveLength(4)
    expect(started).toEqual([...new Set(started)].sort())
    expect(streams[0]?.clockAheadMs).toBeGreaterThanOrEqual(2 * DAY - 1000)
    await tidemark.close()
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})
