import { PerformanceObserver } from 'node:perf_hooks'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/** Bytes from which on the space of young objects does not grow. */
const ENOUGH = 16 * 1024 * 1024

/**
 * Where millions of records pass, V8 lets the space of young objects grow to more than 100 MB, which makes nothing faster: in
 * this process it does not grow any further once it is large enough. For a process of one's own: the flag is that of all of it.
 */
export function holdYoungSpace(): void {
  const observer = new PerformanceObserver(() => {
    const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')
    if (young === undefined || young.space_size < ENOUGH) return
    observer.disconnect()
    setFlagsFromString('--semi-space-growth-factor=1')
  })
  observer.observe({ entryTypes: ['gc'] })
}
