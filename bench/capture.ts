import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { S3db } from 's3db.js/lite'
import { TidemarkPlugin } from '../src/s3db/plugin.ts'
import { createUsers, openDatabase, user } from './lib/application.ts'
import { isQuick, numberFlag } from './lib/options.ts'
import { type BenchRow, median, printRows } from './lib/row.ts'
import { inTemporaryDirectory, mustBe } from './lib/timing.ts'

/** Writes a run, on `memory://` and on `file://`; each way runs `runs` times after one that does not count, in turn. */
export interface CaptureBenchOptions {
  readonly memoryWrites: number
  readonly fileWrites: number
  readonly writers: number
  readonly runs: number
}

const FULL: CaptureBenchOptions = { memoryWrites: 30_000, fileWrites: 6_000, writers: 20, runs: 7 }
const QUICK: CaptureBenchOptions = { memoryWrites: 400, fileWrites: 200, writers: 20, runs: 1 }

/** One run of the application. */
interface Measured {
  /** Writes a second. */
  readonly rate: number
  /** The 99th percentile of the event loop's delay, milliseconds. */
  readonly delay: number
  readonly longest: number
  /** Processor time of all threads, microseconds a write: says more than the rate where others use the machine. */
  readonly cpu: number
}

type Kind = 'memory' | 'file'

/** An application that inserts and updates, with Tidemark beside it and without. */
export async function run(options: CaptureBenchOptions = isQuick() ? QUICK : FULL): Promise<BenchRow[]> {
  const rows: BenchRow[] = []
  for (const [kind, writes] of [
    ['memory', options.memoryWrites],
    ['file', options.fileWrites],
  ] as const) {
    const [captured, bare]: [Measured[], Measured[]] = [[], []]
    for (let round = 0; round <= options.runs; round++) {
      const measured = await inTemporaryDirectory((directory) => withTidemark(kind, directory, writes, options.writers))
      const alone = await inTemporaryDirectory((directory) => without(kind, directory, writes, options.writers))
      if (round === 0) continue
      captured.push(measured)
      bare.push(alone)
    }
    rows.push(...rowsOf(kind, captured, bare, `${writes} writes by ${options.writers} writers`))
  }
  return rows
}

function rowsOf(kind: Kind, captured: readonly Measured[], bare: readonly Measured[], what: string): BenchRow[] {
  const of = (runs: readonly Measured[], pick: (run: Measured) => number): number => median(runs.map(pick))
  const [ours, peer] = [of(captured, ({ rate }) => rate), of(bare, ({ rate }) => rate)]
  const added = 1e6 / ours - 1e6 / peer
  const cpu = (runs: readonly Measured[]): string => of(runs, (run) => run.cpu).toFixed(0)
  const longest = Math.max(...captured.map((run) => run.longest))
  return [
    {
      name: `capture, ${kind}://`,
      ours,
      peer,
      unit: 'writes/s',
      ratio: ours / peer,
      target: '>= 0.8x',
      note: `${what}, half of them updates; peer: without Tidemark; ${added.toFixed(0)} us more a write; CPU ${cpu(captured)} and ${cpu(bare)} us`,
    },
    {
      name: `event loop, ${kind}://`,
      ours: of(captured, ({ delay }) => delay),
      peer: of(bare, ({ delay }) => delay),
      unit: 'ms p99',
      ratio: null,
      target: '< 50',
      note: `delay with a resolution of 10 ms; peer: without Tidemark; longest ${longest.toFixed(0)} ms`,
    },
  ]
}

async function withTidemark(kind: Kind, directory: string, writes: number, writers: number): Promise<Measured> {
  const db = await openDatabase(kind, directory)
  const tidemark = new TidemarkPlugin({
    store: `file:${join(directory, 'store')}`,
    journal: join(directory, 'journal'),
  })
  await db.usePlugin(tidemark)
  const measured = await drive(db, writes, writers)
  const { id } = user(0)
  let events = 0
  for await (const _ of tidemark.history('users', id)) events++
  mustBe(events === updatesOfFirst(writes / writers) + 1, `${events} events of the first record`)
  await db.disconnect()
  return measured
}

async function without(kind: Kind, directory: string, writes: number, writers: number): Promise<Measured> {
  const db = await openDatabase(kind, directory)
  const measured = await drive(db, writes, writers)
  await db.disconnect()
  return measured
}

/** Every second write of a writer inserts a record, the one after it updates one that the writer has inserted before. */
async function drive(db: S3db, writes: number, writers: number): Promise<Measured> {
  const users = await createUsers(db)
  const each = writes / writers
  const delay = monitorEventLoopDelay({ resolution: 10 })
  delay.enable()
  const before = process.cpuUsage()
  const start = performance.now()
  const writer = async (_: unknown, lane: number): Promise<void> => {
    for (let step = 0; step < each; step++) {
      const number = lane * each + (step % 2 === 0 ? step : updatedAt(step))
      const values = user(number, step % 2 === 0 ? 0 : step)
      if (step % 2 === 0) await users.insert(values)
      else await users.update(values.id, values)
    }
  }
  await Promise.all(Array.from({ length: writers }, writer))
  const elapsed = performance.now() - start
  const { user: inUser, system } = process.cpuUsage(before)
  const cpu = (inUser + system) / writes
  delay.disable()
  return { cpu, rate: (writes / elapsed) * 1000, delay: delay.percentile(99) / 1e6, longest: delay.max / 1e6 }
}

/** The step whose record the odd step `step` updates: an even one before it. */
function updatedAt(step: number): number {
  return ((step * 7919) % ((step + 1) / 2)) * 2
}

/** How many of a writer's steps update the record of its first. */
function updatesOfFirst(each: number): number {
  let count = 0
  for (let step = 1; step < each; step += 2) if (updatedAt(step) === 0) count++
  return count
}

if (import.meta.main) {
  const base = isQuick() ? QUICK : FULL
  const [memoryWrites, fileWrites] = [numberFlag('--memory', base.memoryWrites), numberFlag('--file', base.fileWrites)]
  printRows(await run({ ...base, memoryWrites, fileWrites, runs: numberFlag('--runs', base.runs) }))
}
