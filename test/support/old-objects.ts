import { setImmediate } from 'node:timers/promises'
import { collectBuffers, collectObjects } from '../../src/base/collect-buffers.ts'

/** A process in which objects become garbage when they are old: prints how many bytes of the heap were in use at most. */
const [LIVING, ROUNDS, OBJECTS] = [40, 1000, 3000]
collectBuffers()
if (process.argv[2] === 'held') collectObjects(8 * 1024 * 1024)
const living: (readonly { readonly n: number; readonly text: string }[])[] = []
let most = 0
for (let round = 0; round < ROUNDS; round++) {
  living[round % LIVING] = Array.from({ length: OBJECTS }, (_, n) => ({ n: n + 0.5, text: `object ${round} ${n}` }))
  most = Math.max(most, process.memoryUsage().heapUsed)
  await setImmediate()
}
console.log(most)
