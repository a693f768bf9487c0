import { MemoryClient, S3db } from 's3db.js/lite'
import { mapConcurrently } from './access.ts'
import { TidemarkPlugin, type TidemarkPluginOptions } from './plugin.ts'

/** Writers of the demonstration's application at once. */
const WRITERS = 20
const BUCKET = 'tidemark-demo'

/** A record of the resource `cities`. */
interface CityRecord {
  readonly id: string
  readonly name: string
  readonly lat: number
  readonly lng: number
  readonly country: string
  readonly admin1: string
  readonly admin2: string
}

/** What an update sets. */
type CityUpdate = Pick<CityRecord, 'id'> & { readonly name?: string; readonly note?: string }

/** The database of `tidemark demo`: in memory, with one resource, under capture. */
export interface CityDatabase {
  readonly tidemark: TidemarkPlugin
  insert(cities: readonly CityRecord[]): Promise<void>
  update(changes: readonly CityUpdate[]): Promise<void>
  remove(ids: readonly string[]): Promise<void>
  read(): Promise<Map<string, string>>
  close(): Promise<void>
}

/** Opens an empty one. */
export async function openCityDatabase(options: TidemarkPluginOptions): Promise<CityDatabase> {
  MemoryClient.clearBucketStorage(BUCKET)
  const db = new S3db({ connectionString: `memory://${BUCKET}/app`, logLevel: 'silent' })
  await db.connect()
  const tidemark = new TidemarkPlugin(options)
  await db.usePlugin(tidemark)
  const cities = await db.createResource({
    name: 'cities',
    attributes: {
      name: 'string',
      lat: 'number',
      lng: 'number',
      country: 'string',
      admin1: 'string',
      admin2: 'string',
      note: 'string|optional',
    },
    behavior: 'body-overflow',
  })
  return {
    tidemark,
    insert: async (records) => void (await mapConcurrently(records, WRITERS, (city) => cities.insert({ ...city }))),
    update: async (changes) =>
      void (await mapConcurrently(changes, WRITERS, ({ id, ...fields }) => cities.update(id, fields))),
    remove: async (ids) => void (await mapConcurrently(ids, WRITERS, (id) => cities.delete(id))),
    read: async () => {
      // Without a limit, listIds() gives the first thousand.
      const ids = (await cities.listIds({ limit: Number.MAX_SAFE_INTEGER })).sort()
      const records = await mapConcurrently(ids, WRITERS, (id) => cities.get(id))
      return new Map(ids.map((id, i) => [id, textOf(records[i])]))
    },
    close: () => db.disconnect(),
  }
}

/** A record as text. When its object was last put is the storage's to say, and is not the same after a restore. */
function textOf(record: object | undefined): string {
  return JSON.stringify(record, (key, value) => (key === '_lastModified' ? undefined : value))
}
