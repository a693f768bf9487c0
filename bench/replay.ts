import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Ulid } from '../src/model/ulid.ts'
import { FilesystemStore } from '../src/store/filesystem.ts'
import { Contestant } from './lib/contestant.ts'
import { type Chunk, dataset } from './lib/dataset.ts'
import { BEFORE_DATASET, mergeHistory, writeHistory } from './lib/history-store.ts'
import { isQuick, numberFlag } from './lib/options.ts'
import { type BenchRow, median, printRows } from './lib/row.ts'
import { inTemporaryDirectory, mustBe } from './lib/timing.ts'

/** Events in segments of `chunk`, over `records`; each way runs `runs` times after one that does not count, in turn. */
export interface ReplayBenchOptions {
  readonly events: number
  readonly records: number
  readonly chunk: number
  readonly runs: number
}

const FULL: ReplayBenchOptions = { events: 1_000_000, records: 100_000, chunk: 50_000, runs: 5 }
const QUICK: ReplayBenchOptions = { events: 20_000, records: 2_000, chunk: 5_000, runs: 1 }
const WAYS = fileURLToPath(new URL('./lib/replay-ways.ts', import.meta.url))
/** The moment whose state is wanted, as a share of the events. */
const SHARE = 0.8

/** From so many on, it is as quick as DuckDB that is asked for, and nothing of ParqueDB's way: its objects take 10 GB. */
const LARGE_EVENTS = 5_000_000

/**
 * The state at 80 % of a history, as a map in JavaScript, against ParqueDB's way and against DuckDB: over segments as they
 * are sealed, and over what they are merged into.
 */
export async function run(options: ReplayBenchOptions = isQuick() ? QUICK : FULL): Promise<BenchRow[]> {
  return inTemporaryDirectory(async (directory) => {
    const isLarge = options.events >= LARGE_EVENTS
    const jsonl = new JsonLines(directory, !isLarge)
    const home = join(directory, 'store')
    const store = new FilesystemStore(home)
    const segments = await writeHistory(store, BEFORE_DATASET, [], jsonl.noting(dataset(options)))
    const moment = jsonl.ulidAt(SHARE)
    const paths = (entries: readonly { readonly key: string }[]): string[] => entries.map(({ key }) => join(home, key))
    const ours = new Contestant(WAYS, 'ours', [moment, home])
    const duck = (entries: readonly { readonly key: string }[]): Contestant =>
      new Contestant(WAYS, 'duckdb', [moment, ...paths(entries)])
    const naive = new Contestant(WAYS, 'parquedb', [moment, ...jsonl.files])
    const sealed = await race([ours, duck(segments), ...(isLarge ? [] : [naive])], options.runs)
    const merged = await race(
      [new Contestant(WAYS, 'ours', [moment, home]), duck(await mergeHistory(store))],
      options.runs,
    )
    mustBe(sealed.digest === merged.digest, `${sealed.digest}; ${merged.digest}`)
    const [byUs = 0, byDuckDb = 0, byParqueDb] = sealed.medians
    const [ofRuns = 0, ofRunsByDuckDb = 0] = merged.medians
    const what = `${options.events} events, ${options.records} records, state at 80 %, to a Map`
    const duckDb = `${what}; peer: arg_max, 1 thread, to a Map`
    const bound = isLarge ? '>= 1x' : '>= 1.3x'
    return [
      row('replay, DuckDB', byUs, byDuckDb, bound, duckDb),
      row(
        'replay of runs, DuckDB',
        ofRuns,
        ofRunsByDuckDb,
        bound,
        'the same, of merged segments; peer: of the same files',
      ),
      ...(byParqueDb === undefined ? [] : againstParqueDb(byUs, ofRuns, byParqueDb, what)),
    ]
  })
}

/** What they all found, and the median of each, in milliseconds. */
interface Race {
  readonly digest: string
  readonly medians: readonly number[]
}

async function race(contestants: readonly Contestant[], runs: number): Promise<Race> {
  const laps: number[][] = contestants.map(() => [])
  const digests = new Set<string>()
  try {
    for (let round = 0; round <= runs; round++) {
      for (const [i, contestant] of contestants.entries()) {
        const { ms, digest } = await contestant.lap()
        digests.add(digest)
        if (round > 0) laps[i]?.push(ms)
      }
    }
  } finally {
    for (const contestant of contestants) contestant.close()
  }
  const [digest = ''] = digests
  mustBe(digests.size === 1 && !digest.startsWith('0 '), [...digests].join('; '))
  return { digest, medians: laps.map(median) }
}

function againstParqueDb(byUs: number, ofRuns: number, peer: number, what: string): BenchRow[] {
  return [
    row('replay, ParqueDB', byUs, peer, '>= 20x', `${what}; peer: objects from JSON lines, grouped, folded`),
    row('replay of runs, ParqueDB', ofRuns, peer, '>= 20x', 'the same, of merged segments'),
  ]
}

function row(name: string, ours: number, peer: number, target: string, note: string): BenchRow {
  return { name, ours, peer, unit: 'ms', ratio: peer / ours, target, note }
}

/** ParqueDB's event log: a file of JSON lines for each segment, the images as objects in the event. */
class JsonLines {
  readonly files: string[] = []
  readonly #directory: string
  readonly #isWritten: boolean
  readonly #ulids: Ulid[] = []

  /** `isWritten`: whether somebody reads them; the stamps are noted in any case. */
  constructor(directory: string, isWritten: boolean) {
    this.#directory = directory
    this.#isWritten = isWritten
  }

  *noting(chunks: Iterable<Chunk>): Generator<Chunk> {
    for (const chunk of chunks) {
      if (this.#isWritten) this.#write(chunk)
      for (const ulid of chunk.ulids) this.#ulids.push(ulid)
      yield chunk
    }
  }

  #write({ changes, ulids }: Chunk): void {
    const path = join(this.#directory, `seg-${this.files.length}.jsonl`)
    writeFileSync(path, changes.map((change, i) => lineOf(change, ulids[i] ?? '')).join('\n'))
    this.files.push(path)
  }

  ulidAt(share: number): Ulid {
    return this.#ulids[Math.floor((this.#ulids.length - 1) * share)] ?? ''
  }
}

function lineOf({ operation, resource, id, before, after, context }: Chunk['changes'][number], ulid: Ulid): string {
  const text = (json: Uint8Array | undefined): string => (json === undefined ? 'null' : Buffer.from(json).toString())
  const head = JSON.stringify({ id: ulid, op: operation, target: `${resource}:${id}`, actor: context.actor })
  return `${head.slice(0, -1)},"before":${text(before?.json)},"after":${text(after?.json)}}`
}

if (import.meta.main) {
  const base = isQuick() ? QUICK : FULL
  const [events, records] = [numberFlag('--events', base.events), numberFlag('--records', base.records)]
  printRows(await run({ ...base, events, records, runs: numberFlag('--runs', base.runs) }))
}
