import { getHeapStatistics } from 'node:v8'
import { TidemarkError } from '../../../src/base/errors.ts'
import type { Random } from './mutate.ts'

/** One input and what must come of it. */
export interface Case {
  /** How it was made, for the counts. */
  readonly kind: string
  readonly input: Uint8Array
  /** Decodes the input wholly. What it gives throws where that is not what must be: the original, or what the bytes say. */
  decode(): Check | Promise<Check>
}

export type Check = () => void

/** A decoder, and how inputs for it are made. */
export interface Decoder {
  readonly name: string
  make(random: Random): Case | Promise<Case>
}

export type Outcome = 'decoded' | 'refused'

/** A case may take so long, which is some hundred times what it takes on an idle machine, and so much memory. */
const MOST_MS = 5_000
const MOST_BYTES = 64 * 1024 * 1024

/** Runs a case. Throws where the decoder hangs, is greedy, gives a wrong value or another error than `corrupt`. */
export async function judge({ decode }: Case): Promise<Outcome> {
  const started = performance.now()
  const before = memory()
  let check: Check | null = null
  let outcome: Outcome = 'decoded'
  try {
    const decoded = decode()
    check = decoded instanceof Promise ? await decoded : decoded
  } catch (error) {
    const isRefused = error instanceof TidemarkError && error.category === 'corrupt' && error.hint !== ''
    if (!isRefused) throw new Error(`it failed with something else than a refusal: ${shown(error)}`, { cause: error })
    outcome = 'refused'
  }
  const bytes = memory() - before
  if (bytes > MOST_BYTES) throw new Error(`it took ${Math.round(bytes / 1024 / 1024)} MiB`)
  const ms = performance.now() - started
  if (ms > MOST_MS) throw new Error(`it took ${Math.round(ms)} ms`)
  check?.()
  return outcome
}

function shown(error: unknown): string {
  return error instanceof Error ? `${error.name} ${error.message}` : String(error)
}

/** Bytes of the heap and of buffers; between two calls it falls only where garbage was collected. */
function memory(): number {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics()
  return heap + external
}

/** Throws where two texts differ, and says where. */
export function same(found: string, expected: string, what: string): void {
  if (found === expected) return
  let at = 0
  while (found[at] === expected[at]) at++
  const near = (text: string): string => JSON.stringify(text.slice(Math.max(0, at - 40), at + 80))
  throw new Error(`${what}: ${near(found)} instead of ${near(expected)}`)
}
