import { PerformanceObserver } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Bytes of buffers, above what the last collection has left, from which on garbage is collected. */
const MOST_GARBAGE = 24 * 1024 * 1024
/** The same where a piece of work is done, and nearly all of them are garbage. */
const MOST_LEFT = 12 * 1024 * 1024

/** Where objects count, at least that part of what is in use: while that grows, it is not gone through at every step. */
const GROWTH = 0.25

let isDone = false
let collect: (() => void) | null = null
/** Bytes that the last collection has left, or fewer. */
let left = 0
let mostGarbage = MOST_GARBAGE
let countsObjects = false

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
    const used = usedBytes()
    left = Math.min(left, used)
    if (used - left >= Math.max(mostGarbage, countsObjects ? left * GROWTH : 0)) collectNow()
  })
  observer.observe({ entryTypes: ['gc'] })
}

/**
 * From now on the garbage of objects counts as well, and all of it is collected from so many bytes on: for a thread that works
 * within a budget. V8 by itself lets the heap of a thread grow to several times what is in use. Nothing in a thread in which
 * `collectBuffers` was not called.
 */
export function collectObjects(bytes: number): void {
  countsObjects = true
  mostGarbage = bytes
  left = Math.min(left, usedBytes())
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
  left = usedBytes()
}

function usedBytes(): number {
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return countsObjects ? arrayBuffers + heapUsed : arrayBuffers
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
