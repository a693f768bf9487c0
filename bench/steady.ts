import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { TidemarkPlugin } from '../src/s3db/plugin.ts'
import { createUsers, openDatabase, type Resource, user } from './lib/application.ts'
import { isQuick, numberFlag } from './lib/options.ts'
import { type BenchRow, median, printRows } from './lib/row.ts'
import { inTemporaryDirectory } from './lib/timing.ts'

/*
 * npm run steady [-- --minutes 60] [--rate 1000]: an application that updates a thousand records in memory at a steady
 * rate, with Tidemark beside it. What its process takes must not grow with the time that it runs.
 */
const RECORDS = 1000
const TICK_MS = 10
/** The application waits where so many of its writes are under way. */
const MOST_UNDER_WAY = 1000

/** What the process took, bytes, after a collection. */
interface Sample {
  readonly heap: number
  readonly rss: number
}

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

function sample(): Sample {
  collect()
  const { heapUsed, rss, arrayBuffers } = process.memoryUsage()
  return { heap: heapUsed + arrayBuffers, rss }
}

async function run(minutes: number, rate: number): Promise<BenchRow[]> {
  return inTemporaryDirectory(async (directory) => {
    const db = await openDatabase('memory', directory)
    const store = `file:${join(directory, 'store')}`
    await db.usePlugin(new TidemarkPlugin({ store, journal: join(directory, 'journal') }))
    const users = await createUsers(db)
    for (let number = 0; number < RECORDS; number++) await users.insert(user(number))
    const { samples, done } = await updates(users, minutes * 60_000, rate)
    await db.disconnect()
    return rowsOf(samples, `${done} updates in ${minutes} minutes, ${rate}/s wanted`)
  })
}

/** Samples over the time: fifty, from when the process has warmed up; and the writes that were done. */
async function updates(
  users: Resource,
  ms: number,
  rate: number,
): Promise<{ samples: readonly Sample[]; done: number }> {
  const samples: Sample[] = []
  const start = performance.now()
  const underWay = new Set<Promise<unknown>>()
  let done = 0
  for (let elapsed = 0; elapsed < ms; elapsed = performance.now() - start) {
    for (; done < (elapsed / 1000) * rate && underWay.size < MOST_UNDER_WAY; done++) {
      const values = user(done % RECORDS, done)
      const write = users.update(values.id, values).finally(() => underWay.delete(write))
      underWay.add(write)
    }
    if (elapsed > ms / 6 && elapsed > ms / 6 + (samples.length * ms) / 60) samples.push(sample())
    await sleep(TICK_MS)
  }
  await Promise.all(underWay)
  return { samples, done }
}

function rowsOf(samples: readonly Sample[], what: string): BenchRow[] {
  const quarter = Math.max(1, Math.floor(samples.length / 4))
  return (['heap', 'rss'] as const).map((part) => {
    const values = samples.map((one) => one[part] / 2 ** 20)
    const [first, last] = [median(values.slice(0, quarter)), median(values.slice(-quarter))]
    return {
      name: `steady, ${part}`,
      ours: last,
      peer: first,
      unit: 'MiB',
      ratio: last / first,
      target: '<= 1.1x',
      note: `${what}; the last quarter; peer: the first, after a sixth of the time; least ${Math.min(...values).toFixed(0)}, most ${Math.max(...values).toFixed(0)}`,
    }
  })
}

const [minutes, rate] = isQuick() ? [0.05, 200] : [60, 1000]
printRows(await run(numberFlag('--minutes', minutes), numberFlag('--rate', rate)))
// s3db.js leaves timers behind.
process.exit(0)
