import { execFile } from 'node:child_process'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { collectBuffers } from '../src/base/collect-buffers.ts'
import { holdYoungSpace } from '../src/cli/young-space.ts'
import { Tidemark } from '../src/engine/tidemark.ts'
import { firstUlidAt } from '../src/model/ulid.ts'
import { SnapshotReader } from '../src/restore/snapshot-reader.ts'
import { FilesystemStore } from '../src/store/filesystem.ts'
import { TimelineLog } from '../src/timeline/log.ts'
import { writeHistory } from './lib/history-store.ts'
import { firstStates, type LargeDatabase, laterChunks } from './lib/large-records.ts'
import { statusMb } from './lib/memory.ts'
import { isQuick, numberFlag } from './lib/options.ts'
import { type BenchRow, median, printRows } from './lib/row.ts'
import { inTemporaryDirectory, mustBe } from './lib/timing.ts'

/*
 * npm run bench -- --only restore-large; with other sizes, node bench/restore-large.ts --records 10000000 --runs 1.
 */

/** The database, and how often each way runs, in turn. */
export interface LargeRestoreOptions extends LargeDatabase {
  readonly runs: number
}

const FULL: LargeRestoreOptions = { records: 1_000_000, events: 100_000, chunk: 50_000, recordBytes: 130, runs: 3 }
const QUICK: LargeRestoreOptions = { records: 5_000, events: 500, chunk: 500, recordBytes: 130, runs: 1 }

/** What one process used. */
interface Usage {
  readonly records: number
  readonly wallMs: number
  readonly cpuMs: number
  readonly baseMb: number
  readonly peakMb: number
}

type Way = 'restore' | 'read'

/**
 * A restore of a large snapshot and of a tenth as many events into a directory, against only reading the snapshot: its members
 * inflated, split into lines, and each line parsed. Each in a process of its own.
 */
export async function run(options: LargeRestoreOptions = isQuick() ? QUICK : FULL): Promise<BenchRow[]> {
  return inTemporaryDirectory(async (directory) => {
    const start = firstUlidAt(Date.UTC(2026, 0, 1))
    const store = join(directory, 'store')
    await writeHistory(new FilesystemStore(store), start, firstStates(options), laterChunks(options, start))
    const usages: Record<Way, Usage[]> = { restore: [], read: [] }
    for (let i = 0; i < options.runs; i++) {
      for (const way of ['read', 'restore'] as const) {
        const usage = await inTemporaryDirectory((place) => measure(way, store, join(place, 'restored')))
        mustBe(usage.records === options.records, `${way} of ${usage.records} records`)
        usages[way].push(usage)
      }
    }
    const of = (way: Way, key: keyof Usage): number => median(usages[way].map((usage) => usage[key]))
    const what = `${options.records} records of ${options.recordBytes} B (and their raw image), ${options.events} events`
    const per = (way: Way, key: 'wallMs' | 'cpuMs'): number => (of(way, key) * 1000) / options.records
    const row = (name: string, key: 'wallMs' | 'cpuMs', target: string): BenchRow => ({
      name,
      ours: per('restore', key),
      peer: per('read', key),
      unit: 'us/record',
      ratio: per('read', key) / per('restore', key),
      target,
      note: `${what}; peer: the snapshot's members inflated, split and parsed`,
    })
    const memory = median(usages.restore.map(({ peakMb, baseMb }) => peakMb - baseMb))
    const note = `${what}; over ${of('restore', 'baseMb').toFixed(0)} MB at the start`
    return [
      row('restore of a large database', 'wallMs', '>= 0.33x'),
      row('the same, processor time', 'cpuMs', ''),
      { name: 'memory of it', ours: memory, peer: null, unit: 'MB', ratio: null, target: '<= 128', note },
    ]
  })
}

async function measure(way: Way, store: string, target: string): Promise<Usage> {
  const script = fileURLToPath(import.meta.url)
  const { stdout } = await promisify(execFile)(process.execPath, [script, '--as', way, store, target])
  return JSON.parse(stdout)
}

/** In the process that is measured, as a command runs. */
async function measured(way: string, store: string, target: string): Promise<Usage> {
  holdYoungSpace()
  collectBuffers()
  const tidemark = await Tidemark.open({ store: `file:${store}` })
  const [baseMb, started, before] = [statusMb('VmRSS'), performance.now(), process.cpuUsage()]
  const records = way === 'restore' ? await restored(tidemark, target) : await readAll(store)
  const { user, system } = process.cpuUsage(before)
  const wallMs = performance.now() - started
  await tidemark.close()
  return { records, wallMs, cpuMs: (user + system) / 1000, baseMb, peakMb: statusMb('VmHWM') }
}

async function restored(tidemark: Tidemark, target: string): Promise<number> {
  const { preview } = await tidemark.restoreAt('latest', { target })
  return (preview.resources.get('users')?.added ?? 0) - 1
}

async function readAll(directory: string): Promise<number> {
  const store = new FilesystemStore(directory)
  const { timeline } = await TimelineLog.open(store)
  let records = 0
  for (const { prefix } of timeline.snapshots) {
    const { manifest } = await SnapshotReader.open(store, prefix, null)
    for (const { records: file } of manifest.resources) {
      if (file !== null) records += await readFile(join(directory, prefix, file.file), file.members)
    }
  }
  return records
}

/** The lines of a file, as anybody would read it who knows where its members are. */
async function readFile(path: string, members: readonly (readonly [number, number, ...unknown[]])[]): Promise<number> {
  const file = await open(path)
  let records = 0
  for (const [offset, length] of members) {
    const bytes = Buffer.allocUnsafe(length)
    await file.read(bytes, 0, length, offset)
    const lines = gunzipSync(bytes)
    for (let at = 0; at < lines.length; ) {
      const end = lines.indexOf('\n', at)
      const record: { readonly id?: string } = JSON.parse(lines.toString('utf8', at, end))
      if (record.id !== undefined) records++
      at = end + 1
    }
  }
  await file.close()
  return records
}

if (import.meta.main) {
  const [, , as, way = '', store = '', target = ''] = process.argv
  if (as === '--as') console.log(JSON.stringify(await measured(way, store, target)))
  else {
    const base = isQuick() ? QUICK : FULL
    const [records, runs] = [numberFlag('--records', base.records), numberFlag('--runs', base.runs)]
    const events = numberFlag('--events', Math.ceil(records / 10))
    printRows(await run({ ...base, records, runs, events }))
  }
}
