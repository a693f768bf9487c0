/**
 * An application with a captured database: node test/support/cli-application.ts <directory>
 *
 * Reads one JSON command a line: {"put": {id, name, n}}, {"delete": id}, {"read": true}, {"end": true}; answers each with
 * one line: {at: milliseconds, records}. With SEAL_AGE_MS events wait so long for the store.
 */
import { createInterface } from 'node:readline'
import { S3db } from 's3db.js/lite'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'

/** What is answered: the time just after the command, and every record. */
export interface Answer {
  readonly at: number
  readonly records: Readonly<Record<string, unknown>>
}

process.prependListener('uncaughtException', console.error)
const [directory = ''] = process.argv.slice(2)
const db = new S3db({ connectionString: `file://${directory}/app`, logLevel: 'silent' })
await db.connect()
const seal = process.env.SEAL_AGE_MS === undefined ? {} : { seal: { ageMs: Number(process.env.SEAL_AGE_MS) } }
const plugin = new TidemarkPlugin({ store: `file:${directory}/store`, journal: `${directory}/journal`, ...seal })
await db.usePlugin(plugin)
const users =
  db.resources.users ?? (await db.createResource({ name: 'users', attributes: { name: 'string', n: 'number' } }))
await plugin.flush()

async function readAll(): Promise<Answer['records']> {
  const found: Record<string, unknown> = {}
  for (const id of (await users.listIds()).sort()) {
    const { name, n } = await users.get(id)
    found[id] = { name, n }
  }
  return found
}

async function answer(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 3))
  const at = Date.now()
  await new Promise((resolve) => setTimeout(resolve, 3))
  const reply: Answer = { at, records: await readAll() }
  process.stdout.write(`${JSON.stringify(reply)}\n`)
}

await answer()
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  if (command.end === true) break
  await plugin.as({ actor: command.actor ?? 'app' }, async () => {
    if (command.put !== undefined) await users.upsert(command.put)
    if (command.delete !== undefined) await users.delete(command.delete)
  })
  await answer()
}
await db.disconnect()
process.exit()
