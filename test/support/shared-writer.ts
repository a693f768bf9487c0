import { createInterface } from 'node:readline'
import { S3db } from 's3db.js/lite'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { randomFrom } from './workload.ts'

/*
 * One of several processes that write to one database at the same time. Says `ready` when it is attached and has
 * written once; writes on a line `go`, for a while, then disconnects.
 * usage: shared-writer.ts <connection string> <store> <journal directory> <seed> <milliseconds> [records] [pause ms]
 */
const [connectionString = '', store = '', journal = '', seed = '1', duration = '1000', records = '15', pause = '0'] =
  process.argv.slice(2)
process.prependListener('uncaughtException', (error) => {
  console.error(error)
  process.exit(9)
})
const db = new S3db({ connectionString, logLevel: 'silent' })
await db.connect()
const tidemark = new TidemarkPlugin({ store, journal, seal: { events: 200, ageMs: 100 } })
await db.usePlugin(tidemark)
const attributes = { id: 'string|optional', n: 'number', by: 'string' }
const notes = db.resources.notes ?? (await db.createResource({ name: 'notes', attributes, behavior: 'body-only' }))
await notes.insert({ id: `own-${seed}`, n: 0, by: seed })
await tidemark.flush()
console.log('ready')
for await (const line of createInterface({ input: process.stdin })) if (line === 'go') break
const random = randomFrom(Number(seed))
const end = performance.now() + Number(duration)
let n = 0
let written = 0
await Promise.all(
  Array.from({ length: 6 }, async () => {
    while (performance.now() < end) {
      const id = `shared-${Math.floor(random() * Number(records))}`
      const values = { n: ++n, by: seed }
      try {
        if (random() < 0.15) await notes.deleteMany([id])
        else if (await notes.exists(id)) await notes.replace(id, values)
        else await notes.insert({ id, ...values })
        written++
      } catch (error) {
        // The other process was faster: a record exists, or does not any more, or is half written on the disk.
        if (!(error instanceof Error)) throw error
      }
      if (pause !== '0') await new Promise((resolve) => setTimeout(resolve, Number(pause)))
    }
  }),
)
await db.disconnect()
console.log(`written ${written}`)
process.exit(0)
