import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../../src/base/clock.ts'
import { hasCode } from '../../src/base/errors.ts'
import { statusOf } from '../../src/engine/status.ts'
import { EVENT_COLUMNS, eventsOf } from '../../src/format/segment/events.ts'
import type { Event, Item } from '../../src/model/event.ts'
import { lastUlidAt, type Ulid, ulidTime } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { RequestMeter } from '../../src/store/meter.ts'
import { liveState, openReader, openRig, type Rig, stateAt, verify } from '../support/capture-rig.ts'
import { allSegments } from '../support/catalogue.ts'
import { keyOf, ModelDatabase, recordImage } from '../support/model-database.ts'
import { random } from '../support/random.ts'
import { assert, assertState, type State } from '../support/truth.ts'
import { type Campaign, campaignMain, type Tally } from './campaign.ts'

const OPENINGS = 3
const STEPS = 6
const HOUR = 3_600_000
const DAY = 24 * HOUR
const YEAR = 365 * DAY

/** How a clock can go wrong in a step. */
const JUMPS: readonly (readonly [string, (next: () => number) => number])[] = [
  ['back a day', () => -DAY],
  ['forward a year', () => YEAR],
  ['back a year', () => -YEAR],
  ['anywhere within a month', (next) => Math.floor((next() - 0.5) * 60 * DAY)],
  ['back an hour', () => -HOUR],
]

/** A wall clock that is set, that stands still, and that runs backwards. */
class WildClock implements Clock {
  readonly #next: () => number
  #now = Date.UTC(2026, 10, 21)
  /** What one reading adds: 0 stands still, below 0 runs backwards. */
  pace = 0.4

  constructor(next: () => number) {
    this.#next = next
  }

  now(): number {
    this.#now += this.pace * this.#next()
    return this.#now
  }

  move(ms: number): void {
    this.#now += ms
  }

  sleep(): Promise<void> {
    return Promise.resolve()
  }

  /** Seals come by number and by request. */
  idle(_ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  }
}

/** What one step did, and the whole database after it. */
interface Done {
  readonly key: string
  readonly state: State
}

/** A history of a few openings under a clock that cannot be trusted; writes come one after the other. */
class History {
  readonly #next: () => number
  readonly #tally: Tally
  readonly #clock: WildClock
  readonly #database = new ModelDatabase()
  readonly #store = new MemoryStore()
  readonly #directory = mkdtempSync(join(tmpdir(), 'tidemark-clock-'))
  readonly #done: Done[] = []
  readonly #initial: State
  /** The last moment that was reached, and how many events there were then. */
  #reached: { ulid: Ulid; events: number } = { ulid: '', events: 0 }

  constructor(seed: number, tally: Tally) {
    this.#next = random(seed)
    this.#tally = tally
    this.#clock = new WildClock(this.#next)
    for (const id of ['1', '2']) this.#database.put({ kind: 'record', resource: 'r', id }, recordImage({ id }))
    this.#initial = liveState(this.#database)
  }

  async run(): Promise<void> {
    try {
      for (let opening = 0; opening < OPENINGS; opening++) await this.#opening()
      this.#tally.add('events', this.#done.length)
    } finally {
      rmSync(this.#directory, { recursive: true, force: true })
    }
  }

  async #opening(): Promise<void> {
    const rig = await this.#open()
    try {
      await rig.session.complete(null)
      this.#seesClamping(rig)
      for (let step = 0; step < STEPS; step++) {
        this.#disturb()
        await this.#write()
        this.#seesClamping(rig)
        this.#lags(rig)
        if (this.#next() < 0.3) await this.#reach(rig, 'latest')
      }
      await rig.session.complete(null)
      await this.#check(rig)
    } finally {
      await rig.session.close()
      rig.archive.close()
    }
    this.#tally.add('warnings', rig.logged.filter(isWarning).length)
    this.#disturb()
    if (this.#next() < 0.5) await this.#askFromElsewhere()
  }

  /**
   * Nobody writes, and somebody asks whose clock is another one: what he is told is final, or he is told nothing, however
   * far behind the clock of the next writer is.
   */
  async #askFromElsewhere(): Promise<void> {
    const offset = Math.floor((this.#next() - 0.5) * 4 * DAY)
    const { sleep, idle } = this.#clock
    const clock: Clock = { sleep, idle, now: () => this.#clock.now() + offset }
    const { archive } = await openReader(this.#store, clock)
    const moment = Math.floor(clock.now() - this.#next() * HOUR)
    try {
      const { bound } = await archive.locate(moment)
      this.#tally.add('told by another clock')
      if (bound.ulid > this.#reached.ulid) this.#reached = { ulid: bound.ulid, events: this.#done.length }
    } catch (error) {
      if (!hasCode(error, 'MOMENT_UNREACHABLE')) throw error
    } finally {
      archive.close()
    }
  }

  async #open(): Promise<Rig> {
    const directory = this.#directory
    const seal = { events: 2 + Math.floor(this.#next() * 6) }
    return openRig({ store: this.#store, database: this.#database, directory, clock: this.#clock, seal, memory: 1e9 })
  }

  #disturb(): void {
    const choice = this.#next()
    this.#clock.pace = choice < 0.2 ? 0 : choice < 0.35 ? -3 : 0.4
    if (choice < 0.2) this.#tally.add('stands still')
    else if (choice < 0.35) this.#tally.add('runs backwards')
    if (this.#next() < 0.5) return
    const [name, by] = JUMPS[Math.floor(this.#next() * JUMPS.length)] ?? ['back a day', () => -DAY]
    this.#clock.move(by(this.#next))
    this.#tally.add(name)
  }

  async #write(): Promise<void> {
    const item: Item = { kind: 'record', resource: 'r', id: String(Math.floor(this.#next() * 4)) }
    await this.#database.write(item, recordImage({ id: item.id, number: this.#done.length }))
    this.#done.push({ key: keyOf(item), state: liveState(this.#database) })
  }

  /** What was clamped is visible: in the report, in the log, once an episode. */
  #seesClamping({ session, logged }: Rig): void {
    const { clockAheadMs } = session.report()
    const warnings = logged.filter(isWarning).length
    const ends = logged.filter((line) => line.includes('stamped with their time again')).length
    assert(clockAheadMs >= 0, 'the stamps are behind the clock')
    if (clockAheadMs >= 2_000) assert(warnings === ends + 1, `${warnings} warnings of ${clockAheadMs} ms`)
    assert(warnings - ends <= 1, 'it was warned twice of the same')
    this.#tally.add('stamps ahead of the clock', clockAheadMs >= 2_000 ? 1 : 0)
  }

  /** Lag is never negative, and an event that waits for an hour has waited for an hour whatever was before. */
  #lags({ session }: Rig): void {
    const before = session.pending
    assert(before.ageMs >= 0, 'the lag is negative')
    this.#clock.move(HOUR)
    const after = session.pending
    if (before.events > 0 && after.events === before.events) {
      assert(after.ageMs >= before.ageMs + HOUR - 60_000, `the lag is ${after.ageMs} ms after another hour`)
    }
    this.#clock.move(-HOUR)
    assert(session.pending.ageMs >= 0, 'the lag is negative')
  }

  async #check(rig: Rig): Promise<void> {
    const { damage } = await verify(rig.archive)
    assert(damage.length === 0, `damaged: ${damage[0]?.key}: ${damage[0]?.message}`)
    const events = await everyEvent(rig)
    assert(events.length === this.#done.length, `${events.length} events instead of ${this.#done.length}`)
    for (const [i, { stamp, ...event }] of events.entries()) {
      // Writes came one after the other: the order of the stamps is that of the writes, over all openings.
      assert(keyOf(event) === this.#done[i]?.key, `event ${i + 1} by stamp is of another write`)
      if (i >= this.#reached.events)
        assert(stamp.ulid > this.#reached.ulid, `event ${i + 1} is at a moment that was final`)
      const state = this.#done[i]?.state ?? new Map()
      if (this.#next() < 0.2) assertState(await this.#reach(rig, stamp.ulid), state, `event ${i + 1}`)
    }
    await this.#checkTimes(rig, events)
    await this.#checkStatus(rig)
  }

  /** Any time either resolves to what was stamped until then, or is refused with times that resolve. */
  async #checkTimes(rig: Rig, events: readonly Event[]): Promise<void> {
    const now = this.#clock.now()
    const stamped = events.flatMap(({ stamp }) => [ulidTime(stamp.ulid) - 1, ulidTime(stamp.ulid)])
    const some = stamped.filter(() => this.#next() < 0.1)
    for (const ms of [...some, now, now - DAY, now + YEAR, now - HOUR].map(Math.floor)) {
      const count = events.filter(({ stamp }) => stamp.ulid <= lastUlidAt(ms)).length
      const expected = count === 0 ? this.#initial : (this.#done[count - 1]?.state ?? new Map())
      try {
        assertState(await this.#reach(rig, ms), expected, new Date(ms).toISOString())
        this.#tally.add('times resolved')
      } catch (error) {
        if (!hasCode(error, 'MOMENT_UNREACHABLE')) throw error
        this.#tally.add('times refused')
        const nearest = /Reachable: (\S+) to (\S+?)\.(?: |$)/.exec(error.hint)
        assert(nearest !== null || error.hint.includes('Reachable: latest'), `no nearest moments: ${error.hint}`)
        const times = nearest?.slice(1, 3) ?? ['latest']
        for (const near of times) await rig.archive.locate(near)
        const [earliest = '', latest = ''] = times
        const asked = new Date(ms).toISOString()
        assert(nearest === null || asked < earliest || asked > latest, `${asked} is refused within ${error.hint}`)
      }
    }
  }

  async #checkStatus({ archive, session }: Rig): Promise<void> {
    const { timeline, reach } = await archive.refresh()
    const conditions = await Promise.all(timeline.streams.map((stream) => archive.conditionOf(stream)))
    const nowMs = this.#clock.now()
    const { requests } = new RequestMeter(this.#clock)
    const names = { store: 'test', database: 'test', encryption: null }
    const status = statusOf({
      timeline,
      reach,
      catalogueBytes: archive.seams.timeline.rootBytes,
      names,
      conditions,
      own: session.report(),
      findings: null,
      drill: null,
      replayed: null,
      requests,
      keeping: { versions: 'none' },
      nowMs,
    })
    for (const { lastEvent, lagAtMostMs, condition, sealedThrough, clockAheadMs } of status.streams) {
      assert((lastEvent?.ageMs ?? 0) >= 0 && lagAtMostMs >= 0 && (condition.lagMs ?? 0) >= 0, 'an age is negative')
      const ahead = ulidTime(sealedThrough) - nowMs
      assert(clockAheadMs > ahead - 100, `stamps are ${ahead} ms ahead and the status says ${clockAheadMs}`)
    }
  }

  async #reach(rig: Rig, moment: Ulid | number): Promise<State> {
    const state = await stateAt(rig.archive, moment)
    const { bound } = await rig.archive.locate(moment)
    if (bound.ulid > this.#reached.ulid) this.#reached = { ulid: bound.ulid, events: this.#done.length }
    return state
  }
}

function isWarning(line: string): boolean {
  return line.includes('The clock was set back')
}

async function everyEvent({ archive, timeline }: Rig): Promise<Event[]> {
  const events: Event[] = []
  for (const entry of await allSegments(archive.seams.store, timeline.timeline)) {
    const reader = await archive.sources.segments.open(entry)
    for (const index of reader.rowGroups.keys())
      events.push(...eventsOf(await reader.readRowGroup(index, EVENT_COLUMNS)))
  }
  return events.sort((a, b) => (a.stamp.ulid < b.stamp.ulid ? -1 : 1))
}

/** The wall clock jumps, stands still and runs backwards, within openings and between them. */
export const clockCampaign: Campaign = {
  name: 'clock',
  seeds: 200,
  run: (seed, tally) => new History(seed, tally).run(),
}

if (import.meta.main) await campaignMain(clockCampaign)
