import { Tidemark } from '../../src/engine/tidemark.ts'
import { firstUlidAt, type Ulid } from '../../src/model/ulid.ts'
import type { ItemState } from '../../src/restore/target.ts'
import { FilesystemStore } from '../../src/store/filesystem.ts'
import { CountingStore } from '../../test/support/stores.ts'
import { costOf, type GrowthRow, growthOver } from '../lib/cost.ts'
import type { Chunk } from '../lib/dataset.ts'
import { writeHistory } from '../lib/history-store.ts'
import { firstStates, laterChunks } from '../lib/large-records.ts'
import { inTemporaryDirectory, mustBe } from '../lib/timing.ts'

/*
 * What the same amount of data costs where its records are larger, and where it is in more resources: a snapshot, and updates
 * of some of its records.
 */
const KIB = 1024
const MIB = KIB * KIB
const START = Date.UTC(2026, 0, 1)

/** A database, and one record of it. */
interface Content {
  readonly states: Iterable<readonly ItemState[]>
  readonly chunks: (start: Ulid) => Iterable<Chunk>
  readonly record: readonly [resource: string, id: string]
  readonly records: number
  /** What the costs of all of it are divided by. */
  readonly parts: number
}

async function growthOf(size: number, part: string, content: Content): Promise<GrowthRow> {
  return inTemporaryDirectory(async (directory) => {
    const objects = new CountingStore(new FilesystemStore(`${directory}/store`))
    const start = firstUlidAt(START)
    const write = await costOf(objects, () => writeHistory(objects, start, content.states, content.chunks(start)))
    const opened = (): Promise<Tidemark> => Tidemark.open({ store: { url: 'bench://store', objects } })
    const asking = async <T>(ask: (tidemark: Tidemark) => Promise<T>): Promise<T> => {
      const tidemark = await opened()
      const result = await ask(tidemark)
      await tidemark.close()
      return result
    }
    const status = await costOf(objects, () => asking((tidemark) => tidemark.status()))
    const get = await costOf(objects, () => asking((tidemark) => tidemark.at('latest').get(...content.record)))
    mustBe(get.result !== null, `${content.record.join('/')} is there`)
    const target = `${directory}/restored`
    const restore = await costOf(objects, () => asking((tidemark) => tidemark.restoreAt('latest', { target })))
    mustBe(restore.result.preview.added >= content.records, 'all records were restored')
    const snapshot = await costOf(objects, () => asking((tidemark) => tidemark.snapshot()))
    const verify = await costOf(objects, () => asking((tidemark) => tidemark.verify()))
    mustBe(verify.result.damaged === 0, 'a verification')
    return {
      size,
      [`write, ms/${part}`]: write.ms / content.parts,
      'status, ms': status.ms,
      'get, ms': get.ms,
      'get, requests': get.requests,
      'get, KiB': get.read / KIB,
      [`restore, ms/${part}`]: restore.ms / content.parts,
      [`snapshot, ms/${part}`]: snapshot.ms / content.parts,
      [`verify, ms/${part}`]: verify.ms / content.parts,
    }
  })
}

/** 64 MiB of records of each size in bytes, a tenth of which are updated. */
export async function recordGrowth(sizes: readonly number[], bytes: number = 64 * MIB): Promise<readonly GrowthRow[]> {
  return growthOver(sizes, (recordBytes) => {
    const records = Math.max(20, Math.floor(bytes / recordBytes))
    const database = { records, events: Math.ceil(records / 10), chunk: Math.ceil(records / 40), recordBytes }
    const record = ['users', 'u000000007'] as const
    const parts = (records * recordBytes) / MIB
    const chunks = (start: Ulid): Iterable<Chunk> => laterChunks(database, start)
    return growthOf(recordBytes, 'MiB', { states: firstStates(database), chunks, record, records, parts })
  })
}

/** So many records in each number of resources. */
export async function resourceGrowth(sizes: readonly number[], records = 20_000): Promise<readonly GrowthRow[]> {
  return growthOver(sizes, (resources) => {
    const record = [resourceName(0), 'r000000'] as const
    const states = statesIn(resources, records)
    return growthOf(resources, 'database', { states, chunks: () => [], record, records, parts: 1 })
  })
}

function resourceName(number: number): string {
  return `resource-${String(number).padStart(5, '0')}`
}

function* statesIn(resources: number, records: number): Generator<readonly ItemState[]> {
  const schema = { json: Buffer.from('{"attributes":{"text":"string"}}'), raw: null }
  const names = Array.from({ length: resources }, (_, n) => resourceName(n))
  yield names.map((resource) => ({ kind: 'schema', resource, id: '', image: schema }))
  for (const [n, resource] of names.entries()) {
    const count = Math.floor((records * (n + 1)) / resources) - Math.floor((records * n) / resources)
    yield Array.from({ length: count }, (_, i): ItemState => {
      const id = `r${String(i).padStart(6, '0')}`
      const json = Buffer.from(JSON.stringify({ id, text: `${resource} ${i} ${'x'.repeat(200)}` }))
      return { kind: 'record', resource, id, image: { json, raw: null } }
    })
  }
}
