import { PerformanceObserver } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Bytes of buffers, above what the last collection has left, from which on garbage is collected. */
const MOST_GARBAGE = 24 * 1024 * 1024

/**
 * V8 collects the garbage of old buffers when there are 64 MB more of them than were in use: a third of all the memory that a
 * large restore takes. In this process it is collected earlier, for some ten milliseconds each time. For a process of one's own:
 * the flag is that of all of it.
 */
export function collectBuffers(): void {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  if (typeof collect !== 'function') return
  let left = 0
  // Whoever works has collections of young objects, many in a second: no clock is needed.
  const observer = new PerformanceObserver(() => {
    const used = bufferBytes()
    left = Math.min(left, used)
    if (used - left < MOST_GARBAGE) return
    collect()
    left = bufferBytes()
  })
  observer.observe({ entryTypes: ['gc'] })
}

function bufferBytes(): number {
  return process.memoryUsage().arrayBuffers
}
