import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

const MAIN = fileURLToPath(new URL('../../bench/main.ts', import.meta.url))
const ROWS: readonly (readonly [bench: string, rows: number])[] = [
  ['segment-encode', 4],
  ['journal', 3],
  ['capture', 9],
  ['snapshot', 3],
  ['replay', 4],
  ['compaction', 1],
  ['history', 3],
  ['lookup', 4],
  ['memory', 6],
  ['restore-large', 3],
]
/** First words of the tables of growth. */
const UNITS = ['segments', 'segments', 'bytes', 'resources', 'events']

/** What a bench measured is nobody's business here: the machine is busy. That its ways agree, each bench checks. */
describe('bench', () => {
  it.each(ROWS)('%s gives its rows', { timeout: 300_000 }, async (name, rows) => {
    const { stdout } = await promisify(execFile)(process.execPath, [MAIN, '--quick', '--only', name])
    const [head = '', ...lines] = stdout.trimEnd().split('\n')
    expect(head.split(/ {2,}/)).toEqual(['what', 'ours', 'peer', 'unit', 'ratio', 'target', 'note'])
    expect(lines.length).toBeGreaterThanOrEqual(rows)
    for (const line of lines) expect(Number(line.split(/ {2,}/)[1])).toBeGreaterThanOrEqual(0)
  })

  it('the steady application prints what its process took', { timeout: 300_000 }, async () => {
    const steady = fileURLToPath(new URL('../../bench/steady.ts', import.meta.url))
    const { stdout } = await promisify(execFile)(process.execPath, [steady, '--quick', '--minutes', '0.02'])
    const [, ...lines] = stdout.trimEnd().split('\n')
    expect(lines.map((line) => line.split(/ {2,}/)[0])).toEqual(['steady, heap', 'steady, rss'])
    for (const line of lines) expect(Number(line.split(/ {2,}/)[4])).toBeGreaterThan(0)
  })

  it('prints what things cost against the size of a store', { timeout: 300_000 }, async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [MAIN, '--growth', '--quick'])
    const tables = stdout.trimEnd().split('\n\n')
    expect(tables.map((table) => table.split(/\s+/)[0])).toEqual(UNITS)
    for (const line of tables.flatMap((table) => table.split('\n').slice(1)))
      for (const cell of line.trim().split(/ {2,}/).slice(1)) expect(Number(cell)).toBeGreaterThanOrEqual(0)
  })

  it('a store that looks after itself for some days says what it has', { timeout: 300_000 }, async () => {
    const year = fileURLToPath(new URL('../../bench/year.ts', import.meta.url))
    const { stdout } = await promisify(execFile)(process.execPath, [year, '--days', '2', '--seals', '12'])
    const lines = stdout.trimEnd().split('\n')
    expect(lines.map((line) => line.split(':')[0])).toEqual(['day 1', 'day 2'])
  })

  it('refuses a bench that there is not', async () => {
    const run = promisify(execFile)(process.execPath, [MAIN, '--quick', '--only', 'nothing'])
    await expect(run).rejects.toThrow(/there is no bench nothing; there are segment-encode/)
  })
})
