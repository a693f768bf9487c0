import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { S3db } from 's3db.js/lite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Tidemark } from '../../src/index.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import { TidemarkPlugin } from '../../src/s3db/plugin.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { TimelineLog } from '../../src/timeline/log.ts'

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'beside-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

async function live(): Promise<{ db: S3db; tidemark: TidemarkPlugin }> {
  const db = new S3db({ connectionString: `file://${directory}/db`, logLevel: 'silent' })
  await db.connect()
  const tidemark = new TidemarkPlugin({ store: `file:${directory}/store`, journal: `${directory}/journal` })
  await db.usePlugin(tidemark)
  return { db, tidemark }
}

/** A process that deletes a record, and is killed before anything hears of that. */
function deleteAndDie(id: string): void {
  const script = join(import.meta.dirname, '../support/killed-writer.ts')
  const { signal, stderr } = spawnSync(process.execPath, [script, directory, 'delete', JSON.stringify(id)])
  expect(signal, String(stderr)).toBe('SIGKILL')
}

/** A time that is over. */
async function pastNow(): Promise<number> {
  const now = Date.now()
  await expect.poll(() => Date.now()).toBeGreaterThan(now)
  return now
}

const states = async (): Promise<string[]> =>
  (await TimelineLog.open(new FilesystemStore(join(directory, 'store')))).timeline.streams.map(({ state }) => state)

test('what a process that was killed beside a live one left is settled by the live one, and what it says then is final', async () => {
  const { db, tidemark } = await live()
  const records = await db.createResource({ name: 'records', attributes: { name: 'string' } })
  for (const id of ['a', 'b']) await records.insert({ id, name: 'first' })
  await tidemark.flush()
  deleteAndDie('b')
  await records.update('a', { name: 'second' })
  const told: [number, string, unknown][] = []
  for (let round = 0; round < 2; round++) {
    const now = await pastNow()
    const { verdict } = await tidemark.reachable(now)
    told.push([now, verdict, await tidemark.at(now).get('records', 'b')])
  }
  for (const [now, verdict, state] of told) {
    expect((await tidemark.reachable(now)).verdict).toBe(verdict)
    expect(await tidemark.at(now).get('records', 'b')).toEqual(state)
  }
  // By now the history says what the database does.
  expect(told.at(-1)).toEqual([expect.any(Number), 'yes', null])
  expect(await states()).toEqual(['open', 'closed'])
  await db.disconnect()
  expect(await states()).toEqual(['closed', 'closed'])
})

test('a command seals nothing behind a write of which only the database knows whether it happened', async () => {
  const { db } = await live()
  const records = await db.createResource({ name: 'records', attributes: { name: 'string' } })
  await records.insert({ id: 'b', name: 'first' })
  await db.disconnect()
  deleteAndDie('b')
  const killed = await pastNow()
  const reader = await Tidemark.open({ store: `file:${directory}/store` })
  const { verdict, reason } = await reader.reachable(killed)
  expect([verdict, reason?.message]).toEqual(['no', expect.stringContaining('may have happened or not')])
  await expect(reader.at(killed).get('records', 'b')).rejects.toMatchObject({ code: 'MOMENT_UNREACHABLE' })
  const { streams } = (await TimelineLog.open(new FilesystemStore(join(directory, 'store')))).timeline
  const open = streams.find(({ state }) => state === 'open')
  expect(open !== undefined && open.sealedThrough < firstUlidAt(killed)).toBe(true)
  await reader.close()
  const { db: next, tidemark } = await live()
  expect(await tidemark.at(await pastNow()).get('records', 'b')).toBe(null)
  await next.disconnect()
})
