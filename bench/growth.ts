import { writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { catalogueGrowth } from './growth/catalogue.ts'
import { recordGrowth, resourceGrowth } from './growth/content.ts'
import { historyGrowth } from './growth/history.ts'
import { upkeepGrowth } from './growth/upkeep.ts'
import type { GrowthRow } from './lib/cost.ts'
import { isQuick, numberFlag } from './lib/options.ts'
import { growthSvg } from './lib/plot.ts'

/*
 * npm run bench -- --growth [--segments <most>] [--events <most>] [--unmerged <most>] [--of <table>] [--draw]: what things
 * cost against the size of a store, over decades. With --draw the drawings in bench/ are made again.
 */

function printGrowth(unit: string, rows: readonly GrowthRow[]): void {
  const line = (name: string, cells: readonly string[]): string =>
    [name.padEnd(32), ...cells.map((cell) => cell.padStart(12))].join('')
  console.log(
    line(
      unit,
      rows.map((row) => (row.size ?? 0).toLocaleString('en')),
    ),
  )
  for (const name of Object.keys(rows[0] ?? {}).filter((one) => one !== 'size'))
    console.log(
      line(
        name,
        rows.map((row) => (row[name] ?? 0).toPrecision(3)),
      ),
    )
  console.log()
}

function machine(): string {
  const [cpu] = cpus()
  const memory = Math.round(totalmem() / 1024 ** 3)
  return `${cpu?.model ?? 'unknown'}, ${cpus().length} threads, ${memory} GB, ${new Date().toISOString().slice(0, 10)}`
}

function draw(name: string, unit: string, rows: readonly GrowthRow[]): void {
  const file = join(import.meta.dirname, `growth-${name}.svg`)
  writeFileSync(file, growthSvg(`${name} by ${unit}: ${machine()}`, unit, rows))
}

/** Measures, prints, and draws where that is asked for. */
export async function growth(): Promise<void> {
  const upTo = (sizes: readonly number[], most: number): readonly number[] => sizes.filter((size) => size <= most)
  const segments = isQuick() ? [250, 500] : upTo([1e3, 1e4, 1e5, 1e6], numberFlag('--segments', 1e6))
  const events = isQuick() ? [300, 900] : upTo([1e3, 1e4, 1e5, 1e6, 1e7], numberFlag('--events', 1e7))
  const unmerged = isQuick() ? [60, 120] : upTo([1e3, 1e4, 1e5], numberFlag('--unmerged', 1e5))
  const tables = [
    ['catalogue', 'segments', () => catalogueGrowth(segments)],
    ['upkeep', 'segments', () => upkeepGrowth(unmerged)],
    [
      'records',
      'bytes of a record',
      () => (isQuick() ? recordGrowth([1e3, 1e4], 1e6) : recordGrowth([1e2, 1e3, 1e4, 1e5, 1e6])),
    ],
    [
      'resources',
      'resources',
      () => (isQuick() ? resourceGrowth([1, 10], 100) : resourceGrowth([1, 10, 100, 1000, 5000])),
    ],
    ['history', 'events', () => historyGrowth(events)],
  ] as const
  const at = process.argv.indexOf('--of')
  const only = at < 0 ? null : process.argv[at + 1]
  for (const [name, unit, measure] of tables) {
    if (only !== null && name !== only) continue
    const rows = await measure()
    printGrowth(unit, rows)
    if (process.argv.includes('--draw')) draw(name, unit, rows)
  }
}
