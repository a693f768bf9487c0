import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Tidemark } from '../src/engine/tidemark.ts'
import { firstUlidAt } from '../src/model/ulid.ts'
import { FilesystemStore } from '../src/store/filesystem.ts'
import { writeHistory } from './lib/history-store.ts'
import { firstStates, type LargeDatabase, laterChunks } from './lib/large-records.ts'
import { statusMb } from './lib/memory.ts'
import { isQuick } from './lib/options.ts'
import { type BenchRow, printRows } from './lib/row.ts'
import { inTemporaryDirectory, mustBe } from './lib/timing.ts'

/** Databases by what is hard about them. */
type Databases = Readonly<Record<string, LargeDatabase>>

const FULL: Databases = {
  'many records': { records: 1_000_000, events: 200_000, chunk: 10_000, recordBytes: 500 },
  'large records': { records: 2_500, events: 500, chunk: 20, recordBytes: 1_000_000 },
  'many segments': { records: 10_000, events: 200_000, chunk: 20, recordBytes: 500 },
  'huge records': { records: 12, events: 6, chunk: 1, recordBytes: 50_000_000 },
}
const QUICK: Databases = {
  'many records': { records: 5_000, events: 2_000, chunk: 500, recordBytes: 500 },
  'large records': { records: 30, events: 20, chunk: 10, recordBytes: 1_000_000 },
  'many segments': { records: 500, events: 2_000, chunk: 20, recordBytes: 500 },
}

/** What one process used. */
interface Usage {
  readonly baseMb: number
  readonly peakMb: number
  readonly records: number
  readonly seconds: number
}

/** Peak memory of a restore into a directory and of a snapshot from history, each in a process of its own. */
export async function run(databases: Databases = isQuick() ? QUICK : FULL): Promise<BenchRow[]> {
  const rows: BenchRow[] = []
  for (const [kind, options] of Object.entries(databases)) rows.push(...(await rowsOf(kind, options)))
  return rows
}

async function rowsOf(kind: string, options: LargeDatabase): Promise<BenchRow[]> {
  return inTemporaryDirectory(async (directory) => {
    const start = firstUlidAt(Date.UTC(2026, 0, 1))
    const store = join(directory, 'store')
    await writeHistory(new FilesystemStore(store), start, firstStates(options), laterChunks(options, start))
    const rows: BenchRow[] = []
    for (const [work, name] of [
      ['restore', `memory of a restore, ${kind}`],
      ['snapshot', `memory of a snapshot, ${kind}`],
    ] as const) {
      const { baseMb, peakMb, records, seconds } = await measure(work, store, join(directory, work))
      mustBe(records === options.records, `${work} of ${records} records`)
      const size = `${options.records} records of ${options.recordBytes} B (and their raw image), ${options.events} events in ${Math.ceil(options.events / options.chunk)} segments`
      const note = `${size}; over ${baseMb.toFixed(0)} MB at the start; ${seconds.toFixed(1)} s`
      rows.push({ name, ours: peakMb - baseMb, peer: null, unit: 'MB', ratio: null, target: '<= 256', note })
    }
    return rows
  })
}

async function measure(work: string, store: string, target: string): Promise<Usage> {
  const script = fileURLToPath(import.meta.url)
  const { stdout } = await promisify(execFile)(process.execPath, [script, '--as', work, store, target])
  return JSON.parse(stdout)
}

async function measured(work: string, store: string, target: string): Promise<Usage> {
  const tidemark = await Tidemark.open({ store: `file:${store}` })
  const baseMb = statusMb('VmRSS')
  const start = performance.now()
  let records: number
  if (work === 'restore') {
    const { preview } = await tidemark.restoreAt('latest', { target })
    records = (preview.resources.get('users')?.added ?? 0) - 1
  } else {
    records = (await tidemark.snapshot()).records
  }
  const seconds = (performance.now() - start) / 1000
  await tidemark.close()
  return { baseMb, peakMb: statusMb('VmHWM'), records, seconds }
}

if (import.meta.main) {
  const [, , as, work = '', store = '', target = ''] = process.argv
  if (as === '--as') console.log(JSON.stringify(await measured(work, store, target)))
  else printRows(await run())
}
