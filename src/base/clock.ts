/** The only place that reads time. Tests use a manual clock, which also runs backwards. */
export interface Clock {
  /** Milliseconds since the Unix epoch, UTC, with a fraction where the machine has one. */
  now(): number
  /** Resolves after `ms` milliseconds. Somebody waits for what comes then: the process stays alive for it. */
  sleep(ms: number): Promise<void>
  /** Resolves after `ms` milliseconds, or at once when `signal` aborts. Work that can also be done later: the process may end. */
  idle(ms: number, signal: AbortSignal): Promise<void>
}

/** Wall time at which this process's monotonic timer would have been 0, as far as readings of both have shown. */
let origin: number = performance.timeOrigin

/**
 * The machine's clock. The wall clock has whole milliseconds; the monotonic timer adds the fraction, which orders the
 * events of several processes on one machine. Every reading narrows down how the two fit together: the true time is
 * never before the millisecond that the wall clock shows, nor after its end.
 */
export const systemClock: Clock = {
  now: () => {
    const elapsed = performance.now()
    const wall = Date.now()
    const precise = Math.min(Math.max(origin + elapsed, wall), wall + 0.999)
    origin = precise - elapsed
    return precise
  },
  sleep: (ms) =>
    new Promise((resolve) => {
      setTimeout(resolve, ms)
    }),
  idle: (ms, signal) =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve()
      const done = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      timer.unref()
      signal.addEventListener('abort', done, { once: true })
    }),
}
