/** The only place that reads time. Tests use a manual clock, which also runs backwards. */
export interface Clock {
  /** Milliseconds since the Unix epoch, UTC, with a fraction where the machine has one. */
  now(): number
  /** Resolves after `ms` milliseconds, or at once when `signal` aborts. Never keeps the process alive. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

/** The machine's clock. `performance` adds the microseconds that order events of several processes on one machine. */
export const systemClock: Clock = {
  now: () => {
    // The wall clock is the authority (it follows adjustments); the fraction comes from the monotonic timer.
    const wall = Date.now()
    const precise = performance.timeOrigin + performance.now()
    return Math.abs(precise - wall) < 2 ? precise : wall
  },
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve()
      const done = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      timer.unref()
      signal?.addEventListener('abort', done, { once: true })
    }),
}
