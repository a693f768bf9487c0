import { segmentKey } from '../src/format/keys.ts'
import { chainStart } from '../src/format/segment/chain.ts'
import { type EncodedSegment, encodeSegment } from '../src/format/segment/encode.ts'
import type { StreamSegment } from '../src/model/timeline.ts'
import { newUlid } from '../src/model/ulid.ts'
import { MemoryStore } from '../src/store/memory.ts'
import { writeRun } from '../src/upkeep/compaction/write-run.ts'
import { type Chunk, dataset, encodeChunk } from './lib/dataset.ts'
import { BEFORE_DATASET } from './lib/history-store.ts'
import { isQuick, numberFlag } from './lib/options.ts'
import { type BenchRow, median, printRows } from './lib/row.ts'
import { mustBe, timed } from './lib/timing.ts'

/** `events` in segments of `chunk`, merged `runs` times after a merge that does not count. */
export interface CompactionBenchOptions {
  readonly events: number
  readonly chunk: number
  readonly runs: number
}

const DEFAULTS: CompactionBenchOptions = {
  events: numberFlag('--events', isQuick() ? 10_000 : 1_000_000),
  chunk: isQuick() ? 2_500 : 50_000,
  runs: numberFlag('--runs', isQuick() ? 1 : 3),
}
const MEMORY = 1024 * 1024 * 1024

/** Merging of segments into a run, read back and checked, against encoding them. */
export async function run({ events, chunk, runs }: CompactionBenchOptions = DEFAULTS): Promise<BenchRow[]> {
  const store = new MemoryStore()
  const units: StreamSegment[][] = []
  let previous = chainStart(BEFORE_DATASET)
  let last: Chunk | undefined
  const encode = (changes: Chunk): EncodedSegment =>
    encodeSegment(encodeChunk(changes), { stream: BEFORE_DATASET, level: 0, previous })
  for (const changes of dataset({ events, chunk })) {
    const { bytes, info } = encode(changes)
    previous = info.chain.value
    last = changes
    const entry = { key: segmentKey({ ...info, nonce: '00000000' }), ...info }
    await store.put(entry.key, bytes)
    units.push([entry])
  }
  const [merging, encoding]: [number[], number[]] = [[], []]
  for (let lap = 0; lap <= runs; lap++) {
    const request = { run: newUlid(lap), level: 1, erasures: 0, units, memory: MEMORY }
    const { cpuMs, result } = await timed(() => writeRun(store, request, () => {}))
    const merged = result.files.reduce((sum, file) => sum + file.events, 0)
    mustBe(merged === events, `${merged} of ${events} events were merged`)
    // As long as the merge: both meet the machine as it is, and the first of each is left out.
    const encoded = await timed(async () => {
      for (const _ of units) if (last !== undefined) encode(last)
    })
    if (lap === 0) continue
    merging.push(events / cpuMs)
    encoding.push((units.length * (last?.changes.length ?? 0)) / encoded.cpuMs)
  }
  const [ours, peer] = [median(merging), median(encoding)]
  return [
    {
      ...{ name: 'compaction', ours, peer, unit: 'k events/s', ratio: ours / peer, target: '>= 0.5' },
      note: `${events} events in ${units.length} segments into a run, read back and checked; peer: encoding segments`,
    },
  ]
}

if (import.meta.main) printRows(await run())
