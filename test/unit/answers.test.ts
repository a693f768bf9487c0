import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { answeredIn, noteAnswer } from '../../src/capture/answered.ts'
import { oneClockOf } from '../../src/capture/one-clock.ts'
import { EMPTY_TIMELINE, type StreamEntry } from '../../src/model/timeline.ts'
import { MIN_ULID, UlidGenerator } from '../../src/model/ulid.ts'
import { answered } from '../../src/restore/reach.ts'

const home = mkdtempSync(join(tmpdir(), 'answers-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))
const ulids = new UlidGenerator(() => 1_790_000_000_000)
const next = (count: number): string[] => Array.from({ length: count }, () => ulids.next())

test('what was answered last stays noted, in whatever order those who answer come', async () => {
  const directory = join(home, 'journals')
  mkdirSync(directory)
  expect(await answeredIn(directory)).toBe(MIN_ULID)
  const told = next(20)
  const shuffled = told.toSorted((a, b) => (a.slice(-7) + a < b.slice(-7) + b ? 1 : -1))
  for (const pair of [shuffled.slice(0, 10), shuffled.slice(10)])
    expect(await Promise.all(pair.map((ulid) => noteAnswer(directory, ulid)))).not.toContain(false)
  expect(await answeredIn(directory)).toBe(told.at(-1))
  // It does not grow with every question.
  await noteAnswer(directory, ulids.next())
  expect(readdirSync(directory)).toHaveLength(1)
})

test('a directory that is not here, or not to be written to, takes no note', async () => {
  expect(await noteAnswer(join(home, 'none'), ulids.next())).toBe(false)
  const directory = join(home, 'read-only')
  mkdirSync(directory)
  chmodSync(directory, 0o500)
  const isRoot = process.getuid?.() === 0
  expect(await noteAnswer(directory, ulids.next())).toBe(isRoot)
})

test('a store that other machines reach has no clock for all; where one has, no time is over before it is', async () => {
  expect(oneClockOf('s3://bucket/prefix')).toBe(null)
  let now = 1000.5
  const sleep = async (ms: number): Promise<void> => {
    now += ms
  }
  const clock = oneClockOf(`file:${home}`, { now: () => now, sleep, idle: async () => {} })
  expect(await clock?.passed(999)).toBe(true)
  expect(await clock?.passed(1000)).toBe(true) // it was waited for
  expect(now).toBeGreaterThanOrEqual(1001)
  expect(await clock?.passed(60_000)).toBe(false)
  expect(await oneClockOf(join(home, 'nowhere'))?.passed(0)).toBe(false)
})

test('an answer counts for the opening of a stream that gave it, and for no other', () => {
  const [through = '', before = ''] = next(2).reverse()
  const stream = (id: string, state: 'open' | 'closed'): StreamEntry => ({
    ...{ id, state, host: 'h', pid: 1, journal: { kind: 'memory' }, openedAt: before, sealedThrough: before },
    ...{ lastSequence: 0, lastUlid: MIN_ULID, chain: '', owner: 'mine' },
  })
  const streams = [stream('a', 'open'), stream('b', 'open'), stream('c', 'closed'), stream('d', 'open')]
  const owners = new Map([
    ['a', 'mine'],
    ['b', 'taken over'],
    ['c', 'mine'],
  ])
  const { streams: seen } = answered({ ...EMPTY_TIMELINE, streams }, through, owners)
  expect(seen.map(({ sealedThrough }) => sealedThrough)).toEqual([through, before, before, before])
  expect(answered({ ...EMPTY_TIMELINE, streams: seen }, before, owners).streams[0]?.sealedThrough).toBe(through)
})
