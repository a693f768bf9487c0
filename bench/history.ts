import type { Event, Item } from '../src/model/event.ts'
import { firstUlidAt, type Ulid } from '../src/model/ulid.ts'
import { findEvents } from '../src/restore/lookup.ts'
import { FilesystemStore } from '../src/store/filesystem.ts'
import { TimelineLog } from '../src/timeline/log.ts'
import { segmentsBetween } from '../src/timeline/segments.ts'
import { CountingStore } from '../test/support/stores.ts'
import { type Chunk, dataset } from './lib/dataset.ts'
import { BEFORE_DATASET, coldSources, writeHistory } from './lib/history-store.ts'
import { isQuick, numberFlag } from './lib/options.ts'
import { type BenchRow, printRows } from './lib/row.ts'
import { inTemporaryDirectory, mustBe, timed } from './lib/timing.ts'

/** Events in segments of `chunk`, over `records`. */
export interface HistoryBenchOptions {
  readonly events: number
  readonly records: number
  readonly chunk: number
}

const FULL: HistoryBenchOptions = { events: 1_000_000, records: 100_000, chunk: 50_000 }
const QUICK: HistoryBenchOptions = { events: 20_000, records: 2_000, chunk: 5_000 }

/** The bytes that the whole history of one record costs, with nothing cached: timeline and footers included. */
export async function run(options: HistoryBenchOptions = isQuick() ? QUICK : FULL): Promise<BenchRow[]> {
  return inTemporaryDirectory(async (directory) => {
    const store = new CountingStore(new FilesystemStore(directory))
    const stamps = new Map<string, { item: Item; ulids: Ulid[] }>()
    const segments = await writeHistory(store, BEFORE_DATASET, [], noting(dataset(options), stamps))
    const total = segments.reduce((sum, { bytes }) => sum + bytes, 0)
    const byCount = [...stamps.values()].sort((a, b) => b.ulids.length - a.ulids.length)
    const rows: BenchRow[] = []
    for (const [name, most, target] of [
      // The hottest record of the data set has 8 % of all events: its history is no small part of the store.
      ['hot', Number.POSITIVE_INFINITY, '-'],
      ['middle', 40, '<= 5'],
      ['rare', 4, '<= 5'],
    ] as const) {
      const chosen = byCount.find(({ ulids }) => ulids.length <= most)
      if (chosen === undefined) throw new Error(`no record has at most ${most} events`)
      store.reset()
      const { ms, result } = await timed(() => historyOf(store, chosen.item))
      mustBe(sameStamps(result, chosen.ulids), `history of ${chosen.item.id}`)
      const share = ((result.length / options.events) * 100).toPrecision(2)
      const note = `${result.length} events, ${share} % of all; ${store.bytesRead} of ${total} bytes in ${store.calls.get} reads, ${ms.toFixed(0)} ms`
      const ours = (store.bytesRead / total) * 100
      rows.push({
        name: `history, ${name} record`,
        ours,
        peer: null,
        unit: '% read',
        ratio: null,
        target,
        note,
      })
    }
    return rows
  })
}

function* noting(chunks: Iterable<Chunk>, stamps: Map<string, { item: Item; ulids: Ulid[] }>): Generator<Chunk> {
  for (const chunk of chunks) {
    for (const [i, { kind, resource, id }] of chunk.changes.entries()) {
      const known = stamps.get(id)
      if (known === undefined) stamps.set(id, { item: { kind, resource, id }, ulids: [chunk.ulids[i] ?? ''] })
      else known.ulids.push(chunk.ulids[i] ?? '')
    }
    yield chunk
  }
}

async function historyOf(store: CountingStore, item: Item): Promise<Event[]> {
  const { timeline } = await TimelineLog.open(store)
  const sources = coldSources(store)
  const segments = await segmentsBetween(sources.nodes, timeline.segments, firstUlidAt(0), firstUlidAt(2 ** 48 - 1))
  const events: Event[] = []
  for await (const event of findEvents(sources, segments, item)) events.push(event)
  return events
}

function sameStamps(events: readonly Event[], ulids: readonly Ulid[]): boolean {
  return events.length === ulids.length && events.every(({ stamp }, i) => stamp.ulid === ulids[i])
}

if (import.meta.main) {
  const base = isQuick() ? QUICK : FULL
  const [events, records] = [numberFlag('--events', base.events), numberFlag('--records', base.records)]
  printRows(await run({ ...base, events, records }))
}
