import type { Clock } from '../../base/clock.ts'
import type { RestoreResult } from '../../engine/restore.ts'
import type { Event } from '../../model/event.ts'
import type { Ulid } from '../../model/ulid.ts'
import { countText, plural } from '../format.ts'
import { eventLines } from '../log.ts'
import { previewLines } from '../restore-text.ts'
import { badDeploy, dayOfWork } from './data.ts'
import { indented, type Narrator } from './narrator.ts'
import type { City, DemoDatabase } from './seam.ts'

/** Who did the damage. */
const CULPRIT = 'deploy-2026.11.21'

/** What the demonstration showed, and what its next commands need. */
export interface DemoOutcome {
  /** RFC 3339: the moment before the deploy, which was restored. */
  readonly moment: string
  /** A record that the deploy spoilt, and the event that did. */
  readonly id: string
  readonly event: Ulid
  /** Records that were compared with the independent copy, all of them equal. */
  readonly proven: number
  /** Records that were different or missing before the restore. */
  readonly damaged: number
}

/** The 3 AM story on a database that is captured: from the first record to the proof that all are back. */
export async function tellStory(
  database: DemoDatabase,
  cities: readonly City[],
  narrator: Narrator,
  clock: Clock,
): Promise<DemoOutcome> {
  await loadAndWork(database, cities, narrator)
  const copy = await narrator.step(
    'copy',
    () => database.read(),
    ({ size }) => `${plural(size, 'record')} read with get(), to compare with at the end`,
  )
  const moment = momentNow(clock)
  const { names, lost } = await deploy(database, cities, narrator)
  const damaged = differing(copy, await database.read()).length
  await narrator.say(['', `    ${countText(damaged)} of ${plural(copy.size, 'record')} are wrong or gone.`])
  const { id, event } = await investigate(database, sampleOf(cities, names, lost), narrator)
  await restore(database, moment, narrator)
  const proven = await narrator.step(
    'prove',
    async () => prove(copy, await database.read()),
    (count) => `all ${countText(count)} records are what get() gave before the deploy, field for field`,
  )
  return { moment, id, event, proven, damaged }
}

async function loadAndWork(database: DemoDatabase, cities: readonly City[], narrator: Narrator): Promise<void> {
  const { tidemark } = database
  const { notes, closed } = dayOfWork(cities)
  await narrator.step(
    'load',
    () => tidemark.as({ actor: 'import', tx: 'geonames' }, () => database.insert(cities)),
    () => `${countText(cities.length)} GeoNames cities inserted into an s3db.js database, captured`,
  )
  await narrator.step(
    'work',
    async () => {
      await tidemark.as({ actor: 'anna', tx: 'review-7' }, () => database.update(notes))
      await tidemark.as({ actor: 'ben' }, () => database.remove(closed))
    },
    () => `anna writes ${plural(notes.length, 'note')}, ben deletes ${plural(closed.length, 'record')}`,
  )
}

/** The last whole millisecond: every write so far is long before it (the copy took time), and every later one after it. */
function momentNow(clock: Clock): string {
  return new Date(Math.floor(clock.now()) - 1).toISOString()
}

async function deploy(
  database: DemoDatabase,
  cities: readonly City[],
  narrator: Narrator,
): Promise<ReturnType<typeof badDeploy>> {
  const damage = badDeploy(cities, dayOfWork(cities).closed)
  const { names, lost } = damage
  await narrator.say(['', `    3 AM: ${CULPRIT} goes out. It reads UTF-8 as Latin-1, and deletes "duplicates".`, ''])
  await narrator.step(
    'damage',
    () =>
      database.tidemark.as({ actor: CULPRIT, tx: 'migration-12' }, async () => {
        await database.update(names)
        await database.remove(lost)
      }),
    () =>
      `${plural(names.length, 'name')} spoilt by a mass update, ${plural(lost.length, 'record')} gone by a mass delete`,
  )
  return damage
}

/** A record that anna wrote to and the deploy spoilt: its log has a story to tell. */
function sampleOf(cities: readonly City[], names: readonly { readonly id: string }[], lost: readonly string[]): string {
  const noted = new Set(dayOfWork(cities).notes.map(({ id }) => id))
  const gone = new Set(lost)
  const spoilt = names.filter(({ id }) => !gone.has(id))
  return (spoilt.find(({ id }) => noted.has(id)) ?? spoilt[0])?.id ?? ''
}

/** What is reachable, and who did it, by the log of one record. */
async function investigate(
  { tidemark }: DemoDatabase,
  id: string,
  narrator: Narrator,
): Promise<{ id: string; event: Ulid }> {
  await narrator.say([''])
  const events = await narrator.step(
    'log',
    async () => {
      const found: Event[] = []
      for await (const event of tidemark.history('cities', id)) found.push(event)
      return found
    },
    (found) => `tidemark log cities/${id}: ${plural(found.length, 'event')}`,
  )
  for (const event of events) await narrator.say(indented(eventLines(event, narrator.paint)))
  const culprit = events.find(({ context }) => context.actor === CULPRIT)
  if (culprit === undefined) throw new Error(`the log of ${id} does not show what ${CULPRIT} did`)
  await narrator.say([''])
  await narrator.step(
    'status',
    () => tidemark.status(),
    ({ reachable }) => `every moment from ${reachable.earliest} to now can be reached`,
  )
  return { id, event: culprit.stamp.ulid }
}

async function restore({ tidemark }: DemoDatabase, moment: string, narrator: Narrator): Promise<void> {
  const dry = await narrator.step(
    'preview',
    () => tidemark.restoreAt(moment, { target: 'live', dryRun: true }),
    () => `what a restore to ${moment} would change`,
  )
  await narrator.say(['', ...indented(previewLines(dry.preview, narrator.paint)), ''])
  await narrator.step(
    'restore',
    () => tidemark.restoreAt(moment, { target: 'live', overwrite: true }),
    ({ preview }: RestoreResult) =>
      `in place, captured: ${countText(preview.changed)} changed back, ${countText(preview.added)} brought back`,
  )
}

/** How many records were compared; an error where one is not what it was. */
function prove(copy: ReadonlyMap<string, string>, restored: ReadonlyMap<string, string>): number {
  const wrong = differing(copy, restored)
  if (wrong.length > 0)
    throw new Error(`after the restore ${wrong.length} records are wrong: ${wrong.slice(0, 5).join(', ')}`)
  return copy.size
}

/** Ids whose records are not the same in both. */
function differing(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): string[] {
  return [...new Set([...a.keys(), ...b.keys()])].filter((id) => a.get(id) !== b.get(id))
}
