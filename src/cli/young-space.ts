import { PerformanceObserver } from 'node:perf_hooks'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/** Bytes from which on the space of young objects does not grow. */
const ENOUGH = 8 * 1024 * 1024

/**
 * Where millions of records pass, V8 lets the space of young objects grow to more than 100 MB, which makes nothing faster: in
 * this process it does not grow any further once it is large enough. For a process of one's own: the flag is that of all of it.
 */
export function holdYoungSpace(): void {
  if (holdIfEnough()) return
  const observer = new PerformanceObserver(() => {
    if (holdIfEnough()) observer.disconnect()
  })
  observer.observe({ entryTypes: ['gc'] })
}

/** What a process loads makes it large enough, mostly: then it is held before a collection can double it. */
function holdIfEnough(): boolean {
  const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')
  if (young === undefined || young.space_size < ENOUGH) return false
  setFlagsFromString('--semi-space-growth-factor=1')
  return true
}
