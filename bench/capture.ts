import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { TidemarkPlugin } from '../src/s3db/plugin.ts'
import { type Measured, PHASES, type Phase, type Run, runApplication } from './lib/application-run.ts'
import { isQuick, numberFlag } from './lib/options.ts'
import { type Kind, type Place, placeOf } from './lib/place.ts'
import { type BenchRow, median, printRows } from './lib/row.ts'
import { inTemporaryDirectory, mustBe } from './lib/timing.ts'

/** Writes of each phase of a run; each way runs `runs` times after one that does not count, in turn. */
export interface CaptureBenchOptions {
  readonly writes: Readonly<Record<Kind, number>>
  /** Of a single writer, on `file://`. */
  readonly alone: number
  readonly writers: number
  readonly runs: number
}

const FULL: CaptureBenchOptions = {
  writes: { memory: 20_000, file: 4_000, s3: 2_000 },
  alone: 1_000,
  writers: 20,
  runs: 5,
}
const QUICK: CaptureBenchOptions = { writes: { memory: 200, file: 100, s3: 40 }, alone: 20, writers: 20, runs: 1 }

const TARGETS: Readonly<Record<Kind, string>> = { memory: '>= 0.75x', file: '>= 0.93x', s3: '>= 0.93x' }
const SYNC_BYTES = 1024

/** The same application with Tidemark beside it and without, in turn. */
interface Pairs {
  readonly captured: Run[]
  readonly bare: Run[]
}

/** An application that inserts and updates, with Tidemark beside it and without. */
export async function run(options: CaptureBenchOptions = isQuick() ? QUICK : FULL): Promise<BenchRow[]> {
  const rows: BenchRow[] = []
  for (const kind of ['memory', 'file', 's3'] as const) {
    const writes = options.writes[kind]
    const place = writes > 0 ? await placeOf(kind) : null
    if (place === null) continue
    try {
      const pairs = await inPairs(place, writes, options.writers, options.runs)
      rows.push(...rowsOf(kind, pairs, `${writes} writes by ${options.writers} writers`))
      if (kind === 'file') rows.push(aloneRow(await inPairs(place, options.alone, 1, options.runs), await syncTimes()))
    } finally {
      await place.close()
    }
  }
  return rows
}

async function inPairs(place: Place, writes: number, writers: number, runs: number): Promise<Pairs> {
  const pairs: Pairs = { captured: [], bare: [] }
  for (let round = 0; round <= runs; round++) {
    const captured = await inTemporaryDirectory((directory) => withTidemark(place, directory, writes, writers))
    const bare = await inTemporaryDirectory((directory) => without(place, directory, writes, writers))
    if (round === 0) continue
    pairs.captured.push(captured)
    pairs.bare.push(bare)
  }
  return pairs
}

function rowsOf(kind: Kind, { captured, bare }: Pairs, what: string): BenchRow[] {
  const rows = PHASES.map((phase): BenchRow => {
    const of = (runs: readonly Run[], pick: (measured: Measured) => number): number => medianOf(runs, phase, pick)
    const [ours, peer] = [of(captured, ({ rate }) => rate), of(bare, ({ rate }) => rate)]
    const cpu = (runs: readonly Run[]): string => of(runs, (measured) => measured.cpu).toFixed(0)
    return {
      name: `capture, ${kind}://, ${phase}`,
      ours,
      peer,
      unit: 'writes/s',
      ratio: ours / peer,
      target: TARGETS[kind],
      note: `${what}; peer: without Tidemark; ${(1e6 / ours - 1e6 / peer).toFixed(0)} us more a write; CPU ${cpu(captured)} and ${cpu(bare)} us`,
    }
  })
  const delay = (runs: readonly Run[]): number =>
    Math.max(...PHASES.map((phase) => medianOf(runs, phase, (measured) => measured.delay)))
  const longest = Math.max(...captured.flatMap(({ phases }) => PHASES.map((phase) => phases[phase].longest)))
  const note = `how late timers of 10 ms are; peer: without Tidemark; longest ${longest.toFixed(0)} ms`
  const loop = { name: `event loop, ${kind}://`, ours: delay(captured), peer: delay(bare), unit: 'ms p99', note }
  return [...rows, { ...loop, ratio: null, target: '< 20' }]
}

/** What capture adds to a write that nothing else goes on beside. */
function aloneRow({ captured, bare }: Pairs, syncs: readonly number[]): BenchRow {
  const took = (runs: readonly Run[], phase: Phase): number => 1e6 / medianOf(runs, phase, ({ rate }) => rate)
  const added = PHASES.map((phase) => took(captured, phase) - took(bare, phase))
  const [ours, peer] = [Math.max(...added), median(syncs)]
  const each = PHASES.map((phase, i) => `${phase} ${took(bare, phase).toFixed(0)} + ${(added[i] ?? 0).toFixed(0)} us`)
  return {
    name: 'one writer, file://',
    ours,
    peer,
    unit: 'us a write',
    ratio: ours / peer,
    target: '<= 1x',
    note: `what capture adds, the worst of: ${each.join(', ')}; peer: a write of ${SYNC_BYTES} bytes and its fdatasync`,
  }
}

function medianOf(runs: readonly Run[], phase: Phase, pick: (measured: Measured) => number): number {
  return median(runs.map(({ phases }) => pick(phases[phase])))
}

async function withTidemark(place: Place, directory: string, writes: number, writers: number): Promise<Run> {
  const db = await place.open(directory)
  const store = `file:${join(directory, 'store')}`
  const tidemark = new TidemarkPlugin({ store, journal: join(directory, 'journal') })
  await db.usePlugin(tidemark)
  const measured = await runApplication(db, writes, writers)
  for (const [id, times] of [...measured.written].slice(0, 3)) {
    let events = 0
    for await (const _ of tidemark.history('users', id)) events++
    mustBe(events === times, `${events} events of a record that was written ${times} times`)
  }
  await db.disconnect()
  return measured
}

async function without(place: Place, directory: string, writes: number, writers: number): Promise<Run> {
  const db = await place.open(directory)
  const measured = await runApplication(db, writes, writers)
  await db.disconnect()
  return measured
}

/** Microseconds of one write at the end of a file and its `fdatasync`, many times. */
async function syncTimes(): Promise<readonly number[]> {
  return inTemporaryDirectory(async (directory) => {
    const file = await open(join(directory, 'log'), 'a')
    const bytes = Buffer.alloc(SYNC_BYTES, 'x')
    const times: number[] = []
    for (let i = 0; i < 200; i++) {
      const start = performance.now()
      await file.write(bytes)
      await file.datasync()
      times.push((performance.now() - start) * 1000)
    }
    await file.close()
    return times
  })
}

if (import.meta.main) {
  const base = isQuick() ? QUICK : FULL
  const writes = {
    memory: numberFlag('--memory', base.writes.memory),
    file: numberFlag('--file', base.writes.file),
    s3: numberFlag('--s3', base.writes.s3),
  }
  const alone = numberFlag('--alone', base.alone)
  printRows(await run({ ...base, writes, alone, runs: numberFlag('--runs', base.runs) }))
  // s3db.js leaves timers behind.
  process.exit(0)
}
