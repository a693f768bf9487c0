import { spawnSync } from 'node:child_process'
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Resource, S3db } from 's3db.js/lite'
import { afterAll, expect, test } from 'vitest'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'

const directory = mkdtempSync(join(tmpdir(), 'unsettled-away-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

interface Life {
  readonly db: S3db
  readonly tidemark: TidemarkPlugin
  readonly records: Resource
}

async function live(): Promise<Life> {
  const db = new S3db({ connectionString: `file://${directory}/db`, logLevel: 'silent' })
  await db.connect()
  const tidemark = new TidemarkPlugin({ store: `file:${directory}/store`, journal: `${directory}/journal` })
  await db.usePlugin(tidemark)
  const records = db.resources.records ?? (await db.createResource({ name: 'records', attributes: { name: 'string' } }))
  return { db, tidemark, records }
}

test('what a killed process may have written is settled before it is written over, also while the store is away', async () => {
  await (await live()).db.disconnect()
  const script = join(import.meta.dirname, '../support/killed-writer.ts')
  const { signal, stderr } = spawnSync(process.execPath, [script, directory, 'insert', '"a"'])
  expect(signal, String(stderr)).toBe('SIGKILL')
  renameSync(join(directory, 'store'), join(directory, 'gone'))
  const { db, tidemark, records } = await live()
  // What the killed write left is half a record: to be replaced as a whole.
  await records.replace('a', { name: 'later' }).catch(() => records.deleteMany(['a']))
  await records.insert({ id: 'b', name: 'other' })
  renameSync(join(directory, 'gone'), join(directory, 'store'))
  await tidemark.flush()
  const states = async (): Promise<string[]> => (await tidemark.status()).streams.map(({ state }) => state)
  await expect.poll(states, { timeout: 20_000 }).toEqual(['closed', 'open'])
  const told: (string | null)[] = []
  for await (const { context, operation } of tidemark.history('records', 'a'))
    told.push(`${operation} ${context.actor}`)
  expect(told).toEqual(['insert killed', 'update null'])
  expect(await tidemark.reachable('latest')).toMatchObject({ verdict: 'yes' })
  await db.disconnect()
})
