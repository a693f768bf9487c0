import { setTimeout } from 'node:timers/promises'
import { parentPort } from 'node:worker_threads'
import type { FromMerge, ToMerge } from '../../src/upkeep/compaction/merge-thread.ts'

/** Buffers that were collected are freed beside what goes on. */
const [LOOKS, EVERY_MS] = [20, 10]

/** The merging thread; of every run it tells how many bytes of buffers there are when it has begun, as if that were a file. */
await import('../../src/upkeep/compaction/merge-worker.ts')
parentPort?.on('message', async (message: ToMerge) => {
  if (!('request' in message)) return
  let least = Number.POSITIVE_INFINITY
  for (let look = 0; look < LOOKS; look++) {
    await setTimeout(EVERY_MS)
    least = Math.min(least, process.memoryUsage().arrayBuffers)
  }
  const told: FromMerge = { file: 0, key: `buffers/${least}` }
  parentPort?.postMessage(told)
})
