import { S3db } from 's3db.js/lite'

export type Resource = Awaited<ReturnType<S3db['createResource']>>

/** Attributes of the records that the benches write: about 400 bytes of JSON. */
const ATTRIBUTES = {
  name: 'string|required',
  email: 'string|required',
  status: 'string',
  score: 'number',
  city: 'string',
  note: 'string',
}

const NOTE =
  'the quarterly review moved to thursday because the delivery of the second batch is late; the customer asked for ' +
  'a call before then, prefers the morning and wants the numbers of last year beside those of this one'

let databases = 0

// With its log level at `silent`, s3db.js ends the process on an uncaught error without a word.
process.prependListener('uncaughtException', console.error)

/** A connected database of its own: on `memory://`, or on `file://` in `directory`. */
export async function openDatabase(kind: 'memory' | 'file', directory: string): Promise<S3db> {
  databases++
  const connectionString =
    kind === 'memory' ? `memory://bench-${process.pid}-${databases}/app` : `file://${directory}/database-${databases}`
  const db = new S3db({ connectionString, logLevel: 'silent' })
  await db.connect()
  return db
}

/**
 * The one resource of the benches. Without timestamps: with them s3db.js keeps partitions by date, and looks through
 * the keys of all records at every update.
 */
export function createUsers(db: S3db): Promise<Resource> {
  return db.createResource({ name: 'users', attributes: ATTRIBUTES, behavior: 'body-overflow' })
}

export type User = {
  readonly id: string
  readonly name: string
  readonly email: string
  readonly status: string
  readonly score: number
  readonly city: string
  readonly note: string
}

/** The `number`th user, in its `version`: the same for the same numbers. */
export function user(number: number, version = 0): User {
  const mixed = Math.imul(number + 1, 2_654_435_761) >>> 0
  return {
    id: `u${String(number).padStart(8, '0')}`,
    name: `Person ${mixed.toString(36)}`,
    email: `person.${mixed.toString(36)}@example.com`,
    status: ['active', 'paused', 'closed'][(mixed + version) % 3] ?? '',
    score: (mixed + version * 7919) % 10_000,
    city: ['Lisbon', 'Porto', 'Berlin', 'Kyoto', 'Lagos', 'Quito'][mixed % 6] ?? '',
    note: `${mixed.toString(36)} v${version}: ${NOTE}`,
  }
}
