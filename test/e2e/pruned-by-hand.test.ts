import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DuckDBInstance } from '@duckdb/node-api'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { BEGIN, DAY, HOUR, KeptHistory } from '../support/kept-history.ts'
import { boundOf, startOf } from '../support/second-reader/moments.ts'
import { readTimeline } from '../support/second-reader/timeline.ts'

const SQL = fileURLToPath(new URL('../../tools/restore-by-hand.sql', import.meta.url))
const history = new KeptHistory()
const at = (day: number, hour: number): number => BEGIN + day * DAY + hour * HOUR
let home = ''

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'tidemark-pruned-'))
  await history.begin()
  await history.days(0, 7)
  const policy = { window: '2d', gfs: { daily: 5 } }
  await history.tidemark.retention.prune({ policy, confirm: true, grace: '0ms' })
  history.clock.set(at(8, 0))
  await history.tidemark.retention.prune({ policy, confirm: true, grace: '0ms' })
  const store = new FilesystemStore(home)
  for (const key of await history.keys()) await store.put(key, await history.objects.get(key))
})
afterAll(async () => {
  await history.end()
  await rm(home, { recursive: true, force: true })
})

/** What DuckDB alone shows, or the message of its error. */
async function byHand(moment: string): Promise<unknown> {
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  try {
    await connection.run(`SET VARIABLE store = '${home}'; SET VARIABLE moment = '${moment}'`)
    await connection.run(await readFile(SQL, 'utf8'))
    const rows = (await connection.runAndReadAll("SELECT json FROM state WHERE kind = 'record'")).getRows()
    return JSON.parse(String(rows[0]?.[0])).n
  } catch (error) {
    return error instanceof Error ? error.message : error
  } finally {
    connection.closeSync()
    instance.closeSync()
  }
}

test('DuckDB alone, and a reader made from FORMAT.md, make no state of a moment that was pruned', async () => {
  const files = new Map<string, Uint8Array>()
  for (const key of await history.keys()) files.set(key, await history.objects.get(key))
  const { timeline } = readTimeline(files)
  for (const [day, hour] of [
    [6, 4],
    [7, 10],
    [7, 20],
  ] as const) {
    const moment = at(day, hour)
    expect(await byHand(new Date(moment).toISOString())).toBe(history.expected(moment))
    expect(startOf(timeline, boundOf(moment))).not.toBeNull()
  }
  for (const [day, hour] of [
    [1, 4],
    [4, 10],
  ] as const) {
    const moment = at(day, hour)
    expect(await byHand(new Date(moment).toISOString())).toContain('by window 2d, daily 5 (UTC)')
    expect(startOf(timeline, boundOf(moment))).toBeNull()
  }
})
