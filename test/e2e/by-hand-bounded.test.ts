import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DuckDBInstance } from '@duckdb/node-api'
import { afterAll, expect, test } from 'vitest'
import { writeHistory } from '../../bench/lib/history-store.ts'
import { firstStates, type LargeDatabase, laterChunks } from '../../bench/lib/large-records.ts'
import { firstUlidAt } from '../../src/model/ulid.ts'
import type { ItemState } from '../../src/restore/target.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { recordImage } from '../support/model-database.ts'

const SQL = fileURLToPath(new URL('../../tools/restore-by-hand.sql', import.meta.url))
const homes: string[] = []

afterAll(async () => {
  for (const home of homes) await rm(home, { recursive: true, force: true })
})

/** A store with that database; returns its home. */
async function storeOf(
  database: LargeDatabase,
  states: Iterable<readonly ItemState[]> = firstStates(database),
): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'tidemark-by-hand-'))
  homes.push(home)
  const start = firstUlidAt(Date.UTC(2026, 0, 1))
  await writeHistory(new FilesystemStore(`${home}/store`), start, states, laterChunks(database, start))
  return home
}

/** Asks DuckDB, with so much memory, about the records of the state at the end of the history. */
async function ask(home: string, memory: string, question: string): Promise<unknown> {
  const settings = { memory_limit: memory, threads: '1', temp_directory: `${home}/spilled` }
  const instance = await DuckDBInstance.create(':memory:', settings)
  const connection = await instance.connect()
  await connection.run(`SET VARIABLE store = '${home}/store'`)
  await connection.run(await readFile(SQL, 'utf8'))
  const rows = await connection.runAndReadAll(`SELECT ${question} FROM state WHERE kind = 'record'`)
  connection.closeSync()
  instance.closeSync()
  return rows.getRowsJson()[0]
}

test('a store of more lines than fit into memory is read, a few lines at a time', async () => {
  const database = { records: 140, events: 10, chunk: 5, recordBytes: 1_000_000 }
  const updated = `count(*) FILTER (json LIKE '{"id":"u_________","version":1,%')`
  const sizes = 'sum(strlen(json)), sum(coalesce(octet_length(raw), strlen(raw_json)))'
  const [records, versions, json, raw] = (await ask(
    await storeOf(database),
    '256MB',
    `count(*), ${updated}, ${sizes}`,
  )) as string[]
  expect([records, versions, json]).toEqual(['140', '10', '140000000'])
  expect(Number(raw)).toBeGreaterThan(140_000_000)
}, 60_000)

test('a line of more than 64 MiB is read', async () => {
  const database = { records: 1, events: 0, chunk: 1, recordBytes: 36_000_000 }
  expect(await ask(await storeOf(database), '1GB', 'id, strlen(json), strlen(raw_json) > 36000000')).toEqual([
    'u000000000',
    '36000000',
    true,
  ])
}, 60_000)

test('long lines that DuckDB takes for no JSON are read as they stand', async () => {
  const image = recordImage({ id: 'a', text: `\ud800${'x'.repeat(20_000)}` })
  const none = { records: 0, events: 0, chunk: 1, recordBytes: 0 }
  const states = [[{ kind: 'record', resource: 'r', id: 'a', image }]] as const
  const home = await storeOf(none, states.values())
  expect(await ask(home, '256MB', 'id, json')).toEqual(['a', Buffer.from(image.json).toString()])
})
