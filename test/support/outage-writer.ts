import { createInterface } from 'node:readline'
import { S3db } from 's3db.js/lite'
import type { StoreSpec } from '../../src/index.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { randomFrom } from './workload.ts'

/*
 * A process that goes on writing while its store comes and goes. Credentials of the store are in the environment.
 * Says on stdout, one line each:
 *   W <id> <n>    a write of the record with the number n was acknowledged; n of a record only grow
 *   D <id>        a delete was acknowledged
 *   done          after a line on stdin: everything is in the store, and the database is closed
 * usage: outage-writer.ts <url of the store> <endpoint> <journal directory> <journal | store: what acknowledges>
 */
const LANES = 4
const [url = '', endpoint = '', journal = '', ack = ''] = process.argv.slice(2)
process.prependListener('uncaughtException', (error) => {
  console.error(error)
  process.exit(9)
})
const store: StoreSpec = { url, endpoint, region: 'us-east-1' }
const db = new S3db({ connectionString: `memory://outage-${process.pid}`, logLevel: 'silent' })
await db.connect()
const tidemark = new TidemarkPlugin({
  store,
  journal,
  ack: ack === 'store' ? 'store' : 'journal',
  seal: { ageMs: 200 },
})
await db.usePlugin(tidemark)
const attributes = { id: 'string|optional', n: 'number', text: 'string' }
const notes = await db.createResource({ name: 'notes', attributes, behavior: 'body-only' })
let isOver = false

/** The records of a lane are its own. */
async function write(lane: number): Promise<void> {
  const random = randomFrom(100 + lane)
  const held = new Set<string>()
  for (let n = 1; !isOver; n++) {
    const id = `r${lane}-${Math.floor(random() * 5)}`
    if (held.has(id) && random() < 0.2) {
      await notes.delete(id)
      held.delete(id)
      console.log(`D ${id}`)
    } else {
      const values = { n, text: 'x'.repeat(Math.floor(random() * 500)) }
      if (held.has(id)) await notes.replace(id, values)
      else await notes.insert({ id, ...values })
      held.add(id)
      console.log(`W ${id} ${n}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const lanes = Promise.all(Array.from({ length: LANES }, (_, lane) => write(lane)))
for await (const _ of createInterface({ input: process.stdin })) break
isOver = true
await lanes
await db.disconnect()
console.log('done')
process.exit(0)
