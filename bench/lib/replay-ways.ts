import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { DuckDBInstance } from '@duckdb/node-api'
import { text } from '../../src/base/bytes.ts'
import type { Ulid } from '../../src/model/ulid.ts'
import { planRestore } from '../../src/restore/plan.ts'
import { replay } from '../../src/restore/replay.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { TimelineLog } from '../../src/timeline/log.ts'
import { compete } from './contestant.ts'
import { coldSources } from './history-store.ts'

/** A state as JavaScript has it: the JSON of each record by `resource:id`. */
type State<T> = ReadonlyMap<string, T>

/** Ours: the winning JSON as texts, as DuckDB gives it. */
async function replayed(directory: string, moment: Ulid): Promise<State<string>> {
  const store = new FilesystemStore(directory)
  const { timeline } = await TimelineLog.open(store)
  const state = new Map<string, string>()
  const sources = coldSources(store)
  const plan = await planRestore(sources.nodes, timeline, moment)
  for await (const batch of replay(sources, plan, {})) {
    for (const { resource, id, image } of batch) state.set(`${resource}:${id}`, text(image.json))
  }
  return state
}

type JsonObject = Readonly<Record<string, unknown>>

interface ParqueDbEvent {
  readonly id: string
  readonly op: string
  readonly target: string
  readonly before: JsonObject | null
  readonly after: JsonObject | null
}

/** ParqueDB's: everything is parsed, grouped by entity, sorted by the text of the id and folded by spreading. */
async function parqueDbWay(files: readonly string[], moment: Ulid): Promise<State<JsonObject>> {
  const byTarget = new Map<string, ParqueDbEvent[]>()
  for (const file of files) {
    for (const line of (await readFile(file, 'utf8')).split('\n')) {
      const event = JSON.parse(line) as ParqueDbEvent
      const events = byTarget.get(event.target)
      if (events === undefined) byTarget.set(event.target, [event])
      else events.push(event)
    }
  }
  const state = new Map<string, JsonObject>()
  for (const [target, events] of byTarget) {
    events.sort((a, b) => a.id.localeCompare(b.id))
    let entity: JsonObject | null = null
    for (const { id, op, after } of events) {
      if (id > moment) break
      entity = op === 'delete' ? null : { ...(entity ?? {}), ...(after ?? {}) }
    }
    if (entity !== null) state.set(target, entity)
  }
  return state
}

/** DuckDB's quickest: integers order the events of one stream, and only columns that are needed are read. */
async function duckDbWay(files: readonly string[], moment: Ulid): Promise<State<string>> {
  const connection = await duckDb
  const list = files.map((file) => `'${file}'`).join(',')
  const result = await connection.stream(
    `SELECT resource, record_id, arg_max_null(after, sequence) AS state FROM read_parquet([${list}])
     WHERE ulid <= '${moment}' GROUP BY resource, record_id HAVING state IS NOT NULL`,
  )
  const state = new Map<string, string>()
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) return state
    const [resources, ids, images] = chunk.getColumns()
    for (let i = 0; i < chunk.rowCount; i++) state.set(`${resources?.[i]}:${ids?.[i]}`, String(images?.[i]))
  }
}

let duckDb: ReturnType<DuckDBInstance['connect']>

/** SHA-256 of the state in the order of its keys: equal where two ways agree. */
function digest(state: State<JsonObject | string>): string {
  const hash = createHash('sha256')
  for (const key of [...state.keys()].sort()) {
    const value = state.get(key)
    hash.update(`${key}\n`).update(typeof value === 'string' ? value : JSON.stringify(value))
  }
  return `${state.size} records, ${hash.digest('hex')}`
}

if (import.meta.main) {
  const [, , , name, moment = '', ...paths] = process.argv
  if (name === 'ours') compete(() => replayed(paths[0] ?? '', moment), digest)
  else if (name === 'parquedb') compete(() => parqueDbWay(paths, moment), digest)
  else {
    duckDb = (await DuckDBInstance.create(':memory:', { threads: '1' })).connect()
    compete(() => duckDbWay(paths, moment), digest)
  }
}
