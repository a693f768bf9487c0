import { setImmediate } from 'node:timers/promises'
import { zstdCompress, zstdDecompress } from '../../src/format/segment/zstd.ts'

/** A process that decompresses many pages, and looks at each for a moment: prints how many bytes of buffers there were at most. */
const BYTES = 256 * 1024
const page = Buffer.from(zstdCompress(Buffer.alloc(BYTES, 'a page ')))
let most = 0
for (let round = 0; round < 1000; round++) {
  const body = zstdDecompress(page, BYTES)
  const values = Array.from({ length: 5000 }, (_, at) => ({ at, value: body.subarray(at, at + 1) }))
  most = Math.max(most, values.length && process.memoryUsage().arrayBuffers)
  await setImmediate()
}
console.log(most)
