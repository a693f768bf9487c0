import { spawn } from 'node:child_process'
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { Tidemark } from '../../src/index.ts'
import { randomFrom } from '../support/workload.ts'

const KILLS = Number(process.env.TIDEMARK_KILLS ?? 16)
const CHAINS = 2
const seed = Number(process.env.TIDEMARK_SEED ?? Date.now() % 100_000)
const directory = mkdtempSync(join(tmpdir(), 'crash-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

interface Run {
  /** Whether the check after the start was passed before the process ended. */
  checked: boolean
  code: number | null
  signal: string | null
  errors: string
  lines: string[]
}

/** When a writer is killed: some milliseconds after its start, or after so many acknowledged writes, wherever the next ones are by then. */
type Kill = { readonly startMs: number } | { readonly writes: number; readonly thenMs: number }

/** Runs the writer until it is killed; null: it ends by itself after its check. */
function runWriter(home: string, run: number, when: Kill | null): Promise<Run> {
  const script = join(import.meta.dirname, '../support/crash-writer.ts')
  const args = [script, home, String(run), join(home, 'acknowledged'), ...(when === null ? ['stop'] : [])]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const result: Run = { checked: false, code: null, signal: null, errors: '', lines: [] }
  let rest = ''
  let isDue = false
  const kill = (ms: number): void => {
    if (!isDue) setTimeout(() => child.kill('SIGKILL'), ms)
    isDue = true
  }
  if (when !== null && 'startMs' in when) kill(when.startMs)
  child.stderr.on('data', (part) => {
    result.errors += part
  })
  child.stdout.on('data', (part) => {
    const lines = (rest + part).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (line.startsWith('checked ')) result.checked = true
      else result.lines.push(line)
    }
    if (when !== null && 'writes' in when && result.checked && result.lines.length >= when.writes) kill(when.thenMs)
  })
  return new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ ...result, code, signal }))
  })
}

async function chain(number: number, kills: number): Promise<{ acknowledged: number; early: number }> {
  const home = mkdtempSync(join(directory, `chain-${number}-`))
  writeFileSync(join(home, 'acknowledged'), '')
  const random = randomFrom(seed + number)
  let acknowledged = 0
  let early = 0
  for (let run = 1; run <= kills; run++) {
    // Some are killed while they start, that is while they settle what the one before left open.
    const when = random() < 0.2 ? { startMs: 300 + random() * 1500 } : { writes: random() * 60, thenMs: random() * 20 }
    const { checked, signal, errors, lines } = await runWriter(home, number * 1000 + run, when)
    expect(signal, `seed ${seed}, chain ${number}, run ${run}: ${errors}`).toBe('SIGKILL')
    if (!checked) early++
    appendFileSync(join(home, 'acknowledged'), lines.map((line) => `${line}\n`).join(''))
    acknowledged += lines.length
  }
  const last = await runWriter(home, number * 1000 + kills + 1, null)
  expect({ checked: last.checked, code: last.code }, `seed ${seed}: ${last.errors}`).toEqual({ checked: true, code: 0 })
  const tidemark = await Tidemark.open({ store: `file:${home}/store` })
  const { damage } = await tidemark.verify()
  const { gaps, streams } = await tidemark.status()
  expect(damage).toEqual([])
  expect(gaps).toEqual([])
  expect(streams.map(({ state }) => state)).toEqual(streams.map(() => 'closed'))
  await tidemark.close()
  return { acknowledged, early }
}

it(`loses nothing that was acknowledged when killed ${KILLS} times`, { timeout: 900_000 }, async () => {
  const chains = await Promise.all(Array.from({ length: CHAINS }, (_, i) => chain(i + 1, Math.ceil(KILLS / CHAINS))))
  const acknowledged = chains.reduce((sum, chain) => sum + chain.acknowledged, 0)
  const early = chains.reduce((sum, chain) => sum + chain.early, 0)
  console.log(`seed ${seed}: ${KILLS} kills, ${early} of them during the start, ${acknowledged} acknowledged writes`)
  expect(acknowledged).toBeGreaterThan(KILLS * 5)
  expect(early).toBeLessThan(KILLS * 0.75)
})
