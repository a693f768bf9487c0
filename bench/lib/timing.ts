import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Milliseconds of the processor that this process has used, its threads together. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** Milliseconds of the processor that this thread has used outside of the kernel, whose part is what else the machine does. */
export function threadMs(): number {
  return process.threadCpuUsage().user / 1000
}

/** Milliseconds that `work` takes on the clock, and of the processor, and its result. */
export async function timed<T>(work: () => Promise<T>): Promise<{ ms: number; cpuMs: number; result: T }> {
  const [start, cpu] = [performance.now(), cpuMs()]
  const result = await work()
  return { ms: performance.now() - start, cpuMs: cpuMs() - cpu, result }
}

/** Runs `work` in a directory of its own, which is gone afterwards. */
export async function inTemporaryDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-bench-'))
  try {
    return await work(directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** A bench whose answers differ measures nothing. */
export function mustBe(condition: boolean, what: string): void {
  if (!condition) throw new Error(`the results do not agree: ${what}`)
}
