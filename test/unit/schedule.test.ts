import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, expect, test } from 'vitest'
import type { Clock } from '../../src/base/clock.ts'
import { systemClock } from '../../src/base/clock.ts'
import { Tidemark } from '../../src/engine/tidemark.ts'
import { type Job, Schedule } from '../../src/upkeep/schedule.ts'
import { fingerprint } from '../support/cli.ts'
import { ModelDatabase, recordImage } from '../support/model-database.ts'

const directory = mkdtempSync(join(tmpdir(), 'schedule-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** A clock that moves only when it is told to. */
class ManualClock implements Clock {
  #now = 1_700_000_000_000
  readonly #waiting = new Set<{ at: number; done: () => void }>()

  now(): number {
    return this.#now
  }

  sleep(ms: number): Promise<void> {
    return this.idle(ms, new AbortController().signal)
  }

  idle(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve()
      const one = { at: this.#now + ms, done: resolve }
      this.#waiting.add(one)
      signal.addEventListener('abort', () => {
        this.#waiting.delete(one)
        resolve()
      })
    })
  }

  async advance(ms: number): Promise<void> {
    this.#now += ms
    for (const one of [...this.#waiting].sort((a, b) => a.at - b.at)) {
      if (one.at > this.#now) continue
      this.#waiting.delete(one)
      one.done()
    }
    for (let i = 0; i < 20; i++) await Promise.resolve()
  }
}

test('jobs run at their times, never two at once, go on after a failure, and end with the schedule', async () => {
  const clock = new ManualClock()
  const ran: string[] = []
  const errors: string[] = []
  const log = pino({ level: 'error' }, { write: (line: string) => void errors.push(JSON.parse(line).job) })
  let release: () => void = () => {}
  let running = 0
  const job = (name: string, everyMs: number, work: () => Promise<void>): Job => ({
    name,
    everyMs,
    run: async () => {
      ran.push(name)
      expect(++running).toBe(1)
      await work().finally(() => running--)
    },
  })
  const slow = job('slow', 100, () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    release = resolve
    return promise
  })
  const failing = job('failing', 150, () => Promise.reject(new Error('no')))
  const schedule = new Schedule(clock, log, [slow, failing])
  await clock.advance(99)
  expect(ran).toEqual([])
  await clock.advance(1)
  expect(ran).toEqual(['slow'])
  await clock.advance(50) // failing is due, and waits for its turn
  expect(ran).toEqual(['slow'])
  release()
  await clock.advance(0)
  expect(ran).toEqual(['slow', 'failing'])
  expect(errors).toEqual(['failing'])
  await clock.advance(150)
  expect(ran).toEqual(['slow', 'failing', 'slow'])
  const ended = schedule.end()
  release()
  await ended
  await clock.advance(10_000)
  expect(ran).toEqual(['slow', 'failing', 'slow'])
})

test('a scheduled reconciliation records what nobody captured, writes nothing when idle, and ends with close', async () => {
  const database = new ModelDatabase('model://schedule')
  const item = { kind: 'record', resource: 'r', id: 'a' } as const
  const logger = pino({ level: 'silent' })
  const store = `file:${directory}/store`
  const options = { store, source: database, journal: `${directory}/journal`, seal: { ageMs: 5 }, logger }
  let reads = 0
  const items = database.items.bind(database)
  database.items = (resources) => {
    reads++
    return items(resources)
  }
  const tidemark = await Tidemark.capture(options, systemClock)
  await database.write(item, recordImage({ n: 1 }))
  await tidemark.flush()
  const wait = async (done: () => boolean): Promise<void> => {
    for (let i = 0; i < 400 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(done()).toBe(true)
  }
  await expect(tidemark.schedule({ reconcileMs: 0 })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  const unknown: object = { everyMs: 5 }
  await expect(tidemark.schedule(unknown)).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(reads).toBe(1) // of the baseline: nothing is scheduled
  const before = await fingerprint(join(directory, 'store'))
  await tidemark.schedule({ reconcileMs: 10 })
  await wait(() => reads >= 4)
  expect(await fingerprint(join(directory, 'store'))).toEqual(before)
  const found: unknown[] = []
  tidemark.onFinding((finding) => found.push(finding.id))
  database.put(item, recordImage({ n: 2 }))
  await wait(() => found.length > 0)
  const seen = reads
  await wait(() => reads >= seen + 3)
  expect(found).toEqual(['a'])
  expect((await tidemark.status()).findings).toMatchObject({ count: 1, last: expect.stringMatching(/Z$/) })
  await tidemark.close()
  const last = reads
  await new Promise((resolve) => setTimeout(resolve, 60))
  expect(reads).toBe(last)
  const reader = await Tidemark.open({ store })
  await expect(reader.schedule({ reconcileMs: 10 })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  await expect(reader.reconcile()).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  await expect(reader.reconcile({ source: database, record: true })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  expect(await reader.reconcile({ source: database })).toMatchObject({ same: 1, added: 0, changed: 0, removed: 0 })
  expect((await reader.status()).findings).toBeNull()
  await reader.close()
})
