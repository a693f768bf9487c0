/**
 * npm run fuzz -- [--mutations N] [--seed S] [--decoder name]
 *
 * The work is done in another thread, so that a decoder that hangs is seen and named.
 */
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { messageOf } from '../../src/base/errors.ts'
import { decoders, type FuzzResult, fuzz } from './fuzz.ts'

function line({ name, mutations, seconds, outcomes, kinds }: FuzzResult): string {
  const { decoded, refused } = outcomes
  return `${name}: ${mutations} mutations of ${kinds.size} kinds in ${seconds.toFixed(1)} s: refused ${refused}, decoded ${decoded}`
}

/** A case that takes longer than this hangs: nothing but another thread can tell. */
const HANG_MS = 30_000

interface Work {
  readonly mutations: number
  readonly seed: number
  readonly only: string | undefined
  /** The decoder and the seed that are under way, and how many were begun. */
  readonly progress: Int32Array
}

async function work({ mutations, seed, only, progress }: Work): Promise<void> {
  const chosen = (await decoders()).filter(({ name }) => only === undefined || name === only)
  if (chosen.length === 0) throw new Error(`there is no decoder ${only}`)
  for (const [index, decoder] of chosen.entries()) {
    const result = await fuzz(decoder, mutations, seed, (one) => {
      progress.set([index, one])
      Atomics.add(progress, 2, 1)
    })
    parentPort?.postMessage(line(result))
  }
}

function main(): void {
  const { values } = parseArgs({
    options: { mutations: { type: 'string' }, seed: { type: 'string' }, decoder: { type: 'string' } },
  })
  const progress = new Int32Array(new SharedArrayBuffer(12))
  const mutations = Number(values.mutations ?? 100_000)
  const seed = Number(values.seed ?? 1)
  if (!Number.isSafeInteger(mutations) || mutations < 1 || !Number.isSafeInteger(seed))
    throw new Error('--mutations and --seed take whole numbers')
  const given: Work = { mutations, seed, only: values.decoder, progress }
  const worker = new Worker(new URL(import.meta.url), {
    workerData: given,
    resourceLimits: { maxOldGenerationSizeMb: 256 },
  })
  let begun = -1
  const watch = setInterval(() => {
    if (progress[2] === begun) {
      process.stderr.write(`decoder ${progress[0]} hangs at seed ${progress[1]}\n`)
      process.exit(1)
    }
    begun = progress[2] ?? 0
  }, HANG_MS)
  worker.on('message', (text: string) => process.stdout.write(`fuzz ${text}\n`))
  worker.on('error', (error) => {
    process.stderr.write(`${messageOf(error)}\n`)
    process.exitCode = 1
  })
  worker.on('exit', () => clearInterval(watch))
}

if (isMainThread) main()
else await work(workerData)
