import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'

/** What was acknowledged to the writers of a soak, and how the history accounts for it. */
export interface Account {
  readonly acknowledged: number
  readonly events: number
  readonly streams: number
  /** What is wrong, one sentence each; empty where every acknowledged write is in the history, once and in order. */
  readonly faults: readonly string[]
}

const FOREVER = 2n ** 60n
const BY_HAND = fileURLToPath(new URL('../../tools/restore-by-hand.sql', import.meta.url))

/** What of a history may be gone. */
export interface Kept {
  /** Everything that was acknowledged from here on has to be there, milliseconds; 0: everything. */
  readonly from: number
  /** By stream: the sequence behind which it is whole. */
  readonly bases: ReadonlyMap<string, number>
}

/**
 * Accounts for every acknowledged line (see soak-writer.ts) with the files of a store that is not encrypted, read by
 * DuckDB: none of the code that wrote them has a part in it. `live` is what the database holds, by id.
 */
export async function accountFor(
  store: string,
  acknowledged: readonly string[],
  live: ReadonlyMap<string, string>,
  kept: Kept,
): Promise<Account> {
  const instance = await DuckDBInstance.create(':memory:')
  const duck = await instance.connect()
  try {
    await load(duck, store, acknowledged)
    await loadKept(duck, kept)
    const faults: string[] = []
    for (const [what, sql] of RULES) {
      const rows = (await duck.runAndReadAll(sql)).getRowsJson()
      if (rows.length > 0) faults.push(`${what}: ${rows.length}, the first is ${JSON.stringify(rows[0])}`)
    }
    faults.push(...(await differences(duck, live)))
    const [counts] = (await duck.runAndReadAll(COUNTS)).getRowsJson()
    const [acks, events, streams] = (counts ?? []).map(Number)
    return { acknowledged: acks ?? 0, events: events ?? 0, streams: streams ?? 0, faults }
  } finally {
    duck.closeSync()
    instance.closeSync()
  }
}

async function load(duck: DuckDBConnection, store: string, acknowledged: readonly string[]): Promise<void> {
  await duck.run(`SET VARIABLE store = '${store.replaceAll("'", "''")}'`)
  await duck.run(await readFile(BY_HAND, 'utf8'))
  await duck.run('SET VARIABLE segments = (SELECT list(DISTINCT path) FROM history)')
  await duck.run(`CREATE TABLE events AS
    SELECT ulid, stream, sequence, record_id AS id, metadata, after, after ->> '$.token' AS token
    FROM read_parquet(getvariable('segments')) WHERE kind = 'record' AND resource = 'notes'`)
  await duck.run(`CREATE TABLE sequences AS
    SELECT stream, sequence, ulid FROM read_parquet(getvariable('segments'))`)
  await duck.run('CREATE TABLE acks (position INTEGER, what VARCHAR, id VARCHAR, token VARCHAR, ms BIGINT)')
  const appender = await duck.createAppender('acks')
  for (const [position, line] of acknowledged.entries()) {
    const [what = '', , id = '', token, ms] = line.split(' ')
    if (what !== 'W' && what !== 'D') continue
    appender.appendInteger(position)
    appender.appendVarchar(what)
    appender.appendVarchar(id)
    if (token === undefined || token === '-') appender.appendNull()
    else appender.appendVarchar(token)
    // A line without a time is one of the test of the test.
    appender.appendBigInt(ms === undefined ? FOREVER : BigInt(ms))
    appender.endRow()
  }
  appender.closeSync()
}

async function loadKept(duck: DuckDBConnection, { from, bases }: Kept): Promise<void> {
  await duck.run(`SET VARIABLE kept = ${from}`)
  await duck.run('CREATE TABLE bases (stream VARCHAR, base INTEGER)')
  const appender = await duck.createAppender('bases')
  for (const [stream, sequence] of bases) {
    appender.appendVarchar(stream)
    appender.appendInteger(sequence)
    appender.endRow()
  }
  appender.closeSync()
}

/** Each finds what breaks it. */
const RULES: readonly (readonly [string, string])[] = [
  [
    'writes that were acknowledged and are not in the history',
    `SELECT id, token FROM acks ANTI JOIN events USING (id, token)
     WHERE what = 'W' AND ms >= getvariable('kept') ORDER BY position`,
  ],
  // One process may also have found what another wrote at the same time, and who settles what a killed one left, what has been
  // written since: such an observation says so.
  [
    'writes that are in the history twice',
    `SELECT id, token FROM events WHERE token NOT NULL
     GROUP BY id, token, CASE WHEN metadata NOT NULL OR id LIKE 'shared-%' THEN stream END, metadata HAVING count(*) > 1`,
  ],
  [
    'deletes that were acknowledged and are not in the history',
    `SELECT id, acked, coalesce(found, 0) FROM (SELECT id, count(*) AS acked FROM acks
       WHERE what = 'D' AND ms >= getvariable('kept') GROUP BY id)
     LEFT JOIN (SELECT id, count(*) AS found FROM events WHERE after IS NULL GROUP BY id) USING (id)
     WHERE coalesce(found, 0) < acked`,
  ],
  [
    'writes of one lane in another order than they were acknowledged in',
    `SELECT id, token FROM (
       SELECT id, token, ulid, lag(ulid) OVER (PARTITION BY id ORDER BY position) AS previous
       FROM acks JOIN events USING (id, token) WHERE what = 'W' AND id NOT LIKE 'shared-%' AND metadata IS NULL
     ) WHERE previous >= ulid`,
  ],
  [
    'streams whose sequences have holes or repeat',
    `SELECT stream, count(*), max(sequence) FROM sequences LEFT JOIN bases USING (stream)
     WHERE sequence > coalesce(base, 0) GROUP BY stream, base
     HAVING count(*) <> max(sequence) - coalesce(base, 0) OR count(DISTINCT sequence) <> count(*)`,
  ],
  [
    'events whose stamps go back in their stream',
    `SELECT stream, sequence FROM (
       SELECT *, lag(ulid) OVER (PARTITION BY stream ORDER BY sequence) AS previous FROM sequences
     ) WHERE previous >= ulid`,
  ],
]

const COUNTS =
  'SELECT (SELECT count(*) FROM acks), (SELECT count(*) FROM sequences), (SELECT count(DISTINCT stream) FROM sequences)'

/** What the events and the last snapshot give by hand, against what the database holds. */
async function differences(duck: DuckDBConnection, live: ReadonlyMap<string, string>): Promise<string[]> {
  const rows = (
    await duck.runAndReadAll("SELECT id, json ->> '$.token' FROM state WHERE kind = 'record' AND resource = 'notes'")
  ).getRowsJson()
  const state = new Map(rows.map(([id, token]) => [String(id), String(token)]))
  const ids = [...new Set([...state.keys(), ...live.keys()])].filter((id) => state.get(id) !== live.get(id))
  const [id] = ids
  if (id === undefined) return []
  return [`records that are not as the history says: ${ids.length}, ${id} is ${live.get(id)}, not ${state.get(id)}`]
}
