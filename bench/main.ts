import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { growth } from './growth.ts'
import { type BenchRow, printRows } from './lib/row.ts'

/*
 * npm run bench [-- --quick] [-- --only <name>]: every bench in a process of its own, one after another, one table.
 * npm run bench -- --growth: what things cost against the size of a store (growth.ts).
 */

const BENCHES = [
  'segment-encode',
  'journal',
  'capture',
  'snapshot',
  'replay',
  'compaction',
  'history',
  'lookup',
  'memory',
  'restore-large',
] as const

/** Runs one bench in this process, for the parent to read. */
async function runOne(name: string): Promise<void> {
  const { run }: { run: () => Promise<BenchRow[]> } = await import(`./${name}.ts`)
  process.stdout.write(`\n${JSON.stringify(await run())}\n`)
  // s3db.js leaves timers behind.
  process.exit(0)
}

async function rowsOf(name: string): Promise<BenchRow[]> {
  const args = [import.meta.filename, '--as', name, ...(process.argv.includes('--quick') ? ['--quick'] : [])]
  const child: ChildProcess = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const exit = once(child, 'close')
  const output = child.stdout === null ? '' : await text(child.stdout)
  const [code] = await exit
  if (code !== 0) throw new Error(`the bench ${name} ended with ${code}`)
  return JSON.parse(output.trim().split('\n').at(-1) ?? '[]')
}

/** `ok` or `short`, where the target is a bound: on the ratio where there is one, else on our own figure. */
function verdict({ ratio, ours, target }: BenchRow): string {
  const [, operator, bound] = /^(>=|<=|<) ([\d.]+)/.exec(target) ?? []
  if (operator === undefined) return ''
  const value = ratio ?? ours
  const met =
    operator === '>=' ? value >= Number(bound) : operator === '<=' ? value <= Number(bound) : value < Number(bound)
  return met ? 'ok' : 'short'
}

function flag(name: string): string | undefined {
  const at = process.argv.indexOf(name)
  return at < 0 ? undefined : process.argv[at + 1]
}

const one = flag('--as')
if (one !== undefined) await runOne(one)
else if (process.argv.includes('--growth')) await growth()
else {
  const only = flag('--only')
  const names = BENCHES.filter((name) => only === undefined || name === only)
  if (names.length === 0) throw new Error(`there is no bench ${only}; there are ${BENCHES.join(', ')}`)
  const rows: BenchRow[] = []
  for (const name of names) {
    if (process.stderr.isTTY) console.error(`${name} ...`)
    rows.push(...(await rowsOf(name)))
  }
  printRows(rows.map((row) => ({ ...row, target: `${row.target} ${verdict(row)}`.trim() })))
}
