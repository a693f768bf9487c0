import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { dataset, encodeChunk } from '../../bench/lib/dataset.ts'
import { collectBuffers } from '../../src/base/collect-buffers.ts'
import { segmentKey } from '../../src/format/keys.ts'
import { chainStart } from '../../src/format/segment/chain.ts'
import { encodeSegment } from '../../src/format/segment/encode.ts'
import type { SegmentEntry } from '../../src/model/timeline.ts'
import { MIN_ULID, newUlid } from '../../src/model/ulid.ts'
import { MemoryStore } from '../../src/store/memory.ts'
import { MergeThread } from '../../src/upkeep/compaction/merge-thread.ts'

/**
 * A process that merges run after run in a thread, which tells (see `merge-leavings-worker.ts`) how many bytes of buffers there
 * are in it when a run begins; prints the most.
 */
if (process.argv[2] === 'collected') collectBuffers()
const [RUNS, SEGMENTS, EVENTS] = [6, 4, 5000]
let begun = Promise.withResolvers<void>()

/** Nothing is read before it is told. */
class WaitingStore extends MemoryStore {
  override async get(...asked: Parameters<MemoryStore['get']>): Promise<Uint8Array> {
    await begun.promise
    return super.get(...asked)
  }
}

const store = new WaitingStore()
const units: SegmentEntry[][] = []
let previous = chainStart(MIN_ULID)
for (const changes of dataset({ events: SEGMENTS * EVENTS, chunk: EVENTS })) {
  const { bytes, info } = encodeSegment(encodeChunk(changes), { stream: MIN_ULID, level: 0, previous })
  previous = info.chain.value
  const key = segmentKey({ ...info, nonce: '00000000' })
  await store.put(key, bytes)
  units.push([{ key, ...info }])
}
const told: number[] = []
const thread = new MergeThread(store, pathToFileURL(join(import.meta.dirname, 'merge-leavings-worker.ts')))
for (let run = 0; run < RUNS; run++) {
  begun = Promise.withResolvers()
  const memory = 128 * 1024 * 1024
  await thread.write({ run: newUlid(run), level: 1, erasures: 0, units, memory }, (key) => {
    const bytes = /^buffers\/(\d+)$/.exec(key)?.[1]
    if (bytes === undefined) return
    told.push(Number(bytes))
    begun.resolve()
  })
}
await thread.end()
if (told.length !== RUNS) throw new Error(`${told.length} runs were begun`)
console.log(Math.max(...told))
