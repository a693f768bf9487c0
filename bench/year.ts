import { createLogger } from '../src/base/log.ts'
import { jobsOf } from '../src/engine/schedule.ts'
import { View } from '../src/engine/view.ts'
import { MemoryStore } from '../src/store/memory.ts'
import { openReader, openRig, type Rig } from '../test/support/capture-rig.ts'
import { BEGIN, SetClock } from '../test/support/kept-history.ts'
import { ModelDatabase, recordImage } from '../test/support/model-database.ts'
import { random } from '../test/support/random.ts'
import { CountingStore } from '../test/support/stores.ts'
import { isQuick, numberFlag } from './lib/options.ts'
import { storedIn } from './lib/stored.ts'
import { mustBe } from './lib/timing.ts'

/*
 * npm run year [-- --days 365] [--seals 96] [--writes 20] [--records 2000]: an application that writes at a steady rate, on a
 * clock of its own, with everything that is done by itself: merges, snapshots, retention (a window of 30 days and snapshots by
 * calendar), old generations that go. What is in the store, what a day costs, and what reading costs, must not grow with the
 * days once the first month is over.
 */
const DAY = 86_400_000
const HOUR = 3_600_000
const RETENTION = { window: '30d', gfs: { daily: 30, weekly: 8, monthly: 12, timeZone: 'UTC' }, grace: '1d' }

interface Pace {
  readonly seals: number
  readonly writes: number
  readonly records: number
}

class Year {
  readonly #store = new CountingStore(new MemoryStore())
  readonly #clock = new SetClock()
  readonly #database = new ModelDatabase()
  readonly #next = random(7)
  readonly #pace: Pace
  readonly #values = new Map<string, number>()
  #now = BEGIN
  #writes = 0

  constructor(pace: Pace) {
    this.#pace = pace
  }

  async run(days: number): Promise<void> {
    const rig = await openRig({
      store: this.#store,
      database: this.#database,
      directory: '',
      clock: this.#clock,
      ack: 'memory',
    })
    await rig.session.complete(null)
    rig.timeline.forgetting((error) => {
      throw error
    })
    const seams = { snapshots: {}, retention: RETENTION, compaction: {}, log: createLogger('silent') }
    const jobs = jobsOf({}, { archive: rig.archive, session: rig.session, source: null, ...seams })
    const signal = new AbortController().signal
    for (let day = 1; day <= days; day++) {
      this.#store.reset()
      const due = new Map(jobs.map((job) => [job, this.#now]))
      for (const end = this.#now + DAY; this.#now < end; ) {
        await this.#work(rig)
        for (const job of jobs) {
          if (this.#now < (due.get(job) ?? 0)) continue
          await job.run(signal)
          due.set(job, this.#now + Math.max(job.everyMs, HOUR))
        }
      }
      await rig.timeline.settled()
      if ([1, 7, 30, 60, 90, 180, 270, 365].includes(day) || day === days)
        await this.#tell(day, this.#store.calls, this.#store.bytesWritten)
    }
    await rig.session.close()
    rig.archive.close()
  }

  async #work({ session }: Rig): Promise<void> {
    const { seals, writes, records } = this.#pace
    for (let n = 0; n < writes; n++) {
      this.#now += DAY / seals / writes
      this.#clock.set(this.#now)
      const id = `r${Math.floor(this.#next() ** 2 * records)}`
      const value = ++this.#writes
      this.#values.set(id, value)
      await this.#database.write(
        { kind: 'record', resource: 'r', id },
        recordImage({ id, value, text: 'x'.repeat(80) }),
      )
    }
    await session.complete(null)
  }

  async #tell(day: number, calls: CountingStore['calls'], written: number): Promise<void> {
    const [put, get, list, deleted] = [calls.put, calls.get + calls.head, calls.list, calls.delete]
    const { bytes, files } = await storedIn(this.#store)
    const [[id, value] = ['', 0]] = this.#values
    this.#store.reset()
    const started = performance.now()
    const { archive, timeline } = await openReader(this.#store, this.#clock)
    const found = await new View(archive, 'latest').get('r', id)
    mustBe(found?.value === value, `what ${id} is on day ${day}`)
    const ms = performance.now() - started
    const requests = Object.values(this.#store.calls).reduce((sum, one) => sum + one, 0)
    archive.close()
    console.log(
      [
        `day ${day}: ${(bytes / 1e6).toFixed(1)} MB in ${files}`,
        `that day ${put} puts, ${get} gets and heads, ${list} lists, ${deleted} deletes, ${(written / 1e6).toFixed(1)} MB written`,
        `generation ${timeline.timeline.generation}, root ${(timeline.rootBytes / 1024).toFixed(1)} KiB`,
        `open and get ${requests} requests, ${ms.toFixed(0)} ms`,
      ].join('; '),
    )
  }
}

const days = numberFlag('--days', isQuick() ? 3 : 365)
await new Year({
  seals: numberFlag('--seals', 96),
  writes: numberFlag('--writes', 20),
  records: numberFlag('--records', 2000),
}).run(days)
