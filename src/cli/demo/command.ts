import { type Clock, systemClock } from '../../base/clock.ts'
import { TidemarkError } from '../../base/errors.ts'
import { eraseStore } from '../../engine/erase.ts'
import { type CommonOptions, shellQuoted } from '../command.ts'
import { durationText, plural } from '../format.ts'
import { type Terminal, writeLines } from '../terminal.ts'
import { citiesOf } from './data.ts'
import { Narrator } from './narrator.ts'
import type { DemoParts } from './seam.ts'
import { type DemoOutcome, tellStory } from './story.ts'

/** The options of `tidemark demo`. */
export interface DemoOptions extends Pick<CommonOptions, 'json'> {
  /** Where its store is left. */
  readonly dir: string
  readonly records: string
}

/** The name that its store has for the database: only a store of this name is deleted for the next demonstration. */
const DATABASE = 'tidemark-demo'

/** `tidemark demo`: a bad deploy at 3 AM, and the way back, on real data. Leaves a store behind to look at. */
export async function demoCommand(
  { dir, records, json }: DemoOptions,
  parts: DemoParts,
  terminal: Terminal,
  clock: Clock = systemClock,
): Promise<void> {
  const count = countOf(records)
  const store = `file:${dir}/store`
  const narrator = new Narrator(terminal, clock, json === true)
  const startedAt = clock.now()
  const cities = citiesOf(await parts.places(), count)
  const journal = `${dir}/journal`
  await eraseStore(store, DATABASE, journal)
  const database = await parts.open({ store, journal, database: DATABASE })
  await narrator.say([`Tidemark demo: ${narrator.paint('bold', 'a bad deploy at 3 AM, and the way back')}`, ''])
  let outcome: DemoOutcome
  try {
    outcome = await tellStory(database, cities, narrator, clock)
    await keep(database, narrator)
  } finally {
    await database.close()
  }
  const ms = Math.round(clock.now() - startedAt)
  const next = nextCommands(outcome, dir, store)
  await narrator.say(['', `Done in ${durationText(ms)}. The store is left in ${dir}/store; go on with:`, ''])
  await narrator.say(next.map((command) => `  ${command}`))
  if (json) {
    const result = { ...outcome, records: cities.length, ms, steps: narrator.steps, store, next }
    await writeLines(terminal.out, [JSON.stringify(result)])
  }
}

/** A snapshot for later restores, and a look at every file. */
async function keep({ tidemark }: Awaited<ReturnType<DemoParts['open']>>, narrator: Narrator): Promise<void> {
  await narrator.step(
    'snapshot',
    () => tidemark.snapshot(),
    (made) => `${plural(made.records, 'record')} as gzipped JSON lines, made from history`,
  )
  await narrator.step(
    'verify',
    () => tidemark.verify(),
    ({ files, events, damage }) =>
      `${plural(files, 'file')} with ${plural(events, 'event')} read and checked: ${damage.length === 0 ? 'no damage' : plural(damage.length, 'damaged file')}`,
  )
}

function nextCommands({ id, moment, event }: DemoOutcome, dir: string, store: string): string[] {
  const at = shellQuoted(store)
  const recovered = `${dir}/recovered`
  return [
    `npx tidemark status --store ${at}`,
    `npx tidemark log cities/${id} --store ${at}`,
    `npx tidemark show cities/${id} --at ${moment} --store ${at}`,
    `npx tidemark restore --to before:${event} --target ${shellQuoted(`file:${recovered}`)} --yes --store ${at}`,
    `zcat ${shellQuoted(`${recovered}/cities.jsonl.gz`)} | grep '"${id}"'`,
    `npx tidemark verify --store ${at}`,
  ]
}

function countOf(records: string): number {
  if (/^[1-9]\d{0,6}$/.test(records) && Number(records) >= 200) return Number(records)
  throw new TidemarkError('OPTION_INVALID', `--records ${records} is no number from 200 on. Nothing was done.`, {
    hint: 'Leave it out for 30,000 records.',
  })
}
