/*
 * A process that makes a history, or restores it in place and may be killed at the n-th write of its database:
 * `node in-place-restorer.ts <home> setup`, or `<home> <moment> <write to die at, 0: none>`. Prints one line of JSON.
 */
import { S3db } from 's3db.js/lite'
import { TidemarkError } from '../../src/base/errors.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'

const [, , home = '', moment = '', dieAt = '0'] = process.argv

const db = new S3db({ connectionString: `file://${home}/db`, logLevel: 'silent' })
await db.connect()
const tidemark = new TidemarkPlugin({ store: `file:${home}/store`, journal: `${home}/journal`, database: 'app' })
await db.usePlugin(tidemark)

const partitioned = {
  attributes: { name: 'string', region: 'string' },
  partitions: { byRegion: { fields: { region: 'string' } } },
  asyncPartitions: false,
}

async function setup(): Promise<object> {
  const users = await db.createResource({ name: 'users', ...partitioned })
  const plain = await db.createResource({ name: 'plain', attributes: { a: 'string' } })
  for (let i = 0; i < 12; i++) await users.insert({ id: `u${i}`, name: `n${i}`, region: i % 2 === 0 ? 'US' : 'EU' })
  await plain.insert({ id: 'p', a: 'then' })
  await tidemark.flush()
  const then = Date.now()
  await new Promise((resolve) => setTimeout(resolve, 20))
  for (let i = 0; i < 8; i++) await users.update(`u${i}`, { region: 'AP' })
  await users.delete('u10')
  await users.insert({ id: 'u99', name: 'n99', region: 'AP' })
  await db.createResource({ name: 'plain', attributes: { a: 'string', b: 'string|optional' } })
  await plain.update('p', { a: 'now', b: 'b' })
  const later = await db.createResource({ name: 'later', ...partitioned })
  for (const id of ['l1', 'l2']) await later.insert({ id, name: id, region: 'US' })
  return { moment: then }
}

function dieAtWrite(limit: number): () => number {
  const { client } = db
  let writes = 0
  const counted = <A extends unknown[], R>(write: (...args: A) => Promise<R>) => {
    return async (...args: A): Promise<R> => {
      // At every second one it is done.
      const isLast = ++writes === limit
      if (isLast && limit % 2 === 1) process.kill(process.pid, 'SIGKILL')
      const result = await write(...args)
      if (isLast) process.kill(process.pid, 'SIGKILL')
      return result
    }
  }
  client.putObject = counted(client.putObject.bind(client))
  client.deleteObject = counted(client.deleteObject.bind(client))
  client.deleteAll = counted(client.deleteAll.bind(client))
  return () => writes
}

async function restore(): Promise<object> {
  const writes = dieAtWrite(Number(dieAt))
  const result = await tidemark.restoreAt(/^\d+$/.test(moment) ? Number(moment) : moment, {
    target: 'live',
    overwrite: true,
  })
  return {
    writes: writes(),
    before: result.before,
    conflicts: result.conflicts.count,
    items: result.conflicts.items.map(({ id }) => id).join(),
  }
}

async function refused(error: unknown): Promise<object> {
  if (!(error instanceof TidemarkError)) throw error
  return { code: error.code, hint: error.hint }
}

const told = moment === 'setup' ? await setup() : await restore().catch(refused)
await new Promise((resolve) => setTimeout(resolve, 50))
await db.disconnect()
process.stdout.write(`${JSON.stringify(told)}\n`)
