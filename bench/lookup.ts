import { join } from 'node:path'
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import { text } from '../src/base/bytes.ts'
import type { Item } from '../src/model/event.ts'
import type { SegmentEntry } from '../src/model/timeline.ts'
import { firstUlidAt } from '../src/model/ulid.ts'
import { findEvents } from '../src/restore/lookup.ts'
import { FilesystemStore } from '../src/store/filesystem.ts'
import { TimelineLog } from '../src/timeline/log.ts'
import { segmentsBetween } from '../src/timeline/segments.ts'
import { CountingStore } from '../test/support/stores.ts'
import { type Cost, costOf } from './lib/cost.ts'
import { type Chunk, dataset } from './lib/dataset.ts'
import { BEFORE_DATASET, coldSources, mergeHistory, writeHistory } from './lib/history-store.ts'
import { isQuick, numberFlag } from './lib/options.ts'
import { type BenchRow, median, printRows } from './lib/row.ts'
import { inTemporaryDirectory, mustBe } from './lib/timing.ts'

/** Events in runs of at most `inRun`, over `records`; each record is looked for `laps` times after one that does not count. */
export interface LookupBenchOptions {
  readonly events: number
  readonly records: number
  readonly inRun: number
  readonly laps: number
}

const FULL: LookupBenchOptions = { events: 5_000_000, records: 500_000, inRun: 1_000_000, laps: 9 }
const QUICK: LookupBenchOptions = { events: 20_000, records: 2_000, inRun: 10_000, laps: 1 }
/** Events of the record, at most. */
const RECORDS = [
  ['middle', 40],
  ['rare', 4],
] as const

/**
 * The history of one record in merged segments, with nothing known: catalogue, indexes and rows, against DuckDB on the same
 * Parquet files, both on one core.
 */
export async function run(options: LookupBenchOptions = isQuick() ? QUICK : FULL): Promise<BenchRow[]> {
  return inTemporaryDirectory(async (directory) => {
    const store = new CountingStore(new FilesystemStore(directory))
    const counts = new Map<string, { item: Item; events: number }>()
    const chunk = Math.min(50_000, options.inRun / 2)
    await writeHistory(store, BEFORE_DATASET, [], noting(dataset({ ...options, chunk }), counts))
    const segments = await mergeHistory(store, options.inRun)
    const total = segments.reduce((sum, { bytes }) => sum + bytes, 0)
    const runs = new Set(segments.map((entry) => ('run' in entry ? entry.run.key : entry.key))).size
    const duckDb = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect()
    const byCount = [...counts.values()].sort((a, b) => b.events - a.events)
    const rows: BenchRow[] = []
    for (const [name, most] of RECORDS) {
      const chosen = byCount.find(({ events }) => events <= most)
      if (chosen === undefined) throw new Error(`no record has at most ${most} events`)
      const peer = (): Promise<readonly string[]> => byDuckDb(duckDb, directory, segments, chosen.item)
      const { ours, theirs } = await race(store, () => byUs(store, chosen.item), peer, options.laps)
      const kib = Math.ceil(ours.read / 1024)
      const note = `${chosen.events} events in ${runs} runs of ${segments.length} files; ${kib} of ${Math.ceil(total / 1024)} KiB in ${ours.requests} requests; peer: DuckDB`
      const [mine, other] = [ours.ms, theirs]
      rows.push({
        ...{ name: `lookup, ${name} record`, ours: mine, peer: other, unit: 'ms of cpu', ratio: other / mine },
        ...{ target: '>= 8x', note },
      })
      rows.push({
        name: `lookup, ${name} record, read`,
        ours: kib,
        peer: null,
        unit: 'KiB',
        ratio: null,
        target: '<= 200',
        note,
      })
    }
    return rows
  })
}

/** Both by turns: the median of the processor's time, and what ours read. */
async function race(
  store: CountingStore,
  ours: () => Promise<readonly string[]>,
  peer: () => Promise<readonly string[]>,
  laps: number,
): Promise<{ readonly ours: Cost; readonly theirs: number }> {
  const [mine, theirs]: [Cost[], number[]] = [[], []]
  for (let lap = 0; lap <= laps; lap++) {
    const one = await costOf(store, ours)
    const other = await costOf(store, peer)
    mustBe(one.result.length > 0 && one.result.join('\n') === other.result.join('\n'), 'the history of a record')
    if (lap === 0) continue
    mine.push(one)
    theirs.push(other.ms)
  }
  const [first] = mine
  if (first === undefined) throw new Error('nothing was measured')
  return { ours: { ...first, ms: median(mine.map(({ ms }) => ms)) }, theirs: median(theirs) }
}

/** Stamp and image after every event. */
async function byUs(store: CountingStore, item: Item): Promise<readonly string[]> {
  const { timeline } = await TimelineLog.open(store)
  const sources = coldSources(store)
  const segments = await segmentsBetween(sources.nodes, timeline.segments, firstUlidAt(0), firstUlidAt(2 ** 48 - 1))
  const events: string[] = []
  for await (const { stamp, after } of findEvents(sources, segments, item))
    events.push(`${stamp.ulid} ${after === null ? null : text(after.json)}`)
  return events
}

async function byDuckDb(
  connection: DuckDBConnection,
  directory: string,
  segments: readonly SegmentEntry[],
  { kind, resource, id }: Item,
): Promise<readonly string[]> {
  const list = segments.map(({ key }) => `'${join(directory, key)}'`).join(',')
  const reader = await connection.runAndReadAll(
    `SELECT ulid, after FROM read_parquet([${list}])
     WHERE record_id = '${id}' AND resource = '${resource}' AND kind = '${kind}' ORDER BY ulid`,
  )
  return reader.getRows().map(([ulid, after]) => `${ulid} ${after}`)
}

function* noting(chunks: Iterable<Chunk>, counts: Map<string, { item: Item; events: number }>): Generator<Chunk> {
  for (const chunk of chunks) {
    for (const { kind, resource, id } of chunk.changes) {
      const known = counts.get(id)
      if (known === undefined) counts.set(id, { item: { kind, resource, id }, events: 1 })
      else known.events++
    }
    yield chunk
  }
}

if (import.meta.main) {
  const base = isQuick() ? QUICK : FULL
  const [events, records] = [numberFlag('--events', base.events), numberFlag('--records', base.records)]
  printRows(await run({ ...base, events, records }))
}
