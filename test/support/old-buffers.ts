import { setImmediate } from 'node:timers/promises'
import { collectBuffers } from '../../src/base/collect-buffers.ts'

/** A process in which buffers become garbage when they are old, and many objects besides: prints how many bytes of buffers there were at most. */
if (process.argv[2] === 'held') collectBuffers()
const BYTES = 256 * 1024
const living: Buffer[] = []
const young: { readonly n: number; readonly text: string }[] = []
let most = 0
for (let round = 0; round < 750; round++) {
  living[round % 60] = Buffer.alloc(BYTES)
  for (let n = 0; n < 20_000; n++) young[n % 1000] = { n, text: `${round} ${n}` }
  most = Math.max(most, process.memoryUsage().arrayBuffers)
  await setImmediate()
}
console.log(most)
