import { createInterface } from 'node:readline'
import { S3db } from 's3db.js/lite'
import type { StoreSpec } from '../../src/index.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'

/*
 * A process that starts and writes, whether its store is there or not. What opens the store is in the environment. Says on stdout,
 * one line each:
 *   ready             the database is connected, and captured
 *   W <id> <json>     a write of the record with these values was acknowledged
 *   done              after a line on stdin: everything is in the store, and the database is closed
 *   failed <code> <message> | <hint>    it could not be started
 */

/** What a writer is told, as JSON in its one argument. */
export interface AwayWriterParts {
  readonly database: string
  readonly store: StoreSpec
  readonly journal: string
  readonly encryptJournal: boolean
  /** The numbers that it writes go on from here. */
  readonly from: number
}

const RECORDS = 7
process.prependListener('uncaughtException', (error) => {
  console.error(error)
  process.exit(9)
})
const parts: AwayWriterParts = JSON.parse(process.argv[2] ?? '{}')
const tidemark = new TidemarkPlugin({
  store: parts.store,
  journal: { directory: parts.journal, encrypt: parts.encryptJournal },
  database: 'away',
  seal: { ageMs: 300 },
})
const db = new S3db({ connectionString: parts.database, plugins: [tidemark], logLevel: 'silent' })
try {
  await db.connect()
} catch (error) {
  const { code, message, hint } = error as { code: string; message: string; hint: string }
  console.log(`failed ${code} ${message} | ${hint}`)
  process.exit(1)
}
const attributes = { id: 'string|optional', n: 'number', text: 'string' }
const notes = db.resources.notes ?? (await db.createResource({ name: 'notes', attributes, behavior: 'body-only' }))
console.log('ready')
let isOver = false
const writing = write()
for await (const _ of createInterface({ input: process.stdin })) break
isOver = true
await writing
await tidemark.flush()
await db.disconnect()
console.log('done')
process.exit(0)

async function write(): Promise<void> {
  for (let n = parts.from; !isOver; n++) {
    const id = `r${n % RECORDS}`
    const values = { n, text: 'x'.repeat(n % 50) }
    if (await notes.exists(id)) await notes.replace(id, values)
    else await notes.insert({ id, ...values })
    console.log(`W ${id} ${JSON.stringify(values)}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
