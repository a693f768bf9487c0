import { PerformanceObserver } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Bytes of buffers, above what the last collection has left, from which on garbage is collected. */
const MOST_GARBAGE = 24 * 1024 * 1024
/** The same where a piece of work is done, and nearly all of them are garbage. */
const MOST_LEFT = 4 * 1024 * 1024

let isDone = false
let collect: (() => void) | null = null
/** Bytes of buffers that the last collection has left, or fewer. */
let left = 0

/** Whether `collectBuffers` was called in this thread: then threads that it starts do the same. */
export function isCollecting(): boolean {
  return isDone
}

/**
 * V8 collects the garbage of old buffers when there are 64 MB more of them than were in use: a third of all the memory that a
 * large restore takes. In this thread it is collected earlier, for some ten milliseconds each time. For a process of one's own:
 * the flag is that of all of it.
 */
export function collectBuffers(): void {
  isDone = true
  // Whoever works has collections of young objects, many in a second: no clock is needed.
  const observer = new PerformanceObserver(() => {
    const used = bufferBytes()
    left = Math.min(left, used)
    if (used - left >= MOST_GARBAGE) collectNow()
  })
  observer.observe({ entryTypes: ['gc'] })
}

/**
 * To be called where a piece of work is done, before the next one: what it has left is collected where that is worth it, so that
 * it is not there beside what comes. Nothing in a thread in which `collectBuffers` was not called.
 */
export function collectLeft(): void {
  if (isDone && bufferBytes() >= MOST_LEFT) collectNow()
}

function collectNow(): void {
  collect ??= collector()
  collect()
  left = bufferBytes()
}

/** V8's own, from a context that is made for it: that takes milliseconds, which a command without many buffers does not spend. */
function collector(): () => void {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  return typeof collect === 'function' ? () => collect() : () => {}
}

function bufferBytes(): number {
  return process.memoryUsage().arrayBuffers
}
