import type { CountingStore } from '../../test/support/stores.ts'
import { cpuMs, threadMs } from './timing.ts'

/** What something cost: milliseconds of the processor and on the clock, bytes, requests to the store. */
export interface Cost {
  readonly ms: number
  /** Of this thread alone, outside of the kernel: for so long its code has held the event loop. */
  readonly threadMs: number
  readonly wallMs: number
  readonly read: number
  readonly written: number
  readonly requests: number
}

/** What one size costs, by what was measured; `size` is the size. */
export type GrowthRow = Readonly<Record<string, number> & { size: number }>

/** What `act` costs, and its result. */
export async function costOf<T>(store: CountingStore, act: () => Promise<T>): Promise<Cost & { readonly result: T }> {
  store.reset()
  const [started, cpu, thread] = [performance.now(), cpuMs(), threadMs()]
  const result = await act()
  const requests = Object.values(store.calls).reduce((sum, calls) => sum + calls, 0)
  const times = { ms: cpuMs() - cpu, threadMs: threadMs() - thread, wallMs: performance.now() - started }
  return { ...times, read: store.bytesRead, written: store.bytesWritten, requests, result }
}

/** Measures at each size, the smallest twice: its first time is that of code that has not run yet, and does not count. */
export async function growthOver(
  sizes: readonly number[],
  measure: (size: number) => Promise<GrowthRow>,
): Promise<readonly GrowthRow[]> {
  const rows: GrowthRow[] = []
  for (const size of sizes.slice(0, 1).concat(sizes)) rows.push(await measure(size))
  return rows.slice(1)
}
