import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Side, SideResult } from './lib/encode-side.ts'
import { isQuick, numberFlag } from './lib/options.ts'
import { type BenchRow, median, printRows } from './lib/row.ts'

/** `events` in segments of 50,000; of each the sides encode `runs` times, one side after the other. */
export interface SegmentBenchOptions {
  readonly events: number
  readonly runs: number
}

const DEFAULTS: SegmentBenchOptions = {
  events: numberFlag('--events', isQuick() ? 2_000 : 1_000_000),
  runs: numberFlag('--runs', isQuick() ? 1 : 5),
}

/** Encoding of segments, from changes to Parquet bytes, against the way that parquet-wasm's README documents, and DuckDB. */
export async function run({ events, runs }: SegmentBenchOptions = DEFAULTS): Promise<BenchRow[]> {
  const [ours, peer, typed, duckDb] = (['ours', 'peer', 'typed', 'duckdb'] as const).map(
    (side) => new SideThread(side, events),
  )
  if (ours === undefined || peer === undefined || typed === undefined || duckDb === undefined) return []
  const sides = [ours, peer, typed, duckDb]
  while ((await Promise.all(sides.map((side) => side.next()))).every(Boolean)) {
    // Sustained work, as of a sealer under load: a side's first run after its pause finds its memory cold, and is left out.
    for (const side of sides) for (let i = 0; i <= runs; i++) await side.run(i > 0)
  }
  await Promise.all(sides.map((side) => side.close()))
  const rates = { name: 'segment encode', ours: ours.rate, unit: 'k events/s' }
  return [
    {
      ...rates,
      peer: peer.rate,
      ratio: ours.rate / peer.rate,
      target: '>= 2.5',
      note: 'peer: vectorFromArray, tableToIPC, writeParquet zstd; one thread each',
    },
    {
      ...rates,
      name: 'segment encode, typed peer',
      peer: typed.rate,
      ratio: ours.rate / typed.rate,
      target: '-',
      note: 'peer: the same with UTF-8 types spelled out',
    },
    {
      ...rates,
      name: 'segment encode, DuckDB',
      peer: duckDb.rate,
      ratio: ours.rate / duckDb.rate,
      target: '>= 1.3',
      note: 'peer: typed chunks appended, COPY sorted, zstd 1, 1 thread, without a hash chain',
    },
    {
      name: 'segment size',
      ours: ours.bytes / ours.events,
      peer: peer.bytes / peer.events,
      unit: 'B/event',
      ratio: ours.bytes / ours.imageBytes,
      target: '<= 0.17',
      note: 'ratio: of the bytes of before- and after-images',
    },
  ]
}

/** A side of the bench and what it measured. */
class SideThread {
  bytes = 0
  events = 0
  imageBytes = 0
  readonly #rates: number[] = []
  readonly #worker: Worker
  #seen = false

  constructor(side: Side, events: number) {
    this.#worker = new Worker(new URL('./lib/encode-side.ts', import.meta.url), { workerData: { side, events } })
  }

  /** Thousands of events a second of the processor. */
  get rate(): number {
    return median(this.#rates)
  }

  async next(): Promise<boolean> {
    this.#seen = false
    return this.#ask<boolean>('next')
  }

  async run(counts: boolean): Promise<void> {
    const { cpuMs, bytes, events, imageBytes } = await this.#ask<SideResult>('run')
    if (counts) this.#rates.push(events / cpuMs)
    if (this.#seen) return
    this.#seen = true
    this.bytes += bytes
    this.events += events
    this.imageBytes += imageBytes
  }

  async close(): Promise<void> {
    await this.#worker.terminate()
  }

  async #ask<T>(message: 'next' | 'run'): Promise<T> {
    this.#worker.postMessage(message)
    const [answer] = await once(this.#worker, 'message')
    return answer
  }
}

if (import.meta.main) printRows(await run())
