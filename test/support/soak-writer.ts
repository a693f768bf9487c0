import { appendFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { type Resource, S3db } from 's3db.js/lite'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { randomFrom } from './workload.ts'

/*
 * One of the writers of a soak. It writes until it is killed, or told `stop` on stdin: then it disconnects and ends. What
 * was acknowledged goes into a file, one line each, before the next write of the same lane begins:
 *   W <resource> <id> <token> <ms>    a write that left this token in the record, and when it was acknowledged
 *   D <resource> <id> - <ms>          a delete
 *   E <message>                  a write that failed, and was not acknowledged
 */

/** What a writer is told, as JSON in its one argument. */
export interface SoakWriterParts {
  readonly database: string
  readonly store: string
  readonly journal: string
  readonly acknowledged: string
  readonly log: string
  /** Of this writer; the records `<name>-…` are its own. */
  readonly name: string
  /** Which of its lives this is. Tokens of different lives differ. */
  readonly life: number
}

const LANES = 4
const OWN_RECORDS = 6
const SHARED_RECORDS = 20
const PAUSE_MS = 25

process.prependListener('uncaughtException', (error) => {
  console.error(error)
  process.exit(9)
})
const parts: SoakWriterParts = JSON.parse(process.argv[2] ?? '{}')
const { name, life } = parts
const db = new S3db({ connectionString: parts.database, logLevel: 'silent' })
await db.connect()
const tidemark = new TidemarkPlugin({
  store: parts.store,
  journal: parts.journal,
  database: 'soak',
  seal: { events: 500, ageMs: 2000 },
  snapshots: { everyMs: 8_000 },
  logger: pino({ level: 'info' }, pino.destination({ dest: parts.log, sync: true })),
})
await db.usePlugin(tidemark)
const attributes = { id: 'string|optional', token: 'string', text: 'string|optional' }
const notes =
  db.resources.notes ??
  (await db.createResource({ name: 'notes', attributes, behavior: 'body-only', paranoid: false, timestamps: false }))
console.log('ready')
let going = true
const lanes = Array.from({ length: LANES }, (_, lane) => write(lane))
for await (const line of createInterface({ input: process.stdin })) if (line === 'stop') break
going = false
await Promise.all(lanes)
// What a kill left half written, s3db.js cannot read.
for (const id of await notes.listIds()) await notes.get(id).catch(() => notes.deleteMany([id]))
await db.disconnect()
process.exit(0)

async function write(lane: number): Promise<void> {
  const random = randomFrom(life * 1000 + lane * 7 + name.length)
  for (let i = 0; going; i++) {
    const own = random() < 0.7
    const number = Math.floor(random() * (own ? OWN_RECORDS : SHARED_RECORDS))
    const id = own ? `${name}-${lane}-${number}` : `shared-${number}`
    const token = `${name}.${life}.${lane}.${i}`
    try {
      await writeOnce(notes, random, { id, token, own })
    } catch (error) {
      // Another process has written or deleted it meanwhile, or a kill left its file half written: it is made anew.
      acknowledge(`E ${String(error).replaceAll('\n', ' ')}`)
      await notes.deleteMany([id]).catch(() => undefined)
    }
    await sleep(random() * PAUSE_MS)
  }
}

async function writeOnce(
  resource: Resource,
  random: () => number,
  { id, token, own }: { id: string; token: string; own: boolean },
): Promise<void> {
  const choice = random()
  const values = { token, text: choice < 0.1 ? 'long '.repeat(400) : `short ${token}` }
  if (!(await resource.exists(id))) await resource.insert({ id, ...values })
  else if (own && choice < 0.15) {
    await resource.delete(id)
    return acknowledge(`D notes ${id} - ${Date.now()}`)
  } else if (choice < 0.5) await resource.update(id, values)
  else if (choice < 0.75) await resource.patch(id, values)
  else await resource.replace(id, values)
  acknowledge(`W notes ${id} ${token} ${Date.now()}`)
}

/** The kernel has it, whatever happens to this process next. */
function acknowledge(line: string): void {
  appendFileSync(parts.acknowledged, `${line}\n`)
}
