import { pino } from 'pino'
import { S3db } from 's3db.js/lite'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { randomFrom } from './workload.ts'

/*
 * A short process beside the writers of a soak: it changes records with partitions that nobody else writes, and prints
 * the moment after it, milliseconds.
 */

/** What it is told, as JSON in its one argument. */
export interface SoakPlacesParts {
  readonly database: string
  readonly store: string
  readonly journal: string
  readonly log: string
  readonly seed: number
}

const RECORDS = 40
const REGIONS = ['AP', 'EU', 'US']

const { database, store, journal, log, seed }: SoakPlacesParts = JSON.parse(process.argv[2] ?? '{}')
const random = randomFrom(seed)
const pick = (below: number): number => Math.floor(random() * below)
const db = new S3db({ connectionString: database, logLevel: 'silent' })
await db.connect()
const logger = pino({ level: 'info' }, pino.destination({ dest: log, sync: true }))
await db.usePlugin(new TidemarkPlugin({ store, journal, database: 'soak', logger }))
const places =
  db.resources.places ??
  (await db.createResource({
    name: 'places',
    attributes: { name: 'string', region: 'string' },
    partitions: { byRegion: { fields: { region: 'string' } } },
    asyncPartitions: false,
  }))
for (let i = 0; i < RECORDS; i++) {
  const id = `place-${pick(RECORDS)}`
  const values = { name: `${seed}.${i}`, region: REGIONS[pick(REGIONS.length)] ?? '' }
  if (!(await places.exists(id))) await places.insert({ id, ...values })
  else if (random() < 0.3) await places.delete(id)
  else await places.update(id, values)
}
// No event of its own is of the same millisecond or a later one.
await new Promise((resolve) => setTimeout(resolve, 5))
process.stdout.write(`${Date.now()}\n`)
// While the store is away, what is not in it stays in the journal, and the next one brings it in.
await db.disconnect().catch((error: unknown) => logger.warn(String(error)))
process.exit(0)
