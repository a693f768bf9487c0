import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { CronManager } from 's3db.js/concerns/cron-manager'
import type { S3db } from 's3db.js/lite'
import { BackupPlugin } from 's3db.js/plugins/backup.plugin'
import { Tidemark } from '../src/engine/tidemark.ts'
import { createSource } from '../src/s3db/source.ts'
import { createUsers, openDatabase, user } from './lib/application.ts'
import { isQuick, numberFlag } from './lib/options.ts'
import { type BenchRow, median, printRows } from './lib/row.ts'
import { inTemporaryDirectory, mustBe, timed } from './lib/timing.ts'

/** Records in the one resource; updates before each later snapshot; each way runs `runs` times, in turn. */
export interface SnapshotBenchOptions {
  readonly records: number
  readonly updates: number
  readonly runs: number
}

const FULL: SnapshotBenchOptions = { records: 100_000, updates: 2_000, runs: 5 }
const QUICK: SnapshotBenchOptions = { records: 2_000, updates: 100, runs: 1 }

/** What a record costs, in microseconds, in each way to copy the database. */
interface Costs {
  readonly baseline: number[]
  readonly snapshot: number[]
  readonly restore: number[]
  readonly peer: number[]
}

/** Snapshots, and a restore into a directory, against s3db.js's BackupPlugin on the same database. */
export async function run(options: SnapshotBenchOptions = isQuick() ? QUICK : FULL): Promise<BenchRow[]> {
  return inTemporaryDirectory(async (directory) => {
    const db = await openDatabase('memory', directory)
    const users = await createUsers(db)
    for (let i = 0; i < options.records; i += 500) {
      await Promise.all(Array.from({ length: Math.min(500, options.records - i) }, (_, j) => users.insert(user(i + j))))
    }
    const costs: Costs = { baseline: [], snapshot: [], restore: [], peer: [] }
    const official = await officialBackup(db, directory)
    let exported = 0
    for (let i = 0; i < options.runs; i++) {
      const { ms, result } = await timed(() => official.backup('full', { resources: ['users'] }))
      exported = await exportedRecords(join(directory, 'official'), result.id)
      costs.peer.push((ms * 1000) / exported)
      await ours(db, join(directory, `ours-${i}`), i, options, costs)
    }
    await db.disconnect()
    const note = `${options.records} records in one resource; peer: BackupPlugin, which wrote ${exported} of them`
    return [
      row('baseline of the live database', costs.baseline, costs.peer, note),
      row('snapshot from history', costs.snapshot, costs.peer, `${note}; ${options.updates} updates since`),
      row('restore into a directory', costs.restore, costs.peer, note),
    ]
  })
}

function row(name: string, ours: readonly number[], peers: readonly number[], note: string): BenchRow {
  const [own, peer] = [median(ours), median(peers)]
  return { name, ours: own, peer, unit: 'us/record', ratio: peer / own, target: '>= 5x', note }
}

async function ours(
  db: S3db,
  directory: string,
  round: number,
  { records, updates }: SnapshotBenchOptions,
  costs: Costs,
): Promise<void> {
  const options = { store: `file:${join(directory, 'store')}`, journal: join(directory, 'journal') }
  const tidemark = await Tidemark.open({ ...options, source: createSource(db) })
  const baseline = await timed(async () => {
    await tidemark.start()
    await tidemark.flush()
  })
  const users = await db.getResource('users')
  await Promise.all(Array.from({ length: updates }, (_, i) => users.update(user(i).id, user(i, round + 1))))
  await tidemark.flush()
  const snapshot = await timed(() => tidemark.snapshot())
  const restored = await timed(() => tidemark.restoreAt('latest', { target: join(directory, 'restored') }))
  // The plugin of the peer has a resource of its own, with a record for each backup.
  mustBe(snapshot.result.records === records + round + 1, `the snapshot has ${snapshot.result.records} records`)
  const { added } = restored.result.preview.resources.get('users') ?? { added: 0 }
  mustBe(added === records + 1, `${added} of the records and the schema were restored`)
  await tidemark.close()
  costs.baseline.push((baseline.ms * 1000) / records)
  costs.snapshot.push((snapshot.ms * 1000) / records)
  costs.restore.push((restored.ms * 1000) / records)
}

/** s3db.js declares these wider in the class than in what `usePlugin` takes. */
class OfficialBackup extends BackupPlugin {
  declare instanceName: string
  declare cronManager: CronManager

  override install(database: object): Promise<void> {
    return super.install(database as S3db)
  }
}

async function officialBackup(db: S3db, directory: string): Promise<OfficialBackup> {
  const config = { path: join(directory, 'official'), logLevel: 'silent' }
  const tempDir = join(directory, 'temporary')
  const plugin = new OfficialBackup({ driver: 'filesystem', config, tempDir, compression: 'gzip', logLevel: 'silent' })
  await db.usePlugin(plugin)
  return plugin
}

/** How many records a backup holds, as its own metadata says: the copy of the records in it cannot be read. */
async function exportedRecords(directory: string, id: string): Promise<number> {
  const found = (await readdir(directory, { recursive: true })).find((path) => path.endsWith(`${id}.backup`))
  const archive = JSON.parse(gunzipSync(await readFile(join(directory, found ?? id))).toString('utf8'))
  const metadata = archive.files.find((file: { readonly name: string }) => file.name === 's3db.json')
  return JSON.parse(metadata.content).resources.users.recordCount
}

if (import.meta.main) {
  const base = isQuick() ? QUICK : FULL
  printRows(
    await run({ ...base, records: numberFlag('--records', base.records), runs: numberFlag('--runs', base.runs) }),
  )
}
