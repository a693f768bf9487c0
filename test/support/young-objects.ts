import { setImmediate } from 'node:timers/promises'
import { getHeapSpaceStatistics } from 'node:v8'
import { holdYoungSpace } from '../../src/cli/young-space.ts'

/** A process in which many objects live a while: prints how large the space of young ones became, in bytes. */
if (process.argv[2] === 'held') holdYoungSpace()
const living: { readonly n: number; readonly text: string }[] = []
let most = 0
for (let round = 0; round < 150; round++) {
  for (let n = 0; n < 20_000; n++) living[n % 20_000] = { n, text: `${round} ${n}` }
  most = Math.max(most, getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')?.space_size ?? 0)
  await setImmediate()
}
console.log(most)
